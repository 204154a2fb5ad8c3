"""What a sceptic would ask for first: figures without a network.

Each baseline gives every key a probability from the frame before at most, and is scored
as a network is: nats a frame over frames 2 to T, in float64.

- `note frequencies`: how often each key sounds in the training split, whatever came
  before.
- `repeat the last frame`: two numbers for all keys, the shares of sounding keys that go
  on and of silent keys that begin.
- `Markov chain a note`: these two numbers for each key.

Shares are of the training split's frames, with half a count added to either outcome, so
that nothing has probability 0.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.music_generation.rolls import Roll

_SMOOTHING = 0.5


def count(pieces: Sequence[Roll]) -> NDArray[np.int64]:
    """Count what happens to each key from one frame of a piece to the next.

    Returns:
      `[2, 2, 88]`: `[i, j, k]` is how often key k was silent (i = 0) or sounded (i = 1) in
      a frame and was silent (j = 0) or sounded (j = 1) in the next.
    """
    before = np.concatenate([piece[:-1] for piece in pieces])
    after = np.concatenate([piece[1:] for piece in pieces])
    return np.array([[((before == i) & (after == j)).sum(axis=0) for j in (0, 1)] for i in (0, 1)])


def baselines(train: Sequence[Roll], pieces: Sequence[Roll]) -> dict[str, float]:
    """Return each baseline's nats a frame (the mean over all frames).

    Args:
      train: the pieces to count in.
      pieces: the split to score.
    """
    each, scored = count(train), count(pieces)
    counts = {
        "note frequencies": each.sum(axis=0, keepdims=True),
        "repeat the last frame": each.sum(axis=-1, keepdims=True),
        "Markov chain a note": each,
    }
    frames = sum(len(piece) - 1 for piece in pieces)
    found = {}
    for name, of in counts.items():
        shares = (of + _SMOOTHING) / (of + _SMOOTHING).sum(axis=1, keepdims=True)
        found[name] = float(-(scored * np.log(shares)).sum() / frames)
    return found
