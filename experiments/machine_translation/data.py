"""From a corpus's name to pairs of lines in splits.

| corpus | source | target | splits |
|---|---|---|---|
| dates | made: dates in many spellings | ISO 8601 | none shares a day with another |
| multi30k | English | German | the files' own; test is test_2016_flickr |

Every text is lower-cased, and a run of white space becomes one space: in training, in
what a user gives, and in nothing else. References stay as they are; the metric
lower-cases them itself.
"""

import dataclasses
import gzip
import hashlib
import zlib
from pathlib import Path
from typing import Literal

from experiments.common.errors import InputError
from experiments.machine_translation import multi30k
from experiments.machine_translation.dates import make_dates

CorpusName = Literal["dates", "multi30k"]
DATE_SIZES = (20_000, 500, 500)  # training, validation and test pairs


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Lines that belong together.

    Attributes:
      sources: what is translated.
      targets: its translations.
    """

    sources: list[str]
    targets: list[str]

    def __len__(self) -> int:
        return len(self.sources)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Pairs in splits, and what their source says about use."""

    name: str
    licence: str
    train: Pairs
    valid: Pairs
    test: Pairs

    @property
    def digest(self) -> str:
        """Return a SHA-256 of all lines: other lines, another digest."""
        digest = hashlib.sha256()
        for pairs in (self.train, self.valid, self.test):
            for lines in (pairs.sources, pairs.targets):
                digest.update("\n".join(lines).encode() + b"\0")
        return digest.hexdigest()


def load_corpus(name: CorpusName, data_dir: str | None = None, train_pairs: int = 0) -> Corpus:
    """Return a corpus.

    Args:
      name: "dates" or "multi30k".
      data_dir: a folder with the files already there; see `common.corpora`.
      train_pairs: how many of the training pairs to take, the first ones; 0: all.

    Raises:
      InputError: a file is missing, damaged, or its lines do not match the other's.
    """
    if name == "dates":
        licence = "generated"
        splits = [Pairs(*split) for split in make_dates(DATE_SIZES, seed=0)]
    else:
        licence = multi30k.LICENCE
        splits = [
            read_pairs(*multi30k.fetch_split(split, data_dir))
            for split in ("train", "valid", "test")
        ]
    if train_pairs:
        kept = splits[0]
        splits[0] = Pairs(kept.sources[:train_pairs], kept.targets[:train_pairs])
    return Corpus(name, licence, *splits)


def normalise(text: str) -> str:
    """Return a line as the model reads it: lower case, single spaces, none at the ends."""
    return " ".join(text.lower().split())


def read_pairs(source: Path, target: Path) -> Pairs:
    """Read two files whose lines belong together.

    Raises:
      InputError: see `read_lines`; or the files have different numbers of lines.
    """
    sources, targets = read_lines(source), read_lines(target)
    if len(sources) != len(targets):
        raise InputError(
            f"read_pairs: {source} has {len(sources):,} lines and {target} {len(targets):,}; "
            "line n of the one must be the translation of line n of the other"
        )
    return Pairs(sources, targets)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 text, plain or compressed by gzip; see `lines_of`.

    Raises:
      InputError: no such file, a damaged or an empty one, or not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"read_lines: cannot read {path}: {error.strerror}; give a UTF-8 text file, plain "
            "or .gz, with a sentence a line"
        ) from error
    return lines_of(content, str(path))


def lines_of(content: bytes, name: str) -> list[str]:
    """Return the lines of what a file holds; empty ones stay.

    Lines end in a line feed, with or without a carriage return before it, or all in a
    carriage return alone. Other characters that Unicode has for line ends do occur inside
    of sentences. A byte order mark is dropped.

    Args:
      content: UTF-8 text, plain or compressed by gzip.
      name: whose it is, for messages.

    Raises:
      InputError: it is damaged, empty or not UTF-8.
    """
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"lines_of: {name} is a damaged gzip file ({error}); get it again"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"lines_of: {name} is not UTF-8 text (byte {error.start}: {error.reason}); "
            "convert it, for example with iconv -t UTF-8"
        ) from error
    ends = "\r" if "\n" not in text else "\n"
    lines = text.replace("\r\n", "\n").split(ends)
    if lines[-1] == "":  # what follows the last line's end
        lines.pop()
    if not lines:
        raise InputError(f"lines_of: {name} is empty; give a sentence a line")
    return lines
