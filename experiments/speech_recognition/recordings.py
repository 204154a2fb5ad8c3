"""A user's folder of recordings: which there are, with the transcript and speaker of each.

It has one of two forms:

    metadata.csv          a line for each recording, `name|transcript` or, as in LJSpeech,
                          `name|raw|normalised`, of which the last is taken unless it is
                          empty. The recording is `wavs/name` or `name`, seen from the
                          folder; its extension may be left out. No head line, no quotes.
    NAME.wav, NAME.txt    where there is no metadata.csv: every recording in the folder and
                          below it, of any of `EXTENSIONS`, with its transcript beside it.
                          What begins with a dot is passed over.

Of recordings in one place whose names differ in the extension only, as `1.wav` and
`1.m4a` that it was made from, one is taken: that whose format comes first in `EXTENSIONS`.

The speaker is the first folder in which the recordings' paths differ: `alice` for
`alice/monday/1.wav` beside `bob/1.wav`, and below `wavs/` just the same. Those that lie
where all paths still agree are one speaker's more, so that one flat folder is one speaker.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.common.errors import InputError
from experiments.common.left_out import LeftOut
from experiments.speech_recognition.config import CORPORA

METADATA = "metadata.csv"
EXTENSIONS = (
    *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf"),
    *(".w64", ".rf64"),
    # Not libsndfile's: they are named among those that cannot be read, not passed over.
    *(".m4a", ".aac", ".wma", ".amr", ".webm"),
)


class Recording(NamedTuple):
    """One recording as it was found, not yet read."""

    name: str  # its path from the folder
    path: Path
    speaker: str
    transcript: str  # as it is written


def find_recordings(folder: Path, left_out: LeftOut) -> list[Recording]:
    """Return the recordings of a folder that have a transcript.

    They are in the order of metadata.csv, else in that of their paths. `left_out` is told of
    those without a transcript, of lines without a recording, of those in a second format.

    Raises:
      InputError: no such folder, or metadata.csv is not of the form above.
    """
    if not os.path.isdir(folder):  # unlike Path's, it takes a name that is too long
        raise InputError(
            f"find_recordings: there is no folder {folder}; --data must be {', '.join(CORPORA)}, "
            "or a folder of your own recordings"
        )
    pairs = _listed if (folder / METADATA).is_file() else _side_by_side
    found = _one_a_stem(list(pairs(folder, left_out)), folder, left_out)
    speakers = _speakers([path for path, _ in found])
    return [
        Recording(_name(path, folder), path, speaker, transcript)
        for (path, transcript), speaker in zip(found, speakers, strict=True)
    ]


def _listed(folder: Path, left_out: LeftOut) -> Iterator[tuple[Path, str]]:
    """Yield what metadata.csv lists, in its order: recordings and transcripts."""
    file, seen = folder / METADATA, set[Path]()
    endings = ("", *EXTENSIONS, *map(str.upper, EXTENSIONS))
    text = _read_text(file)
    if text is None:
        raise InputError(f"find_recordings: {file} cannot be read as UTF-8 text; save it as such")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, *columns = (column.strip() for column in line.split("|"))
        if not name or len(columns) not in (1, 2):
            raise InputError(
                f"find_recordings: {file}, line {number}: expected `name|transcript` or "
                f"`name|raw|normalised`, got {line[:60]!r}; correct the line"
            )
        candidates = (folder / base / (name + end) for base in ("wavs", "") for end in endings)
        # os.path's, unlike Path's, takes a name that no file can have for that of none.
        path = next(filter(os.path.isfile, candidates), None)
        if path is None:
            left_out.add("listed but not there", name[:60])
        elif path in seen:
            left_out.add("listed again", name)
        else:
            seen.add(path)
            yield path, columns[-1] or columns[0]


def _side_by_side(folder: Path, left_out: LeftOut) -> Iterator[tuple[Path, str]]:
    """Yield all recordings of a folder with the text files beside them, sorted by path."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.suffix.lower() not in EXTENSIONS or not path.is_file():
            continue
        beside = (path.with_suffix(end) for end in (".txt", ".TXT"))
        file = next(filter(Path.is_file, beside), None)
        if file is None:
            left_out.add("without a transcript", _name(path, folder))
        elif (text := _read_text(file)) is None:
            left_out.add("with a transcript that is not UTF-8 text", _name(path, folder))
        else:
            yield path, text


def _one_a_stem(
    found: Sequence[tuple[Path, str]], folder: Path, left_out: LeftOut
) -> list[tuple[Path, str]]:
    """Return one recording of each stem, for two could be trained on and tested with."""

    def stem(path: Path) -> Path:
        return path.with_suffix("") if path.suffix.lower() in EXTENSIONS else path

    def rank(path: Path) -> int:
        return (*EXTENSIONS, path.suffix.lower()).index(path.suffix.lower())

    taken: dict[Path, Path] = {}
    for path in sorted((path for path, _ in found), key=rank):
        taken.setdefault(stem(path), path)
    for path, _ in found:
        if taken[stem(path)] != path:
            left_out.add("there in another format", _name(path, folder))
    return [(path, text) for path, text in found if taken[stem(path)] == path]


def _read_text(path: Path) -> str | None:
    """Return a text, or None if it cannot be read as UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None


def _name(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _speakers(paths: Sequence[Path]) -> list[str]:
    """Return the speaker of each recording; see the module."""
    parents = [os.path.abspath(path.parent) for path in paths]
    common = os.path.commonpath(parents) if parents else ""
    below = (Path(os.path.relpath(parent, common)).parts for parent in parents)
    return [parts[0] if parts else "" for parts in below]
