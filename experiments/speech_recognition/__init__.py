"""Speech recognition with CTC: from a recording to its characters.

audio.py       wav files in, checked, mono, at the model's rate; change of speed
features.py    log-mel spectrogram and its normalisation
an4.py, fsdd.py, formants.py    the corpora: recorded, recorded digits, made
digits.py      clips of digits joined to strings
data.py        a corpus's name -> utterances in splits; the character set
batches.py     the batch of each step, padded to one of few lengths
augment.py     SpecAugment
model.py       frame stacking, the deep bidirectional network, CTC loss
ngrams.py      character and word n-gram models as tables, for the beam search
decode.py      the best path, the prefix beam, with and without language model
scores.py      error rates
baselines.py   what a sceptic would ask for
train.py       training to a run's files
transcribe.py  a user's own recordings
depth_sweep.py    the error at 1, 2, 3 and 5 layers
"""
