"""Methods side by side: their figures, and how far these may be off, over seeds and over days.

Two sources of chance, two intervals, both of 95 %:

- **seeds**: the same data, trained again. Student's t over the S seeds.
- **days**: the same models, on other days of the same kind. A circular block bootstrap
  (Politis and Romano 1992): blocks of neighbouring days are drawn with replacement and put
  end to end, because volatile days come together, and the metric is computed anew. Blocks
  of ⌈D^(1/3)⌉ of D days, the rate of Hall, Horowitz and Jing 1995.

A model is said to beat a baseline only where the difference is beyond zero in both.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.intervals import LEVEL, student_half

Floats = NDArray[np.floating]

NETWORK, ENSEMBLE = "network", "network, mean of seeds"


class Interval(NamedTuple):
    """A figure and where it may lie; the ends are NaN where that cannot be told."""

    value: float
    low: float
    high: float

    def ends(self) -> list[float] | None:
        """Return both ends, None where there are none: JSON knows no NaN."""
        return [self.low, self.high] if np.isfinite([self.low, self.high]).all() else None

    def excludes_zero(self) -> bool:
        """Tell whether all of it is on one side of zero; False where it has no ends."""
        return bool(self.low > 0.0 or self.high < 0.0)


def over_seeds(values: Floats) -> Interval:
    """Return the mean of `[S]` values with Student's interval; no ends with one seed."""
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    error = values.std(ddof=1) / np.sqrt(len(values))
    half = student_half(error, len(values) - 1)
    return Interval(mean, mean - half, mean + half)


def block_length(num_days: int, at_least: int = 1) -> int:
    """Return how many neighbouring days are drawn together."""
    return max(at_least, int(np.ceil(round(num_days ** (1 / 3), 9))))


def bootstrap_weights(num_days: int, block: int, draws: int, seed: int) -> Floats:
    """Return how often each draw holds each day, `[R, D]`; a row sums to D."""
    random = np.random.default_rng((seed, num_days))
    blocks = -(-num_days // block)
    starts = random.integers(num_days, size=(draws, blocks))
    days = (starts[..., None] + np.arange(block)).reshape(draws, -1)[:, :num_days] % num_days
    weights = np.zeros((draws, num_days))
    np.add.at(weights, (np.arange(draws)[:, None], days), 1.0)
    return weights


MetricsFn = Callable[[Floats], Mapping[str, Floats]]


class Resampled(NamedTuple):
    """Every metric of one method, on the days as they were and in each draw."""

    seeds: Mapping[str, Floats]  # [S] each
    draws: Mapping[str, Floats]  # [R] each, the mean over seeds


def resample(tables: Floats, weights: Floats, metrics: MetricsFn) -> Resampled:
    """Compute metrics from sums a day `[S, D, K]`, S = 1 for a method without chance.

    The weights `[R, D]`, of `bootstrap_weights`, are the same for all that is to be compared;
    `metrics` gives those `[...]` of sums `[..., K]`.
    """
    drawn = metrics(np.einsum("rd,sdk->srk", weights, tables, optimize=True))
    means = {name: value.mean(axis=0) for name, value in drawn.items()}
    return Resampled(metrics(tables.sum(axis=1)), means)


def over_days(value: float, draws: Floats) -> Interval:
    """Return a figure with the draws' quantiles as its ends."""
    if not np.isfinite(draws).all():
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Interval(value, float(low), float(high))


def compare(
    model: Resampled, baseline: Resampled, metric: str, *, higher_is_better: bool
) -> dict[str, Any]:
    """Return how far a model is from a baseline, draw by draw on the same days, as JSON.

    Returns:
      `difference`, model less baseline; `seeds` and `days`, its intervals; and `verdict`:
      better, worse or "no difference beyond chance".
    """
    seeds = over_seeds(model.seeds[metric] - baseline.seeds[metric].mean())
    days = over_days(seeds.value, model.draws[metric] - baseline.draws[metric])
    verdict = "better" if (days.value > 0.0) == higher_is_better else "worse"
    if not (seeds.excludes_zero() and days.excludes_zero()):
        verdict = "no difference beyond chance"
    return {
        "difference": days.value,
        "seeds": seeds.ends(),
        "days": days.ends(),
        "verdict": verdict,
    }


def measure_methods(
    tables: Mapping[str, Floats],
    metrics_of: MetricsFn,
    rivals: Mapping[str, Sequence[str]],
    *,
    block: int,
    draws: int,
    seed: int,
    higher_is_better: Set[str] = frozenset(),
) -> dict[str, Any]:
    """Return figures and comparisons of one period, as JSON.

    Args:
      tables: of each method the sums a day `[S, D, K]`, S = 1 for one without chance.
      metrics_of: from sums `[..., K]` to metrics `[...]`.
      rivals: for each metric the baselines that the network is compared with.
      block: neighbouring days that the bootstrap draws together.
      draws: of the bootstrap.
      seed: of the bootstrap.
      higher_is_better: the metrics of which this is so.
    """
    num_days = tables[NETWORK].shape[1]
    weights = bootstrap_weights(num_days, block, draws, seed)
    found = {name: resample(table, weights, metrics_of) for name, table in tables.items()}
    return {
        "days": num_days,
        "block_days": block,
        "methods": {name: _figures(one, tuple(rivals)) for name, one in found.items()},
        "comparisons": {
            metric: _comparison(found, names, metric, higher_is_better=metric in higher_is_better)
            for metric, names in rivals.items()
        },
    }


def _figures(found: Resampled, metrics: Sequence[str]) -> dict[str, Any]:
    """Return one method's metrics with their intervals; None where it says nothing."""
    result: dict[str, Any] = {}
    for metric in metrics:
        seeds = over_seeds(found.seeds[metric])
        if not np.isfinite(seeds.value):
            result[metric] = None
            continue
        days = over_days(seeds.value, found.draws[metric])
        result[metric] = {"value": seeds.value, "days": days.ends()}
        if len(found.seeds[metric]) > 1:
            each = found.seeds[metric].tolist()
            result[metric] |= {
                "seeds": seeds.ends(),
                "deviation": float(np.std(each, ddof=1)),
                "each": each,
            }
    return result


def _comparison(
    found: Mapping[str, Resampled], rivals: Sequence[str], metric: str, *, higher_is_better: bool
) -> dict[str, Any]:
    """Return how the network compares with the best of several baselines.

    Which one is the best is known only afterwards: the baseline's advantage, not ours.
    """
    sign = 1.0 if higher_is_better else -1.0
    values = {name: sign * found[name].seeds[metric][0] for name in rivals}
    said = [name for name in rivals if np.isfinite(values[name])]
    best = max(said, key=values.__getitem__)
    compared = compare(found[NETWORK], found[best], metric, higher_is_better=higher_is_better)
    return {"baseline": best, **compared}
