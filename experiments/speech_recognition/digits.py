"""Clips of single digits, joined to strings of digits as a telephone number is spoken."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.speech_recognition.audio import Signal
from experiments.speech_recognition.utterances import Segment, Utterance

SAMPLE_RATE = 8_000
SHORTEST, LONGEST = 3, 7  # digits in a string
ROUNDS = {"train": 2, "valid": 1, "test": 1}  # how often a part's clips are gone through
_GAP_MS = (20, 150)  # between two clips, and at both ends


class Clip(NamedTuple):
    """One spoken digit."""

    digit: str
    speaker: str
    wave: Signal


def join_clips(
    clips: Sequence[Clip], part: str, noise_db: tuple[float, float], rng: np.random.Generator
) -> list[Utterance]:
    """Join clips to strings of one speaker each.

    In each round every clip is used exactly once: a speaker's clips are shuffled and cut
    at random lengths of 3 to 7. What is left at the end, fewer than 3, joins the string
    before.

    Args:
      clips: the clips.
      part: one of `ROUNDS`, which begins the name of each string.
      noise_db: how far below a string its white noise is, drawn evenly between the two.
      rng: draws it all.
    """
    strings = []
    for _ in range(ROUNDS[part]):
        for speaker in sorted({clip.speaker for clip in clips}):
            mine = [clip for clip in clips if clip.speaker == speaker]
            mine = [mine[i] for i in rng.permutation(len(mine))]
            while mine:
                length = int(rng.integers(SHORTEST, LONGEST + 1))
                if len(mine) - length < SHORTEST:
                    length = len(mine)
                taken, mine = mine[:length], mine[length:]
                strings.append(_join(taken, noise_db, rng, f"{part}-{len(strings):04d}"))
    return strings


def _join(
    clips: Sequence[Clip], noise_db: tuple[float, float], rng: np.random.Generator, name: str
) -> Utterance:
    """Join the clips of one string, with pauses and noise."""
    low, high = (ms * SAMPLE_RATE // 1000 for ms in _GAP_MS)
    pieces: list[Signal] = []
    segments, place = [], 0
    for clip in clips:
        gap = int(rng.integers(low, high + 1))
        start = place + gap
        place = start + len(clip.wave)
        segments.append(Segment(start, place, clip.digit))
        pieces += [np.zeros(gap, np.float32), clip.wave]
    pieces.append(np.zeros(int(rng.integers(low, high + 1)), np.float32))
    wave = np.concatenate(pieces)
    below = rng.uniform(*noise_db)
    level = np.sqrt(np.mean(wave**2)) * 10.0 ** (-below / 20.0)
    wave = wave + rng.normal(0.0, level, len(wave))
    text = "".join(clip.digit for clip in clips)
    return Utterance(name, clips[0].speaker, text, wave.astype(np.float32), tuple(segments))
