"""Train a speech recogniser with CTC, from recordings to their characters.

    python -m experiments.speech_recognition                       train on made digits
    python -m experiments.speech_recognition --transcribe A.wav    write down a recording

| file | topic |
|---|---|
| `config.py`, `configs/` | every option with its default; tuned settings by name |
| `audio.py`, `features.py` | files to signals; log-mel spectrograms and their normalisation |
| `formants.py`, `corpora.py`, `digits.py` | the corpora: made, recorded, joined |
| `recordings.py`, `own.py` | a user's own recordings: found in a folder, read and split |
| `utterances.py`, `alphabet.py` | what a corpus is made of; characters and labels |
| `data.py`, `batches.py`, `augment.py` | features in splits; batches; SpecAugment |
| `model.py` | frame stacking, `deeprnn_jax.deep_rnn`, readout |
| `problem.py` | the CTC loss, and what the training loop asks |
| `ngrams.py`, `words.py` | n-gram models as tables, for the beam |
| `decode.py`, `scores.py` | the best path and the prefix beam; error rates |
| `measure.py`, `baselines.py` | a finished run; what a sceptic would ask for |
| `report.py` | what is said and drawn |
| `use.py` | writing down a user's recordings |
| `experiment.py` | all of it as one record |
| `depth_sweep.py` | the error at 1, 2, 3 and 5 layers |
"""
