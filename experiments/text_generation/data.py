"""From a corpus's name to symbol ids in splits.

| corpus | symbols | splits | line ends |
|---|---|---|---|
| pydoc | characters | first 90 % / last 10 % | newline |
| tinyshakespeare | characters | first 90 % / last 10 % | newline |
| warandpeace | characters | 80 / 10 / 10 % (Karpathy 2015) | carriage return -> newline |
| ptb | words | the files' own: train / valid / test | end-of-sentence |
| any path | characters | first 90 % / last 10 % | any -> newline |

All but ptb can be read as words as well (`level="word"`): what stands between white
space, and an end-of-sentence for every line end. Shares are of symbols, rounded down.

Symbols that the training split lacks: a character vocabulary is that of the whole text,
as in char-rnn and all numbers published with its splits, so none can be missing. A word
vocabulary is that of the training split, without words that it has less than `min_count`
times; `<unk>` stands for every other word, in the training split too, and each
substitution is counted and reported. ptb has had its rare words replaced by its makers.
Text that a user gives later, a prompt, is refused where a character is unknown and there
is no `<unk>`.
"""

import dataclasses
import itertools
import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from pydoc_data import topics
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from experiments.common.corpora import fetch
from experiments.common.errors import InputError
from experiments.common.records import digest_of
from experiments.text_generation.config import Config
from experiments.text_generation.corpora import SOURCES, read_text

Level = Literal["character", "word"]
Ids = NDArray[np.int32]

END = "<eos>"
UNKNOWN = "<unk>"


def split_text(text: str, level: Level) -> list[str]:
    """Cut a text into symbols; word level ends each line with `<eos>`."""
    return list(text) if level == "character" else text.replace("\n", f" {END} ").split()


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Symbols by their id.

    Attributes:
      symbols: the symbol of each id, all different.
      level: whether a symbol is a character or a word.
    """

    symbols: tuple[str, ...]
    level: Level

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, symbols: Sequence[str]) -> tuple[Ids, int]:
        """Return the ids `[N]` of symbols, see `split_text`, and how many became `<unk>`.

        Raises:
          InputError: a symbol is unknown and there is no `<unk>`; all such are named.
        """
        id_of = {symbol: i for i, symbol in enumerate(self.symbols)}
        unknown = [symbol for symbol in symbols if symbol not in id_of]
        if unknown and UNKNOWN not in id_of:
            names = " ".join(repr(symbol) for symbol in sorted(set(unknown))[:10])
            raise InputError(
                f"encode: the model's text has no {names}; use only the "
                f"{len(self)} {self.level}s it was trained on"
            )
        default = id_of.get(UNKNOWN, 0)
        ids = (id_of.get(symbol, default) for symbol in symbols)
        return np.fromiter(ids, np.int32, len(symbols)), len(unknown)

    def decode(self, ids: Ids) -> str:
        """Return the text of ids `[N]`; each word brings its space along."""
        symbols = [self.symbols[i] for i in ids]
        if self.level == "word":
            symbols = ["\n" if symbol == END else symbol + " " for symbol in symbols]
        return "".join(symbols)


@dataclasses.dataclass(frozen=True)
class Data:
    """A text as ids.

    Attributes:
      name: as given.
      licence: what its source says about use.
      vocabulary: what the ids mean.
      train: `[N]`, int32.
      valid: `[M]`, int32.
      test: `[K]`, int32, or None where the corpus has no such split.
      num_unknown: how many symbols of all splits became `<unk>`.
    """

    name: str
    licence: str
    vocabulary: Vocabulary
    train: Ids
    valid: Ids
    test: Ids | None
    num_unknown: int

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a model needs to know of the text."""
        return {"level": self.vocabulary.level, "vocabulary": list(self.vocabulary.symbols)}

    @property
    def digest(self) -> str:
        """Return a SHA-256 of vocabulary and ids: another text, another digest."""
        symbols = np.frombuffer("\0".join(self.vocabulary.symbols).encode(), np.uint8)
        return digest_of((symbols, self.train, self.valid, self.test))


def load(config: Config) -> Data:
    """Return the text of a config.

    Raises:
      InputError: the file is missing, damaged, empty, not UTF-8 or too short; or the sample's
        prompt has a symbol that the text lacks.
    """
    name = config.data
    if name == "pydoc":
        # It differs between versions of Python, and with it every number measured on it: 3.11
        # has 465,048 characters.
        text = "\n".join(topics.topics[topic] for topic in sorted(topics.topics))
        data = _cut(config, text, "CPython's documentation, PSF licence")
    elif name not in SOURCES:
        data = _cut(config, read_text(Path(os.path.expanduser(name))), "your own file")
    else:
        path, licence = fetch(SOURCES[name], config.data_dir), SOURCES[name].licence
        if name == "ptb":
            data = penn_treebank(path, licence)
        else:
            data = _cut(config, read_text(path), licence)
    data.vocabulary.encode(split_text(config.sample_prompt or "", data.vocabulary.level))
    return data


def _cut(config: Config, text: str, licence: str) -> Data:
    """Cut a text into splits; see the module for shares and vocabulary.

    Raises:
      InputError: the training or the validation split would be empty.
    """
    name, level = config.data, config.level
    symbols = split_text(text, level)
    shares = (0.8, 0.9) if name == "warandpeace" else (0.9,)
    places = [0, *(int(len(symbols) * share) for share in shares), len(symbols)]
    splits = [symbols[start:stop] for start, stop in itertools.pairwise(places)]
    for split, split_name in zip(splits, ("training", "validation"), strict=False):
        if not split:
            raise InputError(
                f"load: {name} has {len(symbols)} {level}s, which leaves none for the "
                f"{split_name} split; give a longer text"
            )
    if level == "character":
        known = set(text)
    else:
        frequent = {word for word, n in Counter(splits[0]).items() if n >= config.min_count}
        known = frequent | {END, UNKNOWN}
    return _encoded(name, licence, Vocabulary(tuple(sorted(known)), level), splits)


def penn_treebank(path: Path, licence: str) -> Data:
    """Read the word-level Penn Treebank of Mikolov et al. (2010) from its zip."""
    with zipfile.ZipFile(path) as archive:
        splits = [
            split_text(archive.read(f"ptb.{split}.txt").decode("utf-8"), "word")
            for split in ("train", "valid", "test")
        ]
    return _encoded("ptb", licence, Vocabulary(tuple(sorted(set(splits[0]))), "word"), splits)


def _encoded(
    name: str, licence: str, vocabulary: Vocabulary, splits: Sequence[Sequence[str]]
) -> Data:
    ids, unknown = zip(*map(vocabulary.encode, splits), strict=True)
    train, valid, *test = ids
    return Data(name, licence, vocabulary, train, valid, test[0] if test else None, sum(unknown))
