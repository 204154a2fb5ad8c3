"""Forecasts of hourly windows without a network: copies, and one linear map.

- persistence: the last hour again, and again;
- seasonal: the last 24 hours again, and again;
- linear: each variable's next hours as one linear map of its last, less its last value,
  the same map for all variables (NLinear, Zeng et al. 2023), by ridge regression; its
  penalty is chosen on the validation months.
"""

from typing import NamedTuple

import numpy as np

from experiments.stock_prediction.config import HOURS_A_DAY
from experiments.stock_prediction.hourly.data import window_starts, windows_at
from experiments.stock_prediction.hourly.metrics import mean_squared_error
from experiments.stock_prediction.measure import Floats

PERSISTENCE, SEASONAL, LINEAR = "persistence", "seasonal (24 h)", "linear (ridge)"
BASELINES = (PERSISTENCE, SEASONAL, LINEAR)
PENALTIES = (1.0, 100.0, 1e3, 3e3, 1e4, 3e4, 1e5)
_AT_ONCE = 512  # windows


def persistence(x: Floats, horizon: int) -> Floats:
    """Return the last of `[B, T, V]`, `[B, horizon, V]`."""
    return np.repeat(x[:, -1:], horizon, axis=1)


def seasonal(x: Floats, horizon: int) -> Floats:
    """Return the last day of `[B, T, V]`, T >= 24, repeated: `[B, horizon, V]`."""
    return np.tile(x[:, -HOURS_A_DAY:], (1, -(-horizon // HOURS_A_DAY), 1))[:, :horizon]


class Linear(NamedTuple):
    """A linear map from what is read to what follows, of each variable by itself."""

    weights: Floats  # [input_length + 1, horizon], the last row for a constant
    penalty: float

    def __call__(self, x: Floats) -> Floats:
        """Return forecasts `[B, horizon, V]` of `[B, T, V]`."""
        last = x[:, -1:]
        out = np.einsum("btv,th->bhv", x - last, self.weights[:-1], optimize=True)
        return out + self.weights[-1][:, None] + last


def fit_linear(values: Floats, input_length: int, horizon: int) -> Linear:
    """Fit on the training months of standardised `[N, V]`, and choose on the validation's."""
    gram, cross = _moments(values, input_length, horizon)
    starts = window_starts("valid", input_length, horizon, len(values))
    x, y = windows_at(values, starts, input_length, horizon)
    penalised = np.diag([1.0] * input_length + [0.0])  # the constant is free
    maps = [Linear(np.linalg.solve(gram + p * penalised, cross), p) for p in PENALTIES]
    return min(maps, key=lambda linear: mean_squared_error(linear(x), y))


def _moments(values: Floats, input_length: int, horizon: int) -> tuple[Floats, Floats]:
    """Return X'X and X'Y over all training windows and variables."""
    gram = np.zeros((input_length + 1, input_length + 1))
    cross = np.zeros((input_length + 1, horizon))
    starts = window_starts("train", input_length, horizon, len(values))
    for i in range(0, len(starts), _AT_ONCE):
        x, y = windows_at(values, starts[i : i + _AT_ONCE], input_length, horizon)
        last = x[:, -1:]
        rows = (x - last).transpose(0, 2, 1).reshape(-1, input_length)
        rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
        gram += rows.T @ rows
        cross += rows.T @ (y - last).transpose(0, 2, 1).reshape(-1, horizon)
    return gram, cross
