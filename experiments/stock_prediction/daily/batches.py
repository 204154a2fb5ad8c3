"""Chunks of the training days, and those that a step reads."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily.panel import Flags, Panel, Scaling, scaled
from experiments.stock_prediction.daily.splits import Fold

# Ten deviations. One day of fifty, when a price that stood still is first traded, would
# otherwise be the whole gradient. In training alone.
_LARGEST_RATIO = 100.0


class Chunks(NamedTuple):
    """The training days of all folds, to draw chunks of."""

    x: NDArray[np.float32]  # [F, T, N, I], scaled by each fold's training days
    asked: Flags  # [F, T, N], whose answers fall into the fold's training days
    places: Sequence[NDArray[np.int64]]  # of each fold: (first day, series) [P, 2]


def make_chunks(
    panel: Panel, folds: Sequence[Fold], scalings: Sequence[Scaling], config: Config
) -> Chunks:
    """Return all chunks of `chunk_length` days that end within a fold's training days.

    A chunk may begin up to `burn_in` days before the training days.

    Raises:
      InputError: a fold has no such chunk.
    """
    asked = np.stack([fold.train.holds(panel.next_dates) for fold in folds])
    places = []
    for of_fold, fold in zip(asked, folds, strict=True):
        starts = []
        for n in range(of_fold.shape[1]):
            if len(days := np.flatnonzero(of_fold[:, n])):
                begin = max(0, days[0] - config.burn_in)
                first = np.arange(begin, days[-1] - config.chunk_length + 2)
                starts.append(np.stack([first, np.full(len(first), n)], axis=-1))
        if not sum(map(len, starts)):
            raise InputError(
                f"make_chunks: no series has chunk_length={config.chunk_length} days within "
                f"{fold.train}, the training days; lower it, num_folds, test_days or valid_days, "
                "or give longer series"
            )
        places.append(np.concatenate(starts))
    return Chunks(scaled(panel, scalings), asked, places)


class Batch(NamedTuple):
    """What one step of all M models reads: L days of B series each."""

    x: NDArray[np.float32]  # [M, L, B, I]
    up: NDArray[np.float32]  # [M, L, B], 1 where the next day is up
    moved: NDArray[np.float32]  # [M, L, B], 1 where its direction counts
    ratio: NDArray[np.float32]  # [M, L, B], r²_{t+1} / v_t
    asked: NDArray[np.float32]  # [M, L, B], 1 where its volatility counts


def batch_at(panel: Panel, chunks: Chunks, step: int, config: Config) -> Batch:
    """Return what step `step`, counted from 0, reads.

    Each of the M models draws chunks of its own, all starts alike, with replacement.
    """
    length = np.arange(config.chunk_length)[:, None]
    drawn = []
    for fold, places in enumerate(chunks.places):
        for i in range(config.num_seeds):
            random = np.random.default_rng((config.seed + i, fold, step))
            first, series = places[random.integers(len(places), size=config.batch_size)].T
            drawn.append(np.broadcast_arrays(fold, first + length, series))
    f, t, n = map(np.stack, zip(*drawn, strict=True))  # [M, L, B]
    asked = chunks.asked[f, t, n] & (length >= config.burn_in)
    ratio = np.minimum(panel.next_returns[t, n] ** 2 / panel.variance[t, n], _LARGEST_RATIO)
    return Batch(
        x=chunks.x[f, t, n],
        up=panel.up[t, n].astype(np.float32),
        moved=(panel.moved[t, n] & asked).astype(np.float32),
        ratio=ratio.astype(np.float32),
        asked=asked.astype(np.float32),
    )
