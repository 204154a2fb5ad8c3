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

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.music_generation.evaluate import Nll, mean_nll
from experiments.music_generation.rolls import Roll

Probabilities = NDArray[np.float64]
_SMOOTHING = 0.5


class Counts(NamedTuple):
    """What happens to each key from one frame to the next, `[88]` each."""

    on_on: NDArray[np.int64]
    on_off: NDArray[np.int64]
    off_on: NDArray[np.int64]
    off_off: NDArray[np.int64]


def count(pieces: Sequence[Roll]) -> Counts:
    """Count over all pairs of neighbouring frames of all pieces."""
    before = np.concatenate([piece[:-1] for piece in pieces]).astype(bool)
    after = np.concatenate([piece[1:] for piece in pieces]).astype(bool)
    pairs = (before & after, before & ~after, ~before & after, ~before & ~after)
    return Counts(*(pair.sum(axis=0) for pair in pairs))


def share(yes: NDArray[np.int64], no: NDArray[np.int64]) -> Probabilities:
    """Return yes / (yes + no), smoothed."""
    return (yes + _SMOOTHING) / (yes + no + 2.0 * _SMOOTHING)


def baselines(train: Sequence[Roll], pieces: Sequence[Roll]) -> dict[str, float]:
    """Return each baseline's nats a frame (the mean over all frames).

    Args:
      train: the pieces to count in.
      pieces: the split to score.
    """
    each = count(train)
    every = Counts(*(part.sum() for part in each))
    frequency = share(each.on_on + each.off_on, each.on_off + each.off_off)
    chains = {
        "note frequencies": (frequency, frequency),
        "repeat the last frame": (
            share(every.on_on, every.on_off),
            share(every.off_on, every.off_off),
        ),
        "Markov chain a note": (share(each.on_on, each.on_off), share(each.off_on, each.off_off)),
    }
    return {name: float(_chain_nll(pieces, on, off).frames) for name, (on, off) in chains.items()}


def _chain_nll(pieces: Sequence[Roll], if_on: Probabilities, if_off: Probabilities) -> Nll:
    """Score a key's probability to sound if it did and if it did not in the frame before."""

    def of_frames(before: Roll) -> Probabilities:
        return np.where(before == 1, if_on, if_off)

    return nll_of(pieces, of_frames)


def nll_of(pieces: Sequence[Roll], guess: Callable[[Roll], Probabilities]) -> Nll:
    """Return the nats a frame of guesses `[T - 1, 88]` from the frames before them."""
    nats = []
    for piece in pieces:
        p = guess(piece[:-1])
        nats.append(-np.log(np.where(piece[1:] == 1, p, 1.0 - p)).sum())
    return mean_nll(np.array(nats), [len(piece) for piece in pieces])
