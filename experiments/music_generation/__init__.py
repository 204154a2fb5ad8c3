"""Train a deep recurrent network on piano rolls, and let it compose.

    python -m experiments.music_generation                        train on generated chorales
    python -m experiments.music_generation --data FOLDER          train on your own MIDI files
    python -m experiments.music_generation --generate             compose with the newest run
    python -m experiments.music_generation --generate --seed-midi tune.mid
    python -m experiments.music_generation.compare                cells and depths in a table

| file | topic |
|---|---|
| `config.py`, `configs/` | every option with its default; tuned settings by name |
| `data.py`, `chorales.py` | corpora as piano rolls; the rules of the generated chorales |
| `folder.py` | a folder of the user's own MIDI files |
| `batches.py` | the windows of the pieces that a step reads |
| `model.py` | `deeprnn_jax.deep_rnn`, and a logit for each of 88 keys |
| `evaluate.py`, `baselines.py` | nats a frame over whole pieces; the figures to pass |
| `train.py`, `report.py` | several seeds at once, and what is said at the end |
| `generate.py`, `midi.py`, `picture.py` | composing; MIDI files in and out; PNGs |
| `compare.py` | RNN, LSTM and GRU with 1, 2 and 3 layers |

From Python: `from experiments.music_generation.train import train`.
"""
