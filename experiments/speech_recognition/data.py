"""From a corpus's name to normalised features and labels in splits.

| corpus | rate | training / validation / test | speakers of the parts |
|---|---|---|---|
| formants | 8 kHz | strings of digits, made; see formants.py | all different |
| an4 | 16 kHz | 948 less held out speakers / 100 of those / 130 | all different |
| fsdd | 8 kHz | strings of recorded digits; see fsdd.py | the same six |
| a folder | 16 kHz | four fifths / a tenth / a tenth, about; see own.py | all different, if many |

Labels are characters. The alphabet is that of the training transcripts, so that nothing
of the other parts is known beforehand; a character that only they have stays in the
reference and counts as an error.

A copy of an utterance at another speed that has too few steps for its labels (CTC needs
one a label, and a blank between two equal ones) is not trained on: its loss would be
infinite. How many those are is reported.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.speech_recognition import an4, formants, fsdd, own
from experiments.speech_recognition.alphabet import Alphabet, Labels, steps_needed
from experiments.speech_recognition.audio import change_speed
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.digits import SAMPLE_RATE
from experiments.speech_recognition.features import Frames, LogMel, Moments, mel_triangles, moments
from experiments.speech_recognition.utterances import Splits, Utterance


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Recordings in splits.

    Attributes:
      name: as given.
      licence: what its source says about use.
      sample_rate: in Hz.
      splits: the utterances.
    """

    name: str
    licence: str
    sample_rate: int
    splits: Splits

    @property
    def alphabet(self) -> Alphabet:
        """Return the characters of the training transcripts."""
        return Alphabet.of_texts(u.text for u in self.splits.train)

    @property
    def digest(self) -> str:
        """Return a SHA-256 of all signals and texts, part by part."""
        digest = hashlib.sha256(str(self.sample_rate).encode())
        for part in self.splits[:3]:
            digest.update(b"|")
            for utterance in part:
                digest.update(f"\0{utterance.speaker}\0{utterance.text}\0".encode())
                digest.update(utterance.wave.astype("<f4").tobytes())
        return digest.hexdigest()


def load_corpus(config: Config) -> Corpus:
    """Return the corpus that a config names.

    Raises:
      InputError: a file is missing or damaged, or a folder has too few recordings of use.
    """
    if config.data == "an4":
        splits = an4.load(config.data_dir, config.seed)
        return Corpus("an4", an4.LICENCE, an4.SAMPLE_RATE, splits)
    if config.data == "fsdd":
        splits = fsdd.load(config.data_dir, config.seed)
        return Corpus("fsdd", fsdd.LICENCE, SAMPLE_RATE, splits)
    if config.data == "formants":
        return Corpus("formants", "made here, free", SAMPLE_RATE, formants.load(config.seed))
    splits = own.load(config.data, config.seed, config.stack)
    return Corpus(config.corpus_name, "your own recordings", own.SAMPLE_RATE, splits)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Utterances as a network reads them.

    Attributes:
      names: `[N]`.
      texts: `[N]`, the references.
      labels: `[N]`, each int32 `[L]`.
      copies: for each speed, `[N]` normalised spectrograms `[T, F]`.
      usable: bool `[speeds, N]`, whether a copy has enough steps for its labels.
      as_spoken: which of the copies is at speed 1.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[Labels, ...]
    copies: tuple[tuple[Frames, ...], ...]
    usable: NDArray[np.bool_]
    as_spoken: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return the frames of each copy, `[speeds, N]`."""
        return np.array([[len(frames) for frames in copy] for copy in self.copies])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A corpus ready to train on.

    Attributes:
      corpus: where it comes from.
      alphabet: the labels.
      moments: over all training frames; used where normalisation is global.
      train, valid, test: the parts; copies at other speeds in the first only.
      num_too_short: training copies that are not used.
    """

    corpus: Corpus
    alphabet: Alphabet
    moments: Moments
    train: Examples
    valid: Examples
    test: Examples
    num_too_short: int


def prepare(corpus: Corpus, config: Config) -> Dataset:
    """Compute and normalise the features of all parts.

    Raises:
      InputError: a training utterance has fewer steps than labels in every copy, or
        there are too many bands.
    """
    spectrogram = log_mel(corpus.sample_rate, config.num_bands)
    alphabet, splits = corpus.alphabet, corpus.splits

    def raw(utterances: Sequence[Utterance], speeds: Sequence[float]) -> list[list[Frames]]:
        return [[spectrogram(change_speed(u.wave, speed)) for u in utterances] for speed in speeds]

    as_spoken, of_train = config.speeds.index(1.0), raw(splits.train, config.speeds)
    overall = moments(of_train[as_spoken])
    train = _examples(splits.train, of_train, as_spoken, alphabet, config, overall)
    valid, test = (
        _examples(part, raw(part, (1.0,)), 0, alphabet, config, overall)
        for part in (splits.valid, splits.test)
    )
    hopeless = [train.names[i] for i in np.flatnonzero(~train.usable.any(axis=0))]
    if hopeless:
        raise InputError(
            f"prepare: {len(hopeless)} training utterances have fewer steps than labels at "
            f"every speed, {hopeless[0]} for one; lower --stack, now {config.stack}"
        )
    num_too_short = int((~train.usable).sum())
    return Dataset(corpus, alphabet, overall, train, valid, test, num_too_short)


def _examples(
    utterances: Sequence[Utterance],
    raw: Sequence[Sequence[Frames]],
    as_spoken: int,
    alphabet: Alphabet,
    config: Config,
    overall: Moments,
) -> Examples:
    """Return a part as a network reads it, given its spectrograms at each speed."""
    copies = tuple(tuple(normalize(frames, utterances, config, overall)) for frames in raw)
    labels = tuple(alphabet.encode(u.text) for u in utterances)
    num_steps = [[-(-len(frames) // config.stack) for frames in copy] for copy in copies]
    return Examples(
        names=tuple(u.name for u in utterances),
        texts=tuple(u.text for u in utterances),
        labels=labels,
        copies=copies,
        usable=np.array(num_steps) >= [steps_needed(y) for y in labels],
        as_spoken=as_spoken,
    )


def log_mel(sample_rate: int, num_bands: int) -> LogMel:
    """Return the front end at a rate in Hz.

    Raises:
      InputError: there are so many bands that one lies between two frequencies of the
        spectrum and hears nothing.
    """
    settings = LogMel(sample_rate, num_bands=num_bands)
    deaf = int((mel_triangles(settings).max(axis=1) == 0).sum())
    if deaf:
        raise InputError(
            f"log_mel: {deaf} of {num_bands} bands are narrower than the spectrum's resolution "
            f"at {sample_rate:,} Hz; lower --num-bands"
        )
    return settings


def normalize(
    frames: Sequence[Frames], utterances: Sequence[Utterance], config: Config, overall: Moments
) -> list[Frames]:
    """Normalise each spectrogram by the moments that the config asks for.

    Args:
      frames: each `[T, F]`.
      utterances: whose they are.
      config: `normalization`: by each utterance's own moments, by those of all that its
        speaker says in this part and at this speed, or by the training part's.
      overall: the last of these.
    """
    if config.normalization == "global":
        return [overall.normalize(x) for x in frames]
    groups = [u.speaker if config.normalization == "speaker" else u.name for u in utterances]
    members: dict[str, list[Frames]] = {}
    for x, group in zip(frames, groups, strict=True):
        members.setdefault(group, []).append(x)
    of_group = {group: moments(xs) for group, xs in members.items()}
    return [of_group[group].normalize(x) for x, group in zip(frames, groups, strict=True)]
