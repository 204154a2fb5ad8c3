"""Train a deep recurrent language model on text, and let it write.

    python -m experiments.text_generation                     train on CPython's own prose
    python -m experiments.text_generation --generate "The "   write with the newest run

| file | topic |
|---|---|
| `config.py`, `configs/` | every option with its default; tuned settings by name |
| `corpora.py`, `data.py`, `batches.py` | public texts; text to symbol ids; ids to chunks |
| `model.py` | embedding, `deeprnn_jax.deep_rnn`, readout |
| `update.py`, `evaluate.py` | one training step; nats a symbol of a whole text |
| `run.py`, `train.py` | what a run is made of; from the first step to its files |
| `report.py` | what is said at the end |
| `ngram.py` | the baselines to pass |
| `generate.py` | writing, one symbol at a time |

From Python: `from experiments.text_generation.train import train`.
"""
