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
| `problem.py` | the loss, and what the training loop asks |
| `translate.py` | beam search; a trained model at work on lines |
| `evaluate.py`, `measure.py`, `baselines.py` | BLEU and nats; a finished run; without a network |
| `report.py` | what is said and drawn |
| `use.py` | a user's sentences and test sets |
| `experiment.py` | all of it as one record |
| `findings.py` | short runs that differ in one thing, in a table |
"""
