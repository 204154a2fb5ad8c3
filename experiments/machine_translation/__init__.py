"""Translate with a deep encoder, attention and a deep decoder, trained here.

    python -m experiments.machine_translation                      dates to ISO, offline
    python -m experiments.machine_translation --preset multi30k    English to German
    python -m experiments.machine_translation --data FOLDER:en-de  your own pairs
    python -m experiments.machine_translation --translate "..."    with the newest run
    python -m experiments.machine_translation --evaluate SOURCE REFERENCE
    python -m experiments.machine_translation.findings             what attention changes

| file | topic |
|---|---|
| `config.py`, `configs/` | every option with its default; tuned settings by name |
| `data.py`, `multi30k.py`, `dates.py`, `own_pairs.py` | pairs of lines in splits |
| `lines.py` | files of lines that belong together |
| `subwords.py`, `batches.py` | lines to ids; ragged pairs to batches of few shapes |
| `model.py`, `decoder.py`, `attention.py` | the translator around `deeprnn_jax.deep_rnn` |
| `update.py`, `run.py`, `train.py` | loss and optimiser; a run, its training, its files |
| `translate.py`, `trained.py` | beam search; a trained run at work on new lines |
| `evaluate.py`, `baselines.py` | BLEU and nats; translations without a network |
| `predict.py` | a user's sentences and test sets |
| `report.py`, `heat_map.py` | what is said and drawn |
| `findings.py` | short runs that differ in one thing, in a table |

From Python: `from experiments.machine_translation.train import train`.
"""
