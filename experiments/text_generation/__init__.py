"""Train a deep recurrent language model on text, and let it write.

    python -m experiments.text_generation                     train on CPython's own prose
    python -m experiments.text_generation --generate "The "   write with the newest run

| file | topic |
|---|---|
| `config.py`, `configs/` | every option with its default; tuned settings by name |
| `data.py`, `corpora.py`, `batches.py` | text to symbol ids; public texts; ids to chunks |
| `model.py` | embedding, `deeprnn_jax.deep_rnn`, readout |
| `problem.py` | loss and optimiser, and what the training loop asks of them |
| `evaluate.py`, `measure.py`, `ngram.py` | nats a symbol; a finished run; the baselines |
| `report.py` | what is said and drawn |
| `use.py` | writing on from a prompt |
| `experiment.py` | all of it as one record |
"""
