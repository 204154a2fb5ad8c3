"""A folder of the user's own MIDI files as piano rolls in splits.

Every .mid and .midi file in it, and in the folders inside it, is read as `--seed-midi` reads
one; see `midi.py`. Left out, and said so, are files that cannot be read or hold no notes,
pieces that are too short, and pieces whose roll another file has already: counted twice, a
piece might be learned from in one split and tested on in another.

Splits. A tenth of the pieces each, one at least, is for validation and for the test; all
others are learned from. Which they are follows from the order of the rolls' SHA-256, as good
as drawn: the same notes give the same splits, whatever the files' names and places are.
"""

import hashlib
from pathlib import Path

from experiments.common.errors import InputError
from experiments.common.left_out import LeftOut
from experiments.music_generation.midi import MIDI_SUFFIXES, Score, read_midi
from experiments.music_generation.rolls import Roll

_LEAST_FRAMES = 8  # a bar of eighth notes: less is a sound, not a piece
_LEAST_PIECES = 3  # one a split

Splits = tuple[tuple[Roll, ...], tuple[Roll, ...], tuple[Roll, ...]]  # train, valid, test


def read_folder(folder: Path, frame_beats: float) -> tuple[Splits, tuple[str, ...]]:
    """Read all MIDI files of a folder that exists.

    Args:
      folder: the folder.
      frame_beats: how long a frame lasts, in quarter notes.

    Returns:
      The splits, and what is not in them, a line each for the user to read.

    Raises:
      InputError: there are no MIDI files in it, or too few that can be learned from.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in MIDI_SUFFIXES and path.is_file()
    )
    if not files:
        raise InputError(
            f"read_folder: there is no .mid or .midi file in {folder} or in the folders inside "
            f"it; {_LEAST_PIECES} are the least"
        )
    print(f"reading {len(files):,} MIDI files in {folder}", flush=True)
    scores: dict[str, Score] = {}  # by their notes
    left_out = LeftOut()
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            score = read_midi(file, frame_beats)
        except InputError:
            left_out.add("that cannot be read or have no notes", name)
            continue
        content = hashlib.sha256(score.roll.tobytes()).hexdigest()
        if len(score.roll) < _LEAST_FRAMES:
            left_out.add(f"shorter than {_LEAST_FRAMES} frames", name)
        elif content in scores:
            left_out.add("with the notes of another file", name)
        else:
            scores[content] = score
    notes = []
    if left_out:
        notes.append(f"left out {len(left_out):,} of {len(files):,} files: {left_out}")
    if len(scores) < _LEAST_PIECES:
        also = f" ({notes[0]})" if notes else ""
        raise InputError(
            f"read_folder: {folder} has too few pieces to learn from: expected {_LEAST_PIECES} or "
            f"more, got {len(scores)}{also}; add MIDI files"
        )
    if partly := sum(score.notes_left_out > 0 for score in scores.values()):
        notes.append(
            f"not all notes are read of {partly:,} pieces: drums, keys outside of the piano's 88 "
            "or notes between the frames are left out"
        )
    rolls = tuple(scores[content].roll for content in sorted(scores))
    tenth = max(1, len(rolls) // 10)
    return (rolls[2 * tenth :], rolls[tenth : 2 * tenth], rolls[:tenth]), tuple(notes)
