"""Metrics from sums over days, so that any set of days can be put together anew.

    accuracy   (tp + tn) / n
    MCC        (tp tn - fp fn) / √((tp + fp)(tp + fn)(tn + fp)(tn + fn)), 0 where that is 0
    nats       the mean of -log p(what came), over moves up and down
    QLIKE      the mean of log σ² + r² / σ², over all days: minus twice a Gaussian log
               likelihood but for a constant; ranks forecasts of the variance right though
               r² is but a noisy sight of it (Patton 2011)

Accuracy and MCC: the more the better; nats and QLIKE: the less. All stocks of one day move
together, so that a day, and not a forecast, is what the bootstrap draws.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.stock_prediction.measure import Floats

# The columns of a table of sums.
COLUMNS = ("tp", "fp", "tn", "fn", "nats", "qlike", "asked")
METRICS = ("accuracy", "mcc", "nats", "qlike")
HIGHER_IS_BETTER = frozenset({"accuracy", "mcc"})
_LEAST_PROBABILITY = 1e-7


class Answers(NamedTuple):
    """What came, for K forecasts."""

    day: NDArray[np.integer]  # [K], 0 ... D - 1
    up: NDArray[np.bool_]  # [K]
    moved: NDArray[np.bool_]  # [K], the direction counts
    squared: Floats  # [K], r²


class Forecasts(NamedTuple):
    """What was said beforehand; None where a method says nothing of it."""

    p_up: Any = None  # floats [K]
    variance: Any = None  # floats [K]
    certain: bool = False  # p_up is 0 or 1 and no probability: nats mean nothing

    def of(self, chosen: NDArray[np.bool_]) -> "Forecasts":
        """Return those of some days."""
        parts = (part if part is None else part[chosen] for part in (self.p_up, self.variance))
        return Forecasts(*parts, certain=self.certain)


def day_sums(answers: Answers, forecasts: Forecasts, num_days: int) -> Floats:
    """Return a table `[D, len(COLUMNS)]` of sums a day, NaN where nothing was said."""
    table = np.full((num_days, len(COLUMNS)), np.nan)

    def by_day(values: NDArray) -> Floats:
        return np.bincount(answers.day, values, minlength=num_days).astype(np.float64)

    if forecasts.p_up is not None:
        p = forecasts.p_up.astype(np.float64)
        up = np.where(p == 0.5, 0.5, p > 0.5)  # one half says neither: half a hit either way
        came_up, came_down = answers.moved & answers.up, answers.moved & ~answers.up
        for i, hits in enumerate(
            (up * came_up, up * came_down, (1 - up) * came_down, (1 - up) * came_up)
        ):
            table[:, i] = by_day(hits)
        if not forecasts.certain:
            p = np.clip(np.where(answers.up, p, 1.0 - p), _LEAST_PROBABILITY, 1.0)
            table[:, 4] = by_day(np.where(answers.moved, -np.log(p), 0.0))
    if forecasts.variance is not None:
        variance = forecasts.variance.astype(np.float64)
        table[:, 5] = by_day(np.log(variance) + answers.squared / variance)
    table[:, 6] = by_day(np.ones(len(answers.day)))
    return table


def metrics_of(sums: Floats) -> Mapping[str, Floats]:
    """Return every metric of sums `[..., len(COLUMNS)]`, each `[...]`; NaN where unsaid."""
    tp, fp, tn, fn, nats, qlike, asked = np.moveaxis(sums, -1, 0)
    moved = tp + fp + tn + fn
    square = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    with np.errstate(invalid="ignore", divide="ignore"):
        mcc = np.where(square == 0, 0.0, (tp * tn - fp * fn) / np.sqrt(square))
        values = ((tp + tn) / moved, mcc, nats / moved, qlike / asked)
    return dict(zip(METRICS, values, strict=True))
