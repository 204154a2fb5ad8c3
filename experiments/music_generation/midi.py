"""MIDI files in and out.

Reading. Time is counted in quarter notes, as the file's notation does, and frames last a
corpus's `frame_beats` of them. A tempo so changes nothing about the roll; the file's first
one is kept, and an answer is written at this one throughout. A frame holds the notes that
sound a quarter of a frame after it begins: late or early keys do no harm, and short notes
between the beats are left out. A note so short that it is over by then still counts if it
began with the frame. Frames before the first note are left out.

What is left out is told: drums (channel 10), notes outside of the piano's 88 keys, notes
between frames, and any later tempo.

Writing. A key that sounds in neighbouring frames is one held note, as a roll does not
tell whether it is struck again.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mido
import numpy as np

from experiments.common.errors import InputError
from experiments.music_generation.rolls import LOWEST_NOTE, NUM_KEYS, Roll

MIDI_SUFFIXES = (".mid", ".midi")  # in any case
TICKS_PER_BEAT = 480
DEFAULT_TEMPO = mido.bpm2tempo(100)  # microseconds a quarter note
_DRUMS = 9  # channel 10, counted from 0
_VELOCITY = 80
_MOST_FRAMES = 20_000  # more is no seed but a stuck note or a wrong resolution


class Score(NamedTuple):
    """A file as a roll."""

    roll: Roll  # [T, 88], T >= 1, with a note in the first frame
    tempo: int  # microseconds a quarter note
    notes_left_out: int  # how many of the file's notes are not in the roll
    left_out: tuple[str, ...]  # what is not read, for the user to read; notes and tempos


def read_midi(path: Path, frame_beats: float) -> Score:
    """Read a MIDI file of type 0 or 1.

    Args:
      path: the file.
      frame_beats: how long a frame lasts, in quarter notes.

    Raises:
      InputError: no such file, no MIDI, one whose time is not counted in quarter notes,
        or one without a note to play.
    """
    file = _open(path)
    frame_ticks = file.ticks_per_beat * frame_beats
    drums, outside, between = 0, 0, 0
    kept: list[tuple[int, range]] = []  # key and frames
    for channel, number, start, end in _notes(file):
        key = number - LOWEST_NOTE
        frames = _frames(start / frame_ticks, end / frame_ticks)
        if channel == _DRUMS:
            drums += 1
        elif not 0 <= key < NUM_KEYS:
            outside += 1
        elif not frames:
            between += 1
        else:
            kept.append((key, frames))
    missed = (
        (drums, "drum notes (channel 10)"),
        (outside, "notes outside of the piano's 88 keys"),
        (between, f"notes between the frames of {frame_beats:g} quarter notes"),
    )
    left_out = [f"{count} {what}" for count, what in missed if count]
    if not kept:
        also = f" but {', '.join(left_out)}" if left_out else ""
        raise InputError(
            f"read_midi: {path} has no notes{also}; give a MIDI file with notes of a "
            "melody instrument"
        )
    first = min(frames.start for _, frames in kept)
    length = max(frames.stop for _, frames in kept) - first
    if length > _MOST_FRAMES:
        raise InputError(
            f"read_midi: {path} lasts {length:,} frames of {frame_beats:g} quarter notes, at "
            f"most {_MOST_FRAMES:,} are read; cut it"
        )
    roll = np.zeros((length, NUM_KEYS), np.uint8)
    for key, frames in kept:
        roll[frames.start - first : frames.stop - first, key] = 1
    tempos = _tempos(file)
    if len(tempos) > 1:
        left_out.append(f"{len(tempos) - 1} later tempo changes (the first tempo is kept)")
    return Score(roll, tempos[0], drums + outside + between, tuple(left_out))


def _open(path: Path) -> mido.MidiFile:
    """Open a file and check that its time is counted in quarter notes."""
    if not path.is_file():
        raise InputError(f"read_midi: there is no file {path}; give the path of a MIDI file")
    try:
        # `clip`: a data byte above 127, which some programs write, is read as 127.
        file = mido.MidiFile(path, clip=True)
    except Exception as error:
        # mido lets whatever a damaged file leads to out: OSError, EOFError, ValueError, ...
        raise InputError(
            f"read_midi: {path} is no MIDI file, or a damaged one "
            f"({type(error).__name__}: {error}); give a .mid file of type 0 or 1"
        ) from error
    if file.type == 2:
        raise InputError(
            f"read_midi: {path} is a MIDI file of type 2, whose tracks share no time; save it "
            "as type 0 or 1"
        )
    if file.ticks_per_beat <= 0:
        raise InputError(
            f"read_midi: {path} counts time in SMPTE frames, not in quarter notes; save it "
            "with a resolution in ticks a quarter note"
        )
    return file


def _notes(file: mido.MidiFile) -> Iterator[tuple[int, int, int, int]]:
    """Yield each track's notes: channel from 0, MIDI's number, start and end in ticks.

    A note that is struck again while it sounds ends there; one that is never ended
    ends with the track.
    """
    for track in file.tracks:
        now = 0
        sounding: dict[tuple[int, int], int] = {}  # (channel, number) -> start
        for message in track:
            now += message.time
            if message.type in ("note_on", "note_off"):
                voice = (message.channel, message.note)
                if voice in sounding:
                    yield *voice, sounding.pop(voice), now
                if message.type == "note_on" and message.velocity > 0:
                    sounding[voice] = now
        yield from ((*voice, start, now) for voice, start in sounding.items())


def _frames(start: float, end: float) -> range:
    """Return the frames in which a note sounds, times in frames; none, if it falls between."""
    first, stop = math.ceil(start - 0.25), math.ceil(end - 0.25)
    if first >= stop and abs(start - round(start)) <= 0.25 and end > start:
        return range(round(start), round(start) + 1)
    return range(first, max(stop, first))


def _tempos(file: mido.MidiFile) -> list[int]:
    """Return the tempos of a file as they follow each other, each unlike the one before.

    They hold for all tracks, whichever they are in; of two at one time the second is heard.
    """
    at, now = {0: mido.bpm2tempo(120)}, 0  # tick -> tempo; at first MIDI's own
    for message in mido.merge_tracks(file.tracks):
        now += message.time
        if message.type == "set_tempo" and message.tempo > 0:
            at[now] = message.tempo
    return [tempo for tempo, _ in itertools.groupby(at.values())]


def write_midi(path: Path, roll: Roll, frame_beats: float, tempo: int = DEFAULT_TEMPO) -> None:
    """Write a roll as a MIDI file of one track, for a piano.

    Args:
      path: the file to write.
      roll: `[T, 88]`.
      frame_beats: how long a frame lasts, in quarter notes.
      tempo: microseconds a quarter note.
    """
    frame_ticks = round(TICKS_PER_BEAT * frame_beats)
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=tempo))
    padded = np.pad(roll.astype(np.int8), ((1, 1), (0, 0)))
    changes = np.diff(padded, axis=0)  # [T + 1, 88]: 1 begins, -1 ends
    now = 0
    # Ends first: a key may end and another begin on one tick.
    for t, change, key in sorted((t, changes[t, key], key) for t, key in np.argwhere(changes)):
        kind, number = "note_on" if change > 0 else "note_off", LOWEST_NOTE + int(key)
        time = int(t - now) * frame_ticks
        track.append(mido.Message(kind, note=number, velocity=_VELOCITY, time=time))
        now = t
    track.append(mido.MetaMessage("end_of_track", time=int(len(roll) - now) * frame_ticks))
    mido.MidiFile(type=0, tracks=[track], ticks_per_beat=TICKS_PER_BEAT).save(path)
