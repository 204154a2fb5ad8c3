"""Lines, and lines that belong together: how they are read from files, and compared."""

import dataclasses
import gzip
import zlib
from pathlib import Path

from experiments.common.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Lines that belong together."""

    sources: list[str]
    targets: list[str]  # the translation of each

    def __len__(self) -> int:
        return len(self.sources)


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
