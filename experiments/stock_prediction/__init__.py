"""Forecast prices honestly, and hours of electricity where forecasting is possible.

    python -m experiments.stock_prediction                      five shares, walk-forward
    python -m experiments.stock_prediction --data acl18         88 shares, the published split
    python -m experiments.stock_prediction --data etth1         96 hours of a transformer
    python -m experiments.stock_prediction --predict FILE.csv   the newest run on your file

| file | topic |
|---|---|
| `config.py`, `configs/` | every option with its default; settings by name |
| `price_files.py`, `prices.py` | CSV files and what is wrong with them; the data sets |
| `features.py`, `splits.py`, `panel.py` | no unit and no look-ahead; folds; batches |
| `hours.py` | ETTh1: windows and their split |
| `model.py` | `deeprnn_jax.deep_rnn` and a readout |
| `problem.py`, `daily.py`, `hourly.py` | what is asked of the network: loss, validation |
| `baselines.py`, `linear.py` | what needs no network |
| `seeds.py`, `train.py` | all seeds and folds side by side; the run |
| `metrics.py`, `intervals.py`, `figures.py` | figures, and how far they may be off |
| `daily_measure.py`, `daily_report.py`, `hourly_report.py`, `pictures.py` | what came out |
| `predict.py`, `predict_prices.py`, `predict_hours.py` | your own file |

From Python: `from experiments.stock_prediction.train import train`.
"""
