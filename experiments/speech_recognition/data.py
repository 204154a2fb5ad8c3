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
class Dataset:
    """A corpus ready to train on.

    Attributes:
      corpus: where it comes from.
      alphabet: the labels.
      language_model: of the training transcripts, for the beam search.
      moments: over all training frames; used where normalisation is global.
      train, valid, test: the parts; copies at other speeds in the first only.
      padded: the lengths that utterances are padded to.
    """

    corpus: Corpus
    alphabet: Alphabet
    language_model: Automaton
    moments: Moments
    train: Examples
    valid: Examples
    test: Examples
    padded: tuple[int, ...]

    @property
    def digest(self) -> str:
        """Return a SHA-256 of what is learned from."""
        return self.corpus.digest

    @property
    def num_too_short(self) -> int:
        """Return how many training copies are not used."""
        return int((~self.train.usable).sum())


def load_data(config: Config) -> Dataset:
    """Return the data of a config, ready to train on.

    Raises:
      InputError: see `load_corpus` and `prepare`.
    """
    return prepare(load_corpus(config), config)


def facts_of(dataset: Dataset) -> dict[str, Any]:
    """Return what transcribing with a trained model needs to know of the data."""
    corpus, moments = dataset.corpus, dataset.moments
    return {
        "characters": dataset.alphabet.characters,
        "sample_rate": corpus.sample_rate,
        "longest_seconds": max(len(u.wave) for u in corpus.train) / corpus.sample_rate,
        "mean": moments.mean.tolist(),
        "deviation": moments.deviation.tolist(),
        "transcripts": dataset.train.texts,
    }


def load_corpus(config: Config) -> Corpus:
    """Return the corpus that a config names.

    Raises:
      InputError: a file is missing or damaged, or a folder has too few recordings of use.
    """
    if config.data == "formants":
        return formants.load(config.seed, config.voices, config.takes)
    if config.data == "an4":
        return corpora.an4(config.data_dir, config.seed)
    if config.data == "fsdd":
        return corpora.fsdd(config.data_dir, config.seed)
    return own.load(config.data, config.seed, config.stack)


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


def prepare(corpus: Corpus, config: Config) -> Dataset:
    """Compute and normalise the features of all parts, and the language model.

    Raises:
      InputError: a training utterance has fewer steps than labels in every copy, there are
        too many bands, or the language model would fill the memory.
    """
    texts = [utterance.text for utterance in corpus.train]
    alphabet = Alphabet.of_texts(texts)
    language_model = make_language_model(config, alphabet, texts)
    spectrogram = LogMel(corpus.sample_rate, config.num_bands)

    def heard(utterances: Sequence[Utterance], speeds: Sequence[float]) -> list[list[Frames]]:
        return [[spectrogram(change_speed(u.wave, speed)) for u in utterances] for speed in speeds]

    def examples(
        utterances: Sequence[Utterance], copies: Sequence[Sequence[Frames]], speed_1: int = 0
    ) -> Examples:
        labels = [alphabet.encode(u.text) for u in utterances]
        num_steps = [[-(-len(frames) // config.stack) for frames in copy] for copy in copies]
        return Examples(
            utterances=utterances,
            labels=labels,
            copies=[normalize(copy, utterances, config, overall) for copy in copies],
            usable=np.array(num_steps) >= [steps_needed(y) for y in labels],
            speed_1=speed_1,
        )

    speed_1, of_train = config.speeds.index(1.0), heard(corpus.train, config.speeds)
    overall = moments(of_train[speed_1])
    train = examples(corpus.train, of_train, speed_1)
    valid, test = (examples(part, heard(part, (1.0,))) for part in (corpus.valid, corpus.test))
    hopeless = np.flatnonzero(~train.usable.any(axis=0))
    if len(hopeless):
        raise InputError(
            f"prepare: {len(hopeless)} training utterances have fewer steps than labels at every "
            f"speed, {corpus.train[hopeless[0]].name} for one; lower --stack, now {config.stack}"
        )
    lengths = np.concatenate([np.ravel(part.lengths) for part in (train, valid, test)])
    padded = best_bounds(-(-lengths // config.stack) * config.stack, config.num_lengths)
    return Dataset(corpus, alphabet, language_model, overall, train, valid, test, padded)


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
