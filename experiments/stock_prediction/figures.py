"""Figures with their intervals, as a result's JSON holds them and a table shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.stock_prediction.intervals import (
    Interval,
    Resampled,
    compare,
    over_days,
    over_seeds,
)

NETWORK, ENSEMBLE = "network", "network, mean of seeds"
NOTE = "intervals are of 95 %: ± Student's t over seeds, [ ] block bootstrap over days"


def figures(found: Resampled, metrics: Sequence[str]) -> dict[str, Any]:
    """Return one method's metrics with their intervals; None where it says nothing."""
    result: dict[str, Any] = {}
    for metric in metrics:
        seeds = over_seeds(found.seeds[metric])
        if not np.isfinite(seeds.value):
            result[metric] = None
            continue
        days = over_days(seeds.value, found.draws[metric])
        result[metric] = {"value": seeds.value, "days": _ends(days)}
        if len(found.seeds[metric]) > 1:
            each = [float(value) for value in found.seeds[metric]]
            result[metric] |= {
                "seeds": _ends(seeds),
                "deviation": float(np.std(each, ddof=1)),
                "each": each,
            }
    return result


def comparison(
    found: Mapping[str, Resampled], rivals: Sequence[str], metric: str, *, higher_is_better: bool
) -> dict[str, Any]:
    """Return how the network compares with the best of several baselines.

    Which one is the best is known only afterwards: the baseline's advantage, not ours.
    """
    sign = 1.0 if higher_is_better else -1.0
    values = {name: sign * float(found[name].seeds[metric][0]) for name in rivals}
    said = [name for name in rivals if np.isfinite(values[name])]
    best = max(said, key=values.__getitem__)
    difference = compare(found[NETWORK], found[best], metric)
    return {
        "baseline": best,
        "difference": difference.days.value,
        "seeds": _ends(difference.seeds),
        "days": _ends(difference.days),
        "verdict": difference.verdict(higher_is_better=higher_is_better),
    }


def verdict(what: str, found: Mapping[str, Any]) -> str:
    """Return in one plain sentence whether the network beats the best baseline."""
    ends = found["days"]
    interval = "no interval" if ends is None else f"over days [{ends[0]:+.4f}, {ends[1]:+.4f}]"
    says = {
        "better": "the network beats the best baseline",
        "worse": "the network is worse than the best baseline",
    }.get(found["verdict"], "the network does NOT beat the best baseline")
    return f"{what}: {says}, {found['baseline']}: difference {found['difference']:+.4f}, {interval}"


def cell(figure: Mapping[str, Any] | None, *, scale: float = 1.0, digits: int = 3) -> str:
    """Return a figure with its intervals: ± over seeds, [ ] over days."""
    if figure is None:
        return "-"
    text = f"{scale * figure['value']:.{digits}f}"
    if figure.get("seeds"):
        half = (figure["seeds"][1] - figure["seeds"][0]) / 2
        text += f" ±{scale * half:.{digits}f}"
    if figure["days"]:
        low, high = (scale * end for end in figure["days"])
        text += f" [{low:.{digits}f}, {high:.{digits}f}]"
    return text


def _ends(interval: Interval) -> list[float] | None:
    """Return an interval's ends, None where it has none: JSON knows no NaN."""
    ends = [float(interval.low), float(interval.high)]
    return ends if np.isfinite(ends).all() else None
