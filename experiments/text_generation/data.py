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
import hashlib
import itertools
import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from pydoc_data import topics
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from experiments.common.corpora import fetch
from experiments.common.errors import InputError
from experiments.text_generation.corpora import SOURCES, read_text

Level = Literal["character", "word"]
Ids = NDArray[np.int32]
S = TypeVar("S", bound=Sequence[str])

END_OF_SENTENCE = "<eos>"
UNKNOWN = "<unk>"


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

    def split(self, text: str) -> list[str]:
        """Cut a text into symbols; word level ends each line with `<eos>`."""
        if self.level == "character":
            return list(text)
        ended = text.replace("\n", f" {END_OF_SENTENCE} ")
        return ended.split()

    def encode(self, text: str) -> tuple[Ids, int]:
        """Return the ids `[N]` of a text and how many symbols became `<unk>`.

        Raises:
          InputError: a symbol is unknown and there is no `<unk>`; all such are named.
        """
        return self.encode_symbols(self.split(text))

    def encode_symbols(self, symbols: Sequence[str]) -> tuple[Ids, int]:
        """Return the ids `[N]` of symbols; see `encode`."""
        id_of = {symbol: i for i, symbol in enumerate(self.symbols)}
        unknown = [symbol for symbol in symbols if symbol not in id_of]
        if unknown and UNKNOWN not in id_of:
            names = " ".join(repr(symbol) for symbol in sorted(set(unknown))[:10])
            raise InputError(
                f"encode: the model's text has no {names}; use only the "
                f"{len(self)} {self.level}s it was trained on"
            )
        default = id_of.get(UNKNOWN)
        ids = [id_of.get(symbol, default) for symbol in symbols]
        return np.array(ids, np.int32).reshape(len(ids)), len(unknown)

    def decode(self, ids: Ids) -> str:
        """Return the text of ids `[N]`."""
        return "".join(self.text_of(int(i)) for i in ids)

    def text_of(self, symbol_id: int) -> str:
        """Return what one symbol adds to a text: a word brings its space along."""
        symbol = self.symbols[symbol_id]
        if self.level == "character":
            return symbol
        return "\n" if symbol == END_OF_SENTENCE else symbol + " "


@dataclasses.dataclass(frozen=True)
class Corpus:
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
    num_unknown: int = 0

    @property
    def digest(self) -> str:
        """Return a SHA-256 of vocabulary and ids: another text, another digest."""
        digest = hashlib.sha256("\0".join(self.vocabulary.symbols).encode())
        for ids in (self.train, self.valid, self.test):
            digest.update(b"|" if ids is None else ids.astype("<i4").tobytes())
        return digest.hexdigest()


def load_corpus(
    name: str, data_dir: str | None = None, *, level: Level = "character", min_count: int = 2
) -> Corpus:
    """Return a corpus.

    Args:
      name: `pydoc`, `tinyshakespeare`, `warandpeace`, `ptb`, or the path of a text.
      data_dir: a folder with the files already there; see `common.corpora`.
      level: what a symbol is; of ptb, a word in any case.
      min_count: words that the training split has less often become `<unk>`.

    Raises:
      InputError: the file is missing, damaged, empty, not UTF-8 or too short.
    """
    if name == "pydoc":
        text, licence = _pydoc(), "CPython's documentation, PSF licence"
    elif name not in SOURCES:
        text, licence = read_text(Path(os.path.expanduser(name))), "your own file"
    else:
        path, licence = fetch(SOURCES[name], data_dir), SOURCES[name].licence
        if name == "ptb":
            return _penn_treebank(path, licence)
        text = read_text(path)
    shares = (0.8, 0.9) if name == "warandpeace" else (0.9,)
    if level == "word":
        return _words(name, licence, text, shares, min_count)
    return _characters(name, licence, text, shares)


def _pydoc() -> str:
    """Return the topics that ship with CPython, sorted by name, a newline between.

    The text differs between versions of Python, and with it every number measured on
    it: 3.11 has 465,048 characters.
    """
    return "\n".join(topics.topics[name] for name in sorted(topics.topics))


def _characters(name: str, licence: str, text: str, shares: tuple[float, ...]) -> Corpus:
    """Cut a text at the given shares of its length: train, valid, perhaps test."""
    vocabulary = Vocabulary(tuple(sorted(set(text))), "character")
    splits = _cut(name, text, shares, "characters")
    train, valid, *test = (vocabulary.encode(split)[0] for split in splits)
    return Corpus(name, licence, vocabulary, train, valid, test[0] if test else None)


def _words(name: str, licence: str, text: str, shares: tuple[float, ...], min_count: int) -> Corpus:
    """Cut a text's words at the given shares; see the module for the vocabulary."""
    splits = _cut(name, Vocabulary((), "word").split(text), shares, "words")
    frequent = {word for word, count in Counter(splits[0]).items() if count >= min_count}
    vocabulary = Vocabulary(tuple(sorted(frequent | {END_OF_SENTENCE, UNKNOWN})), "word")
    ids, unknown = zip(*map(vocabulary.encode_symbols, splits), strict=True)
    train, valid, *test = ids
    return Corpus(name, licence, vocabulary, train, valid, test[0] if test else None, sum(unknown))


def _cut(name: str, symbols: S, shares: tuple[float, ...], what: str) -> list[S]:
    """Return the splits of a text: training, validation, perhaps test.

    Raises:
      InputError: the training or the validation split would be empty.
    """
    places = [0, *(int(len(symbols) * share) for share in shares), len(symbols)]
    splits: list[Any] = [symbols[start:stop] for start, stop in itertools.pairwise(places)]
    for split, split_name in zip(splits, ("training", "validation"), strict=False):
        if not split:
            raise InputError(
                f"load_corpus: {name} has {len(symbols)} {what}, which leaves none for "
                f"the {split_name} split; give a longer text"
            )
    return splits


def _penn_treebank(path: Path, licence: str) -> Corpus:
    """Read the word-level Penn Treebank of Mikolov et al. (2010) from its zip."""
    with zipfile.ZipFile(path) as archive:
        texts = [
            archive.read(f"ptb.{split}.txt").decode("utf-8") for split in ("train", "valid", "test")
        ]
    words = sorted(set(Vocabulary((), "word").split(texts[0])))
    vocabulary = Vocabulary(tuple(words), "word")
    (train, _), (valid, unknown_valid), (test, unknown_test) = map(vocabulary.encode, texts)
    unknown = unknown_valid + unknown_test
    return Corpus("ptb", licence, vocabulary, train, valid, test, unknown)
