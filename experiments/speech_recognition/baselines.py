"""What a sceptic would ask for: answers that do not listen, and one that barely does.

- the most frequent training transcript, whatever is said;
- the most probable text of a language model, which is even told how many characters the
  reference has;
- for strings of digits: each frame is given the digit, or the silence, whose mean
  spectrum is nearest; runs of one digit that are long enough are that digit.
"""

from collections import Counter
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from experiments.speech_recognition.batches import Examples
from experiments.speech_recognition.data import Data
from experiments.speech_recognition.features import Frames, LogMel
from experiments.speech_recognition.scores import score
from experiments.speech_recognition.utterances import Utterance

_LONGEST_RUN = 25  # frames of 10 ms that a digit may be asked to last at least


def guess(data: Data, num_bands: int) -> dict[str, list[str]]:
    """Return the baselines' texts for the test part, by name."""
    train, references, model = data.train, data.test.texts, data.language_model
    ((most_frequent, _count),) = Counter(train.texts).most_common(1)
    best = {n: data.alphabet.decode(model.most_probable(n)) for n in set(map(len, references))}
    found = {
        "most frequent transcript": [most_frequent] * len(references),
        "n-gram's best text of the right length": [best[len(text)] for text in references],
    }
    if all(utterance.segments for utterance in train.utterances):
        templates = Templates(LogMel(data.corpus.sample_rate, num_bands), train, data.valid)
        spectra = map(templates.read, data.test.as_spoken)
        found["nearest mean spectrum, frame by frame"] = list(spectra)
    return found


class Templates:
    """The mean spectrum of each digit and of silence."""

    def __init__(self, spectrogram: LogMel, train: Examples, valid: Examples) -> None:
        """Average over training frames, and choose how many frames a run must have.

        Args:
          spectrogram: the front end, for where its frames lie.
          train: utterances with segments.
          valid: what the error is to be smallest of.
        """
        pairs = zip(train.utterances, train.as_spoken, strict=True)
        labels = np.concatenate([_frame_labels(spectrogram, u, len(x)) for u, x in pairs])
        everything = np.concatenate(train.as_spoken)
        self.labels = sorted(set(labels))
        self.means = np.stack([everything[labels == k].mean(axis=0) for k in self.labels])

        def error(shortest: int) -> float:
            self.shortest = shortest
            return score(valid.texts, [self.read(x) for x in valid.as_spoken]).cer

        self.shortest = min(range(1, _LONGEST_RUN + 1), key=error)

    def read(self, frames: Frames) -> str:
        """Return the digits of a spectrogram `[T, F]`."""
        distances = np.square(frames[:, None] - self.means).sum(axis=-1)
        nearest = [self.labels[i] for i in distances.argmin(axis=1)]
        runs = [(label, len(list(run))) for label, run in groupby(nearest)]
        return "".join(label for label, length in runs if length >= self.shortest)


def _frame_labels(spectrogram: LogMel, utterance: Utterance, num_frames: int) -> NDArray[np.str_]:
    """Return what is spoken at the middle of each frame, `[T]`: "" is silence."""
    middle = np.arange(num_frames) * spectrogram.hop + spectrogram.window // 2
    labels = np.full(num_frames, "", dtype="<U1")
    for segment in utterance.segments:
        labels[(middle >= segment.start) & (middle < segment.stop)] = segment.label
    return labels
