"""Many series side by side, padded to one length.

The series are aligned at their first day, not by the calendar: each row of the network is
one stock's own history from its start, and the dates travel along.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.stock_prediction.daily.features import Days
from experiments.stock_prediction.daily.splits import Period
from experiments.stock_prediction.measure import Floats

Flags = NDArray[np.bool_]

_CLIP = 5.0  # deviations: a crash is a crash at five


class Moves(NamedTuple):
    """What counts as a move up or down, in plain returns p_t / p_{t-1} - 1.

    A day that is neither is not asked for its direction, in training or test; its volatility
    counts all the same.
    """

    above: float  # up: more than this
    below: float  # down: this or less

    def up(self, log_returns: Floats) -> Flags:
        """Tell which returns are up."""
        return np.expm1(log_returns) > self.above

    def down(self, log_returns: Floats) -> Flags:
        """Tell which returns are down; none is where the price has not moved at all."""
        plain = np.expm1(log_returns)
        return (plain <= self.below) & (plain < 0.0)


ANY_MOVE = Moves(0.0, 0.0)
ACL18_MOVES = Moves(0.0055, -0.005)


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

    @property
    def asked(self) -> Flags:
        """Tell which days have an answer, `[T, N]`."""
        return ~np.isnat(self.next_dates)


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
    next_returns = padded("next_returns", np.nan)  # NaN is neither up nor down, whatever `moves`
    up = moves.up(next_returns)
    return Panel(
        **{name: padded(name, fill) for name, fill in fills.items()},
        lengths=lengths,
        next_dates=padded("next_dates", np.datetime64("NaT", "D")),
        next_returns=np.nan_to_num(next_returns),
        up=up,
        moved=up | moves.down(next_returns),
    )


def permuted(panel: Panel, seed: int) -> Panel:
    """Return a panel whose answers are dealt out anew over each series' own days."""
    order = np.tile(np.arange(len(panel.up))[:, None], (1, panel.up.shape[1]))
    random = np.random.default_rng((seed, len(panel.up)))
    for n, asked in enumerate(panel.asked.T):
        days = np.flatnonzero(asked)
        order[days, n] = random.permutation(days)
    dealt = {
        name: np.take_along_axis(getattr(panel, name), order, axis=0)
        for name in ("next_returns", "up", "moved")
    }
    return panel._replace(**dealt)


class Scaling(NamedTuple):
    """Mean and deviation of each feature over training days."""

    mean: Floats  # [I]
    deviation: Floats  # [I]

    def __call__(self, features: Floats) -> NDArray[np.float32]:
        """Return features `[..., I]` in deviations from the mean, cut at `_CLIP`."""
        scaled = (features - self.mean) / self.deviation
        return np.clip(scaled, -_CLIP, _CLIP).astype(np.float32)


def fit_scaling(panel: Panel, train: Period) -> Scaling:
    """Return the features' mean and deviation over the training days of all series."""
    rows = panel.features[train.holds(panel.next_dates)]
    return Scaling(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6))


def scaled(panel: Panel, scalings: Sequence[Scaling]) -> NDArray[np.float32]:
    """Return the features `[F, T, N, I]` as each fold's models read them."""
    return np.stack([scaling(panel.features) for scaling in scalings])
