"""Train a deep recurrent language model on text, and let it write.

    python -m experiments.text_generation                     train on CPython's own prose
    python -m experiments.text_generation --generate "The "   write with the newest run

| file | topic |
|---|---|
| `config.py`, `configs/` | every option with its default; tuned settings by name |
| `data.py`, `batches.py` | corpus to symbol ids; ids to the chunks of a step |
| `model.py` | embedding, `deeprnn_jax.deep_rnn`, readout |
| `update.py`, `evaluate.py` | one training step; bits of a whole text |
| `train.py`, `report.py` | the loop and its files; what is said at the end |
| `ngram.py` | the baselines to pass |
| `generate.py` | writing, one symbol at a time |

From Python: `from experiments.text_generation.train import train`.
"""
