"""Figures over a few seeds: mean, deviation, and the half of a 95 % interval."""

from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95


def student_half(error: float, freedom: float) -> float:
    """Return half of Student's interval of a mean, from its standard error and freedom."""
    return float(stats.t.ppf(0.5 + LEVEL / 2, freedom) * error)


def mean_and_deviation(values: Any) -> dict[str, Any]:
    """Return a figure `[M]` as JSON: its mean, its deviation (of two or more) and each."""
    values = np.asarray(values, np.float64)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"value": float(values.mean()), "deviation": deviation, "each": values.tolist()}
