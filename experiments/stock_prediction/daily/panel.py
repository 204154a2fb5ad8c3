"""Many series side by side, padded to one length, and the chunks of a training step.

The series are aligned at their first day, not by the calendar: each row of the network is
one stock's own history from its start, and the dates travel along.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.stock_prediction.daily.features import Days
from experiments.stock_prediction.daily.prices import Moves
from experiments.stock_prediction.daily.splits import Fold, Period
from experiments.stock_prediction.measure import Floats

Flags = NDArray[np.bool_]

_CLIP = 5.0  # deviations: a crash is a crash at five
# Ten deviations. One day of fifty, when a price that stood still is first traded, would
# otherwise be the whole gradient. In training alone.
_LARGEST_RATIO = 100.0


class Panel(NamedTuple):
    """All days `[T, N]` of N series; past a series' end the flags are False."""

    features: Floats  # [T, N, I]
    lengths: NDArray[np.int32]  # [N]
    next_dates: NDArray[np.datetime64]  # [T, N], the days asked about, NaT where none
    next_returns: Floats  # [T, N], 0 where none
    variance: Floats  # [T, N], EWMA
    history: Floats  # [T, N], the mean of all r² so far
    mean_squares: Floats  # [T, N, 3]
    lags: Floats  # [T, N, `NUM_LAGS`]
    up: Flags  # [T, N], the next day is up
    moved: Flags  # [T, N], it is up or down


class Scaling(NamedTuple):
    """Mean and deviation of each feature over training days."""

    mean: Floats  # [I]
    deviation: Floats  # [I]

    def __call__(self, features: Floats) -> NDArray[np.float32]:
        """Return features `[..., I]` in deviations from the mean, cut at `_CLIP`."""
        scaled = (features - self.mean) / self.deviation
        return np.clip(scaled, -_CLIP, _CLIP).astype(np.float32)


class Batch(NamedTuple):
    """What one step of all M models reads: L days of B series each."""

    x: NDArray[np.float32]  # [M, L, B, I]
    up: NDArray[np.float32]  # [M, L, B], 1 where the next day is up
    moved: NDArray[np.float32]  # [M, L, B], 1 where its direction counts
    ratio: NDArray[np.float32]  # [M, L, B], r²_{t+1} / v_t
    asked: NDArray[np.float32]  # [M, L, B], 1 where its volatility counts


def make_panel(series: Sequence[Days], moves: Moves) -> Panel:
    """Return series side by side, padded at the end."""
    lengths = np.array([len(days.dates) for days in series], np.int32)

    def padded(name: str, fill: object) -> NDArray:
        columns = [getattr(days, name) for days in series]
        out = np.full((lengths.max(), len(series), *columns[0].shape[1:]), fill, columns[0].dtype)
        for n, column in enumerate(columns):
            out[: len(column), n] = column
        return out

    fills = {"features": 0.0, "variance": 1.0, "history": 1.0, "mean_squares": 1.0, "lags": 0.0}
    next_returns = np.nan_to_num(padded("next_returns", 0.0))
    next_dates = padded("next_dates", np.datetime64("NaT", "D"))
    asked = ~np.isnat(next_dates)
    up = moves.up(next_returns) & asked
    return Panel(
        **{name: padded(name, fill) for name, fill in fills.items()},
        lengths=lengths,
        next_dates=next_dates,
        next_returns=next_returns,
        up=up,
        moved=up | (moves.down(next_returns) & asked),
    )


def fit_scaling(panel: Panel, train: Period) -> Scaling:
    """Return the features' mean and deviation over the training days of all series."""
    rows = panel.features[train.holds(panel.next_dates)]
    return Scaling(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6))


def scaled(panel: Panel, scalings: Sequence[Scaling]) -> NDArray[np.float32]:
    """Return the features `[F, T, N, I]` as each fold's models read them."""
    return np.stack([scaling(panel.features) for scaling in scalings])


def permuted(panel: Panel, seed: int) -> Panel:
    """Return a panel whose answers are dealt out anew over each series' own days."""
    order = np.tile(np.arange(len(panel.up))[:, None], (1, panel.up.shape[1]))
    random = np.random.default_rng((seed, len(panel.up)))
    for n in range(panel.up.shape[1]):
        asked = np.flatnonzero(~np.isnat(panel.next_dates[:, n]))
        order[asked, n] = random.permutation(asked)
    dealt = {
        name: np.take_along_axis(getattr(panel, name), order, axis=0)
        for name in ("next_returns", "up", "moved")
    }
    return panel._replace(**dealt)


class Chunks(NamedTuple):
    """The training days of all folds, to draw chunks of."""

    panel: Panel
    x: NDArray[np.float32]  # [F, T, N, I], scaled by each fold's training days
    asked: Flags  # [F, T, N], whose answers fall into the fold's training days
    places: tuple[NDArray[np.int64], ...]  # of each fold: (first day, series) [P, 2]
    length: int  # L
    burn_in: int


def make_chunks(
    panel: Panel, folds: Sequence[Fold], scalings: Sequence[Scaling], length: int, burn_in: int
) -> Chunks:
    """Return all chunks of `length` days that end within a fold's training days.

    A chunk may begin up to `burn_in` days before the training days.

    Raises:
      InputError: a fold has no such chunk.
    """
    asked = np.stack([fold.train.holds(panel.next_dates) for fold in folds])
    places = []
    for i, fold in enumerate(folds):
        starts = []
        for n in range(asked.shape[2]):
            days = np.flatnonzero(asked[i, :, n])
            if len(days):
                first = np.arange(max(0, days[0] - burn_in), days[-1] - length + 2)
                starts.append(np.stack([first, np.full(len(first), n)], axis=-1))
        found = np.concatenate(starts) if starts else np.zeros((0, 2), np.int64)
        if not len(found):
            raise InputError(
                f"make_chunks: no series has chunk_length={length} days within {fold.train}, "
                "the training days; lower it, num_folds, test_days or valid_days, or give "
                "longer series"
            )
        places.append(found)
    return Chunks(panel, scaled(panel, scalings), asked, tuple(places), length, burn_in)


def batch_at(chunks: Chunks, step: int, num_seeds: int, batch_size: int, seed: int) -> Batch:
    """Return what step `step`, counted from 0, reads.

    Model m is seed `m % num_seeds` of fold `m // num_seeds`; each draws chunks of its own,
    all starts alike, with replacement.
    """
    folds, t, n = [], [], []
    for fold, places in enumerate(chunks.places):
        for i in range(num_seeds):
            random = np.random.default_rng((seed + i, fold, step))
            first, series = places[random.integers(len(places), size=batch_size)].T
            folds.append(np.full((chunks.length, batch_size), fold))
            t.append(first[None, :] + np.arange(chunks.length)[:, None])
            n.append(np.broadcast_to(series, (chunks.length, batch_size)))
    f, t, n = np.stack(folds), np.stack(t), np.stack(n)  # [M, L, B]
    panel = chunks.panel
    asked = chunks.asked[f, t, n] & (np.arange(chunks.length) >= chunks.burn_in)[:, None]
    ratio = np.minimum(panel.next_returns[t, n] ** 2 / panel.variance[t, n], _LARGEST_RATIO)
    return Batch(
        x=chunks.x[f, t, n],
        up=panel.up[t, n].astype(np.float32),
        moved=(panel.moved[t, n] & asked).astype(np.float32),
        ratio=ratio.astype(np.float32),
        asked=asked.astype(np.float32),
    )
