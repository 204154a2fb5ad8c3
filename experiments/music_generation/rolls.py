"""Piano rolls: which of a piano's 88 keys sound in each frame.

A roll is uint8 `[T, 88]`, 1 where a key sounds. Key 0 is the piano's lowest, MIDI's note
21. A roll does not tell whether a note that sounds in two frames is held or struck again.
"""

import numpy as np
from numpy.typing import NDArray

Roll = NDArray[np.uint8]  # [T, NUM_KEYS]

NUM_KEYS = 88
LOWEST_NOTE = 21  # MIDI's number of key 0


def transposable(roll: Roll, most: int) -> tuple[int, int]:
    """Return the lowest shift, <= 0, and the highest with which no note is lost, in semitones.

    At most `most` either way.
    """
    used = np.flatnonzero(roll.any(axis=0))
    if len(used) == 0:
        return 0, 0
    return -min(most, int(used[0])), min(most, NUM_KEYS - 1 - int(used[-1]))


def transpose(roll: Roll, semitones: int) -> Roll:
    """Return a roll moved by semitones; what would leave the keyboard is lost."""
    moved = np.zeros_like(roll)
    low, high = max(semitones, 0), NUM_KEYS + min(semitones, 0)
    moved[:, low:high] = roll[:, low - semitones : high - semitones]
    return moved
