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
    at random lengths of 3 to 7. Fewer than 3 that are left at the end join the string before.

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
    gaps = [np.zeros(n, np.float32) for n in rng.integers(low, high + 1, size=len(clips) + 1)]
    pieces, segments, place = [gaps[0]], [], len(gaps[0])
    for clip, gap in zip(clips, gaps[1:], strict=True):
        stop = place + len(clip.wave)
        segments.append(Segment(place, stop, clip.digit))
        pieces += [clip.wave, gap]
        place = stop + len(gap)
    wave = np.concatenate(pieces)
    level = np.sqrt(np.mean(wave**2)) * 10.0 ** (-rng.uniform(*noise_db) / 20.0)
    wave = wave + rng.normal(0.0, level, len(wave))
    text = "".join(clip.digit for clip in clips)
    return Utterance(name, clips[0].speaker, text, wave.astype(np.float32), tuple(segments))
