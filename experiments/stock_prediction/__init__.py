"""Forecast prices honestly, and hours of electricity where forecasting is possible.

    python -m experiments.stock_prediction                      five shares, walk-forward
    python -m experiments.stock_prediction --data acl18         88 shares, the published split
    python -m experiments.stock_prediction --data etth1         96 hours of a transformer
    python -m experiments.stock_prediction --predict FILE.csv   the newest run on your file

| file | topic |
|---|---|
| `config.py`, `configs/` | every option with its default; settings by name |
| `kinds.py`, `daily/`, `hourly/` | two kinds of series; `data`, ..., `use` are in both |
| `model.py`, `problem.py` | `deeprnn_jax.deep_rnn` and a readout; all seeds side by side |
| `measure.py` | methods side by side, and how far their figures may be off |
| `report.py`, `tables.py` | what is said; CSV files |
| `use.py` | forecasts for your own file |
| `experiment.py` | all of it as one record |
| `daily/files.py`, `cells.py`, `calendar.py` | CSV files of prices and what is wrong with them |
| `daily/features.py`, `splits.py` | no unit, no look-ahead; folds |
| `daily/panel.py`, `batches.py` | series side by side, and batches of them |
| `daily/baselines.py`, `hourly/baselines.py` | what needs no network |
| `daily/metrics.py`, `hourly/metrics.py` | right and wrong, summed by day |
"""
