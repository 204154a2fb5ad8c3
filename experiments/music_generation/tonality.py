"""The key of a piece, estimated, so that a model that knows one key can go on in another.

The published rolls of both corpora are moved to C: by the estimate below 180 of Bach's
229 training chorales and 620 of Nottingham's 694 training tunes are in C major or minor,
most others in F or G, the keys next to it. So a user's music is moved to C before a model
of these reads it, and what is composed is moved back.
"""

from typing import NamedTuple

import numpy as np

from experiments.music_generation.rolls import LOWEST_NOTE, NUM_KEYS, Roll, transposable, transpose

NAMES = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
# How well each semitone above the tonic was found to fit (Krumhansl and Kessler 1982).
_PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


class Key(NamedTuple):
    """A tonic and a mode."""

    tonic: int  # pitch class, 0 for C
    mode: str  # "major" or "minor"

    def __str__(self) -> str:
        return f"{NAMES[self.tonic]} {self.mode}"


def estimate_key(roll: Roll) -> Key:
    """Return the key whose profile correlates best with how long each pitch class sounds.

    Args:
      roll: `[T, 88]`. Where all twelve classes sound equally long, or none, every key is
        as good as the others: C major.
    """
    classes = (LOWEST_NOTE + np.arange(NUM_KEYS)) % 12
    heard = np.bincount(classes, weights=roll.sum(axis=0), minlength=12)
    centred = heard - heard.mean()
    best, best_fit = Key(0, "major"), 0.0
    for mode, profile in _PROFILES.items():
        weights = np.array(profile) - np.mean(profile)
        for tonic in range(12):
            fit = float(np.roll(weights, tonic) @ centred) / float(np.linalg.norm(weights))
            if fit > best_fit + 1e-9:
                best, best_fit = Key(tonic, mode), fit
    return best


def move_to_c(roll: Roll, octaves: int = 0) -> tuple[Roll, int, Key]:
    """Move a roll to C, the shorter way that keeps all its notes.

    Args:
      roll: `[T, 88]`.
      octaves: how many to go up besides.

    Returns:
      The moved roll, the semitones it was moved by, and the key it was taken to be in. A
      roll whose notes leave no room stays in its octave, or where it is.
    """
    key = estimate_key(roll)
    low, high = transposable(roll, NUM_KEYS)
    for up in dict.fromkeys((12 * octaves, 0)):
        ways = (up - key.tonic, up + (12 - key.tonic) % 12)
        fitting = [shift for shift in ways if low <= shift <= high]
        if fitting:
            shift = min(fitting, key=lambda shift: abs(shift - up))
            return transpose(roll, shift), shift, key
    return roll, 0, key
