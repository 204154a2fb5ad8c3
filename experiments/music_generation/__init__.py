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
| `rolls.py`, `tonality.py`, `midi.py`, `picture.py` | rolls, their key, MIDI files, PNGs |
| `model.py` | `deeprnn_jax.deep_rnn`, and a logit for each of 88 keys |
| `problem.py` | the loss, and what the training loop asks, of several seeds at once |
| `evaluate.py`, `measure.py`, `baselines.py` | nats a frame; a finished run; figures to pass |
| `report.py` | what is said and drawn |
| `use.py` | composing |
| `experiment.py` | all of it as one record |
| `compare.py` | RNN, LSTM and GRU with 1, 2 and 3 layers |
"""
