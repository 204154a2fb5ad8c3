"""Errors of hourly forecasts, in whatever unit the values have."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from experiments.stock_prediction.measure import Floats

METRICS = ("mse", "mae")


def mean_squared_error(forecast: Floats, truth: Floats, axis: tuple[int, ...] | None = None):
    """Return the mean of squared differences, in float64."""
    return np.mean((np.asarray(forecast, np.float64) - truth) ** 2, axis=axis)


def day_sums(forecast: Floats, y: Floats, day: NDArray[np.integer]) -> Floats:
    """Return squared errors, absolute errors and their number, summed by day: `[D, 3]`.

    Forecasts and what came, y, are `[B, horizon, V]`; their days `[B]`, 0 ... D - 1.
    """
    error = np.asarray(forecast, np.float64) - y
    sums = (each.sum(axis=(1, 2)) for each in (np.square(error), np.abs(error)))
    columns = (*sums, np.full(len(y), error[0].size))
    return np.stack([np.bincount(day, column) for column in columns], axis=-1).astype(np.float64)


def metrics_of(sums: Floats) -> Mapping[str, Floats]:
    """Return MSE and MAE of sums `[..., 3]`."""
    return {"mse": sums[..., 0] / sums[..., 2], "mae": sums[..., 1] / sums[..., 2]}
