"""From a corpus's name to pairs of lines in splits.

| corpus | source | target | splits |
|---|---|---|---|
| dates | made: dates in many spellings | ISO 8601 | none shares a day with another |
| multi30k | English | German | the files' own; test is test_2016_flickr |
| a folder | a user's own; see `own_pairs.py` | | the files' own, else held out |

Every text is lower-cased, and a run of white space becomes one space: in training, in
what a user gives, and in nothing else. References stay as they are; the metric
lower-cases them itself.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from experiments.common.errors import InputError
from experiments.machine_translation import multi30k
from experiments.machine_translation.batches import Batches, make_batches
from experiments.machine_translation.config import CORPORA, Config
from experiments.machine_translation.dates import make_dates
from experiments.machine_translation.lines import Pairs, read_pairs
from experiments.machine_translation.own_pairs import place_of, read_own
from experiments.machine_translation.subwords import Encoded, Vocabularies, learn_vocabularies

DATE_SIZES = (20_000, 500, 500)  # pairs of training, validation and test


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Pairs in splits, and what their source says about use.

    Attributes:
      name: the corpus's, or where a user's own pairs are.
      licence: what may be done with it.
      train: what is learned from.
      valid: what the best checkpoint is chosen by.
      test: what the result is measured on.
      notes: a line each for what was done to the pairs.
    """

    name: str
    licence: str
    train: Pairs
    valid: Pairs
    test: Pairs
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Data:
    """A corpus in pieces.

    Attributes:
      corpus: its lines.
      vocabularies: the pieces, learned from the training split.
      train: that split in batches.
      valid: the validation split as ids.
    """

    corpus: Corpus
    vocabularies: Vocabularies
    train: Batches
    valid: Encoded

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


def load_data(config: Config, date_sizes: Sequence[int] = DATE_SIZES) -> Data:
    """Return the data of a config.

    Args:
      config: the settings.
      date_sizes: see `load_corpus`.

    Raises:
      InputError: see `load_corpus` and `learn_vocabularies`.
    """
    corpus = load_corpus(config.data, config.data_dir, config.train_pairs, date_sizes)
    vocabularies = learn_vocabularies(corpus.train, config)
    train, valid = (
        vocabularies.encode(pairs, config.reverse_source) for pairs in (corpus.train, corpus.valid)
    )
    batches = make_batches(train, config.buckets, config.batch_size)
    return Data(corpus, vocabularies, batches, valid)


def facts_of(data: Data) -> dict[str, Any]:
    """Return what a model needs to know of the data: the pieces."""
    return data.vocabularies.facts


def load_corpus(
    name: str,
    data_dir: str | None = None,
    train_pairs: int = 0,
    date_sizes: Sequence[int] = DATE_SIZES,
) -> Corpus:
    """Return a corpus.

    Args:
      name: "dates", "multi30k", or where a user's own pairs are: see `own_pairs.place_of`.
      data_dir: a folder with the files of multi30k already there; see `common.corpora`.
      train_pairs: how many of the training pairs to take, the first ones; 0: all.
      date_sizes: how many dates the three splits have.

    Raises:
      InputError: no corpus or folder has this name; a file is missing, damaged, or its
        lines do not match the other's; or see `own_pairs.read_own`.
    """
    notes: tuple[str, ...] = ()
    if name == "dates":
        licence = "generated"
        splits = [Pairs(*split) for split in make_dates(date_sizes, seed=0)]
    elif name == "multi30k":
        licence = multi30k.LICENCE
        splits = [
            read_pairs(*multi30k.fetch_split(split, data_dir))
            for split in ("train", "valid", "test")
        ]
    else:
        place = place_of(name)
        if place is None:
            raise InputError(
                f"load_corpus: --data must be a corpus, {' or '.join(CORPORA)}, or a folder of "
                "your own pairs, FOLDER:SRC-TGT with the files train.SRC and train.TGT in it; "
                f"got {name}, where there is no folder"
            )
        licence = "your own files"
        *splits, notes = read_own(place)
    if train_pairs:
        kept = splits[0]
        splits[0] = Pairs(kept.sources[:train_pairs], kept.targets[:train_pairs])
    return Corpus(name, licence, *splits, notes=notes)
