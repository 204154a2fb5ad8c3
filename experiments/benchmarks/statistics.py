"""What is said of samples: paired ratios, their quartiles, means over rows."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """A median with its quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles.

    Example:
      >>> spread([4.0, 1.0, 2.0, 3.0, 5.0])
      Spread(median=3.0, low=2.0, high=4.0)
    """
    low, median, high = np.quantile(np.asarray(values, float), [0.25, 0.5, 0.75])
    return Spread(float(median), float(low), float(high))


def paired_ratios(ours: Sequence[float], other: Sequence[float]) -> list[float]:
    """Return ours / other, round by round.

    Raises:
      ValueError: the two are not of the same rounds.
    """
    if len(ours) != len(other):
        raise ValueError(
            f"paired_ratios: samples must be of the same rounds, got {len(ours)} and {len(other)}"
        )
    return [a / b for a, b in zip(ours, other, strict=True)]


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers.

    Example:
      >>> geometric_mean([0.5, 2.0])
      1.0
    """
    return math.exp(sum(map(math.log, values)) / len(values))
