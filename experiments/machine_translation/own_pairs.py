"""A user's own pairs: a folder of files, line n of the one translated by line n of the other.

    FOLDER/train.en  FOLDER/train.de    UTF-8, a sentence a line, plain or compressed (.en.gz)
    FOLDER/valid.en  FOLDER/valid.de    if there are any
    FOLDER/test.en   FOLDER/test.de     if there are any

Which side is the source is said with the folder: `FOLDER:en-de` translates train.en to
train.de. `FOLDER` alone will do where the two are train.src and train.tgt; nothing else is
guessed at. Endings may be any; files of further languages may lie beside them.

| what there may be | what becomes of it |
|---|---|
| no files of a split | a 20th of the training pairs, `MOST_HELD_OUT` at most, is held out for it |
| an empty side, or one of signs that nothing is read of | the pair is left out, and counted |
| a side of more than `MOST_SIGNS` characters | the same: it would set the shape of a batch |
| a source line in two splits | kept in the test, else in validation; left out, and counted |
| one file of two, or different numbers of lines | refused |

What is held out are source lines with all of their translations, those whose SHA-256 is the
smallest: equal text gives equal splits, and added pairs move few others. One with more
translations than there is room for stays in training; where all are such, the one with the
fewest is held out. Two source lines are the same if the model reads the same of them.

The result is measured in BLEU, of words that spaces and punctuation part: the figure of a
target language that has no spaces between its words means little.
"""

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path
from typing import NamedTuple

import sentencepiece

from experiments.common import own_data
from experiments.common.errors import InputError
from experiments.common.left_out import LeftOut
from experiments.machine_translation.config import CORPORA
from experiments.machine_translation.lines import Pairs, normalise, read_pairs

MOST_SIGNS = 1_000  # characters of a line; a sentence has some 100
MOST_HELD_OUT = 1_000  # pairs of each split, as many as Multi30k has
_SHARE = 20  # one pair of so many is held out, for each split
_TOLD_APART = ("src", "tgt")  # endings that say themselves which the source is
_NORMALIZER = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc")


class _Row(NamedTuple):
    """A pair that can be used."""

    read: str  # the source as the model reads it
    source: str
    target: str


def located(data: str) -> str:
    """Do for `FOLDER:SRC-TGT` what `common.own_data.located` does for a path."""
    place = None if data in CORPORA else _place_of(data)
    if place is None:
        return data
    folder, languages = place
    in_full = own_data.located(str(folder), ())
    return f"{in_full}:{languages}" if languages else in_full


def _place_of(data: str) -> tuple[Path, str] | None:
    """Return folder and languages, "" or as "en-de", or None if there is no such folder."""
    path = os.path.expanduser(data)
    if os.path.isdir(path):
        return Path(path), ""
    folder, _, languages = path.rpartition(":")
    return (Path(folder), languages) if languages and os.path.isdir(folder) else None


def read_own(
    data: str, most_held_out: int = MOST_HELD_OUT
) -> tuple[Pairs, Pairs, Pairs, tuple[str, ...]]:
    """Return the pairs of training, validation and test, and what was done to them.

    Args:
      data: `FOLDER` or `FOLDER:SRC-TGT`.
      most_held_out: how many pairs a split has at most that there are no files of.

    Raises:
      InputError: there is no such folder, which side is the source cannot be told, a file is
        missing or cannot be read, two do not match, or too few pairs can be used.
    """
    place = _place_of(data)
    if place is None:
        raise InputError(
            f"read_own: --data must be a corpus, {' or '.join(CORPORA)}, or a folder of "
            "your own pairs, FOLDER:SRC-TGT with the files train.SRC and train.TGT in it; "
            f"got {data}, where there is no folder"
        )
    folder, said = place
    languages = _languages_of(folder, said)
    given: dict[str, list[_Row]] = {}
    left_out, seen = LeftOut(), set[str]()
    for split in ("test", "valid", "train"):  # in whose favour a source line is kept
        files = _files_of(folder, split, languages)
        if not files:
            continue
        pairs = read_pairs(*files)
        rows = _usable(pairs, split, seen, left_out)
        if not rows:
            raise InputError(
                f"read_own: none of the {len(pairs):,} pairs of {files[0]} and {files[1]} can be "
                f"used: a side is empty or has more than {MOST_SIGNS:,} characters, or the source "
                "is in another split, too; give others"
            )
        given[split] = rows
        seen |= {row.read for row in rows}
    notes = [f"pairs left out: {left_out}"] if left_out else []
    missing = [split for split in ("test", "valid") if split not in given]
    if missing:
        given |= _held_out(folder, given["train"], missing, most_held_out)
        sizes = " and ".join(f"{len(given[split]):,} for {split}" for split in missing)
        notes.append(f"pairs held out of training: {sizes}")
    train, valid, test = (
        Pairs([row.source for row in given[split]], [row.target for row in given[split]])
        for split in ("train", "valid", "test")
    )
    return train, valid, test, tuple(notes)


def _languages_of(folder: Path, said: str) -> tuple[str, str]:
    """Return the endings of the sources' and the targets' files, or raise InputError."""
    names = [path.name for path in folder.glob("train.*") if path.is_file()]
    endings = sorted({name.removeprefix("train.").removesuffix(".gz") for name in names})
    wanted = said or "-".join(_TOLD_APART)
    meant = [pair for pair in itertools.permutations(endings, 2) if "-".join(pair) == wanted]
    if len(meant) == 1:
        return meant[0]
    there = ", ".join(f"train.{ending}" for ending in endings) or "no train.*"
    if len(endings) < 2:
        remedy = "put train.SRC and train.TGT there, of sources and of their translations"
    else:
        first, second = endings[:2]
        remedy = (
            f"say which is the source: --data {folder}:{first}-{second} translates "
            f"train.{first} to train.{second}"
        )
    expected = f"the files of {said}" if said else "train.src and train.tgt"
    raise InputError(f"read_own: {folder} must have {expected}, got {there}; {remedy}")


def _files_of(folder: Path, split: str, languages: Sequence[str]) -> list[Path]:
    """Return a split's files, source and target or none, or raise InputError."""
    found: list[Path] = []
    for language in languages:
        names = [folder / f"{split}.{language}", folder / f"{split}.{language}.gz"]
        there = [path for path in names if path.is_file()]
        if len(there) > 1:
            raise InputError(f"read_own: got both {names[0]} and {names[1]}; keep one of them")
        found += there
    if len(found) == 1:
        raise InputError(
            f"read_own: {folder} must have {split}.{languages[0]} and {split}.{languages[1]}, got "
            f"{found[0].name} alone; add the other, or take it away to hold pairs out"
        )
    return found


def _usable(pairs: Pairs, split: str, seen: Set[str], left_out: LeftOut) -> list[_Row]:
    """Return a split's pairs that can be used, whose source lines were not seen elsewhere."""
    rows = []
    for number, (source, target) in enumerate(zip(pairs.sources, pairs.targets, strict=True), 1):
        # As pieces are made of it: zero-width signs, for one, leave nothing.
        read, other = (_NORMALIZER.normalize(normalise(line)) for line in (source, target))
        line = f"{split}, line {number:,}"
        if not read or not other:
            left_out.add("with an empty side", line)
        elif max(len(read), len(other)) > MOST_SIGNS:
            left_out.add(f"with more than {MOST_SIGNS:,} characters", line)
        elif read in seen:
            left_out.add("with a source line of another split", line)
        else:
            rows.append(_Row(read, source, target))
    return rows


def _held_out(
    folder: Path, rows: list[_Row], missing: Sequence[str], most: int
) -> dict[str, list[_Row]]:
    """Return the training pairs shared out: at most `most` for each split that is missing.

    Raises:
      InputError: there are too few source lines for all of these and for training.
    """
    counts = Counter(row.read for row in rows)
    if len(counts) <= len(missing):
        splits = " and ".join(missing)
        files = " and ".join(f"{split}.*" for split in missing)
        raise InputError(
            f"read_own: {folder} has {len(rows):,} training pairs of {len(counts):,} "
            f"source lines, too few to hold some out for {splits}: a line goes there with all of "
            f"its translations, and one is to train on, so that {len(missing) + 1} are needed; "
            f"give pairs of other source lines, or files {files}"
        )
    wanted = min(most, max(1, len(rows) // _SHARE))
    left = sorted(counts, key=lambda read: hashlib.sha256(read.encode()).digest())
    split_of: dict[str, str] = {}
    for i, split in enumerate(missing):
        # A line each is left for the splits after this one, and one for training.
        drawn = _draw(left, counts, wanted, len(left) - (len(missing) - i))
        split_of |= dict.fromkeys(drawn, split)
        left = [read for read in left if read not in split_of]
    return {
        split: [row for row in rows if split_of.get(row.read, "train") == split]
        for split in (*missing, "train")
    }


def _draw(left: Sequence[str], counts: Counter[str], wanted: int, most: int) -> list[str]:
    """Return the first source lines of those left that fit into `wanted` pairs, `most` at most."""
    drawn, size = [], 0
    for read in left:
        if len(drawn) < most and size + counts[read] <= wanted:
            drawn.append(read)
            size += counts[read]
    # Of 38 pairs, two of each line, one is wanted: no line fits, but a split needs one.
    return drawn or [min(left, key=counts.__getitem__)]
