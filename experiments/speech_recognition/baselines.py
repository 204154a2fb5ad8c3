"""What a sceptic would ask for: answers that do not listen, and one that barely does.

- the most frequent training transcript, whatever is said;
- the most probable text of a language model, which is even told how many characters the
  reference has;
- for strings of digits: each frame is given the digit, or the silence, whose mean
  spectrum is nearest; runs of one digit that are long enough are that digit.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from experiments.speech_recognition.alphabet import Alphabet
from experiments.speech_recognition.batches import Examples
from experiments.speech_recognition.features import Frames, LogMel
from experiments.speech_recognition.ngrams import Automaton
from experiments.speech_recognition.scores import score
from experiments.speech_recognition.utterances import Utterance

SILENCE = ""
_LONGEST_RUN = 25  # frames of 10 ms that a digit may be asked to last at least


def most_frequent(train: Sequence[str], references: Sequence[str]) -> list[str]:
    """Return the most frequent training transcript for every reference."""
    (text, _count), *_ = Counter(train).most_common(1)
    return [text] * len(references)


def most_probable(model: Automaton, alphabet: Alphabet, references: Sequence[str]) -> list[str]:
    """Return the model's most probable text of each reference's own length."""
    lengths = {len(text) for text in references}
    texts = {length: alphabet.decode(model.most_probable(length)) for length in lengths}
    return [texts[len(text)] for text in references]


class Templates:
    """The mean spectrum of each digit and of silence."""

    def __init__(self, spectrogram: LogMel, train: Examples) -> None:
        """Average over training frames.

        Args:
          spectrogram: the front end, for where its frames lie.
          train: utterances with segments.
        """
        pairs = list(zip(train.utterances, train.as_spoken, strict=True))
        labels = np.concatenate([_frame_labels(spectrogram, u, len(x)) for u, x in pairs])
        everything = np.concatenate(train.as_spoken)
        self.labels = sorted(set(labels))
        self.means = np.stack([everything[labels == k].mean(axis=0) for k in self.labels])
        self.shortest = 1

    def tune(self, valid: Examples) -> None:
        """Choose how many frames a run must have, by the validation part's error."""

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
    """Return what is spoken at the middle of each frame, `[T]`."""
    middle = np.arange(num_frames) * spectrogram.hop + spectrogram.window // 2
    labels = np.full(num_frames, SILENCE, dtype="<U1")
    for segment in utterance.segments:
        labels[(middle >= segment.start) & (middle < segment.stop)] = segment.label
    return labels
