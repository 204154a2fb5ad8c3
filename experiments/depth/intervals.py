"""Figures over seeds: the mean, and the interval that holds it in 95 of 100 repetitions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.intervals import student_half

Figure = Mapping[str, Any]  # mean, half (of the interval, None of a single seed), each


def over_seeds(values: Any) -> dict[str, Any]:
    """Return the mean of `[M]`, half of Student's interval around it, and each, as JSON.

    Example:
      >>> figure = over_seeds([1.0, 2.0, 3.0])
      >>> figure["mean"], round(figure["half"], 3)
      (2.0, 2.484)
    """
    values = np.asarray(values, np.float64)
    half = None
    if len(values) > 1:
        error = values.std(ddof=1) / np.sqrt(len(values))
        half = student_half(error, len(values) - 1)
    return {"mean": float(values.mean()), "half": half, "each": values.tolist()}


def sign_of(figure: Figure) -> int:
    """Return 1 or -1 where the whole interval is on that side of zero, else 0."""
    if figure["half"] is None or abs(figure["mean"]) <= figure["half"]:
        return 0
    return 1 if figure["mean"] > 0 else -1


def difference(a: Figure, b: Figure) -> dict[str, Any]:
    """Return a - b, with the interval of two independent means (Welch)."""
    x, y = np.asarray(a["each"]), np.asarray(b["each"])
    mean = float(x.mean() - y.mean())
    if len(x) < 2 or len(y) < 2:
        return {"mean": mean, "half": None}
    parts = np.array([x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)])
    if not parts.sum():
        return {"mean": mean, "half": 0.0}
    freedom = parts.sum() ** 2 / (parts**2 / (np.array([len(x), len(y)]) - 1)).sum()
    return {"mean": mean, "half": student_half(parts.sum() ** 0.5, freedom)}


def shown(figure: Figure, digits: int = 1, scale: float = 1.0) -> str:
    """Return a figure in words: `12.3 ± 0.4`."""
    half = figure["half"]
    spread = "" if half is None else f" ± {scale * half:.{digits}f}"
    return f"{scale * figure['mean']:.{digits}f}{spread}"
