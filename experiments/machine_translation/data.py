"""From a corpus's name to pairs of lines in splits, and to these in pieces.

| corpus | source | target | splits |
|---|---|---|---|
| dates | made: dates in many spellings | ISO 8601 | none shares a day with another |
| multi30k | English | German | the files' own; test is test_2016_flickr |
| a folder | a user's own; see `own_pairs.py` | | the files' own, else held out |

Every text is lower-cased, and a run of white space becomes one space: in training, in
what a user gives, and in nothing else. References stay as they are; the metric
lower-cases them itself.
"""

import hashlib
from typing import NamedTuple

from experiments.machine_translation import multi30k
from experiments.machine_translation.batches import Batches, make_batches
from experiments.machine_translation.config import Config
from experiments.machine_translation.dates import make_dates
from experiments.machine_translation.lines import Pairs
from experiments.machine_translation.own_pairs import read_own
from experiments.machine_translation.subwords import Encoded, Vocabularies, learn_vocabularies

DATE_SIZES = (20_000, 500, 500)  # pairs of training, validation and test


class Corpus(NamedTuple):
    """Pairs of lines in splits, and what their source says about use."""

    name: str  # the corpus's, or where a user's own pairs are
    licence: str  # what may be done with it
    train: Pairs  # what is learned from
    valid: Pairs  # what the best checkpoint is chosen by
    test: Pairs  # what the result is measured on
    notes: tuple[str, ...]  # a line each for what was done to the pairs


class Data(NamedTuple):
    """A corpus in pieces."""

    corpus: Corpus
    vocabularies: Vocabularies  # the pieces, learned from the training split
    train: Batches
    valid: Encoded

    @property
    def facts(self) -> dict[str, str]:
        """Return what a model needs to know of the data: the pieces."""
        return self.vocabularies.facts

    @property
    def digest(self) -> str:
        """Return a SHA-256 of all lines and pieces: other ones, another digest."""
        digest = hashlib.sha256()
        for pairs in (self.corpus.train, self.corpus.valid, self.corpus.test):
            for lines in (pairs.sources, pairs.targets):
                digest.update("\n".join(lines).encode() + b"\0")
        for subwords in (self.vocabularies.source, self.vocabularies.target):
            digest.update(subwords.proto + b"\0")
        return digest.hexdigest()


def load(config: Config, date_sizes: tuple[int, int, int] = DATE_SIZES) -> Data:
    """Return the data of a config; for `date_sizes` see `load_corpus`.

    Raises:
      InputError: see `load_corpus` and `learn_vocabularies`.
    """
    corpus = load_corpus(config, date_sizes)
    vocabularies = learn_vocabularies(corpus.train, config)
    train = vocabularies.encode(corpus.train, config.reverse_source)
    valid = vocabularies.encode(corpus.valid, config.reverse_source)
    batches = make_batches(train, config.buckets, config.batch_size)
    return Data(corpus, vocabularies, batches, valid)


def load_corpus(config: Config, date_sizes: tuple[int, int, int] = DATE_SIZES) -> Corpus:
    """Return the lines of a config's data; of dates so many pairs in the three splits.

    Raises:
      InputError: no corpus or folder has this name; a file is missing, damaged, or its
        lines do not match the other's; or see `own_pairs.read_own`.
    """
    notes: tuple[str, ...] = ()
    if config.data == "dates":
        licence, splits = "generated", make_dates(date_sizes, seed=0)
    elif config.data == "multi30k":
        licence = multi30k.LICENCE
        splits = [multi30k.read(split, config.data_dir) for split in ("train", "valid", "test")]
    else:
        licence = "your own files"
        *splits, notes = read_own(config.data)
    train, valid, test = splits
    if config.train_pairs:
        train = Pairs(train.sources[: config.train_pairs], train.targets[: config.train_pairs])
    return Corpus(config.data, licence, train, valid, test, notes)
