"""Speech recognition with CTC: from a recording to its characters.

config.py      every option; configs/ has those of the real corpora
audio.py       wav files in, checked, mono, at the model's rate; change of speed
features.py    log-mel spectrogram and its normalisation
an4.py, fsdd.py, formants.py    the corpora: recorded, recorded digits, made
recordings.py, own.py    a user's own recordings: found in a folder, read and split
digits.py      clips of digits joined to strings
utterances.py  what a corpus is made of; speakers held out
alphabet.py    characters and their labels; transcripts normalised
data.py        a corpus's name -> features and labels in splits
batches.py     the batch of each step, padded to one of few lengths
augment.py     SpecAugment
model.py       frame stacking, the deep bidirectional network, CTC loss
ngrams.py, words.py    n-gram models of characters and words as tables, for the beam
decode.py      the best path, the prefix beam, with and without language model
scores.py      error rates and their intervals
baselines.py   what a sceptic would ask for
run.py         data, model and training step of a run, for the common loop
recognizer.py  a trained model with all that it takes to transcribe
measure.py     every decoder and baseline on validation and test part
report.py      what a run says and draws
train.py       training to a run's files
transcribe.py  a user's own recordings
depth_sweep.py    the error at 1, 2, 3 and 5 layers
"""
