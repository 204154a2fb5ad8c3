"""From a corpus's name to normalised features and labels in splits.

| corpus | rate | training / validation / test | speakers of the parts |
|---|---|---|---|
| formants | 8 kHz | strings of digits, made; see formants.py | all different |
| an4 | 16 kHz | 948 less held out speakers / 100 of those / 130 | all different |
| fsdd | 8 kHz | strings of recorded digits; see corpora.py | the same six |
| a folder | 16 kHz | four fifths / a tenth / a tenth, about; see own.py | all different, if many |

Labels are characters. The alphabet is that of the training transcripts, so that nothing
of the other parts is known beforehand; a character that only they have stays in the
reference and counts as an error.

A copy of an utterance at another speed that has too few steps for its labels (CTC needs
one a label, and a blank between two equal ones) is not trained on: its loss would be
infinite. How many those are is reported.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.common.errors import InputError
from experiments.common.padding import best_bounds
from experiments.speech_recognition import corpora, formants, own
from experiments.speech_recognition.alphabet import Alphabet, steps_needed
from experiments.speech_recognition.audio import change_speed
from experiments.speech_recognition.batches import Examples
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.features import Frames, LogMel, Moments, moments
from experiments.speech_recognition.ngrams import Automaton, character_ngram
from experiments.speech_recognition.utterances import Corpus, Utterance
from experiments.speech_recognition.words import word_bigram


@dataclasses.dataclass(frozen=True)
class Data:
    """A corpus ready to train on."""

    corpus: Corpus
    alphabet: Alphabet
    language_model: Automaton  # of the training transcripts, for the beam search
    moments: Moments  # over all training frames; used where normalisation is global
    train: Examples  # with copies at other speeds
    valid: Examples
    test: Examples
    padded: tuple[int, ...]  # the lengths that utterances are padded to

    @property
    def facts(self) -> dict[str, Any]:
        """Return what transcribing with a trained model needs to know."""
        corpus = self.corpus
        return {
            "characters": self.alphabet.characters,
            "sample_rate": corpus.sample_rate,
            "longest_seconds": max(len(u.wave) for u in corpus.train) / corpus.sample_rate,
            "mean": self.moments.mean.tolist(),
            "deviation": self.moments.deviation.tolist(),
            "transcripts": self.train.texts,
        }

    @property
    def digest(self) -> str:
        """Return a SHA-256 of what is learned from."""
        return self.corpus.digest

    @property
    def num_too_short(self) -> int:
        """Return how many training copies are not used."""
        return int((~self.train.usable).sum())


def load(config: Config) -> Data:
    """Return the data that a config names, ready to train on.

    Raises:
      InputError: a file is missing or damaged, a folder has too few recordings of use, or
        see `prepare`.
    """
    if config.data == "formants":
        corpus = formants.load(config.seed, config.voices, config.takes)
    elif config.data in ("an4", "fsdd"):
        read = corpora.an4 if config.data == "an4" else corpora.fsdd
        corpus = read(config.data_dir, config.seed)
    else:
        corpus = own.load(config.data, config.seed, config.stack)
    return prepare(corpus, config)


def make_language_model(
    config: Config, alphabet: Alphabet, transcripts: Sequence[str]
) -> Automaton:
    """Return the n-gram model that a config asks for.

    Raises:
      InputError: it would fill the memory.
    """
    if config.ngram == "word":
        return word_bigram(transcripts, alphabet, config.ngram_entries)
    return character_ngram(transcripts, alphabet, config.ngram_order, config.ngram_entries)


def prepare(corpus: Corpus, config: Config) -> Data:
    """Compute and normalise the features of all parts, and the language model.

    Raises:
      InputError: a training utterance has fewer steps than labels in every copy, there are
        too many bands, or the language model would fill the memory.
    """
    texts = [utterance.text for utterance in corpus.train]
    alphabet = Alphabet.of_texts(texts)
    language_model = make_language_model(config, alphabet, texts)
    spectrogram = LogMel(corpus.sample_rate, config.num_bands)

    def heard(utterances: Sequence[Utterance], speed: float = 1.0) -> list[Frames]:
        return [spectrogram(change_speed(u.wave, speed)) for u in utterances]

    def examples(
        utterances: Sequence[Utterance], copies: Sequence[Sequence[Frames]], speed_1: int = 0
    ) -> Examples:
        labels = [alphabet.encode(u.text) for u in utterances]
        num_steps = [[-(-len(frames) // config.stack) for frames in copy] for copy in copies]
        usable = np.array(num_steps) >= [steps_needed(y) for y in labels]
        copies = [normalize(copy, utterances, config, overall) for copy in copies]
        return Examples(utterances, labels, copies, usable, speed_1)

    of_train = [heard(corpus.train, speed) for speed in config.speeds]
    speed_1 = config.speeds.index(1.0)
    overall = moments(of_train[speed_1])
    train = examples(corpus.train, of_train, speed_1)
    valid, test = (examples(part, [heard(part)]) for part in (corpus.valid, corpus.test))
    hopeless = np.flatnonzero(~train.usable.any(axis=0))
    if len(hopeless):
        raise InputError(
            f"prepare: {len(hopeless)} training utterances have fewer steps than labels at every "
            f"speed, {corpus.train[hopeless[0]].name} for one; lower --stack, now {config.stack}"
        )
    lengths = np.concatenate([np.ravel(part.lengths) for part in (train, valid, test)])
    padded = best_bounds(-(-lengths // config.stack) * config.stack, config.num_lengths)
    return Data(corpus, alphabet, language_model, overall, train, valid, test, padded)


def normalize(
    frames: Sequence[Frames], utterances: Sequence[Utterance], config: Config, overall: Moments
) -> list[Frames]:
    """Normalise each spectrogram by the moments that `config.normalization` names.

    Args:
      frames: N of `[T, F]`.
      utterances: N, whose they are.
      config: asks for each utterance's own moments, for those of all that its speaker says
        in this part and at this speed, or for the training part's.
      overall: the last of these, `[F]`.
    """
    if config.normalization == "global":
        return [overall.normalize(x) for x in frames]
    groups = [u.speaker if config.normalization == "speaker" else u.name for u in utterances]
    members: dict[str, list[Frames]] = {}
    for x, group in zip(frames, groups, strict=True):
        members.setdefault(group, []).append(x)
    of_group = {group: moments(xs) for group, xs in members.items()}
    return [of_group[group].normalize(x) for x, group in zip(frames, groups, strict=True)]
