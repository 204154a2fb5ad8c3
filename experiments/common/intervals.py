"""Figures over a few seeds: mean, standard deviation, and half of a 95 % interval."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from scipy import stats

LEVEL = 0.95

Figure = Mapping[str, Any]  # mean; deviation and half, None of a single seed; each


def student_half(error: float, freedom: float) -> float:
    """Return half of Student's interval of a mean, from its standard error and freedom."""
    return float(stats.t.ppf(0.5 + LEVEL / 2, freedom) * error)


def over_seeds(values: Any) -> dict[str, Any]:
    """Return a figure `[M]` as JSON.

    Args:
      values: one a seed.

    Returns:
      `mean`; `deviation`, the standard deviation; `half`, half of Student's interval of the mean;
      `each`. Of a single seed there is no deviation and no interval: None.

    Example:
      >>> figure = over_seeds([1.0, 2.0, 3.0])
      >>> figure["mean"], figure["deviation"], round(figure["half"], 3)
      (2.0, 1.0, 2.484)
    """
    values = np.asarray(values, np.float64)
    deviation = half = None
    if len(values) > 1:
        deviation = float(values.std(ddof=1))
        half = student_half(deviation / len(values) ** 0.5, len(values) - 1)
    mean = float(values.mean())
    return {"mean": mean, "deviation": deviation, "half": half, "each": values.tolist()}


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


def shown(
    figure: Figure,
    digits: int = 1,
    scale: float = 1.0,
    spread: Literal["half", "deviation"] = "half",
    notation: Literal["f", "e"] = "f",
) -> str:
    """Return a figure in words, `12.3 ± 0.4`; of a single seed without the ±.

    Args:
      figure: as of `over_seeds`.
      digits: behind the point.
      scale: 100 for percent.
      spread: what stands behind the ±.
      notation: e: with an exponent, and the spread to one digit.
    """
    words = f"{scale * figure['mean']:.{digits}{notation}}"
    if figure[spread] is None:
        return words
    return f"{words} ± {scale * figure[spread]:.{0 if notation == 'e' else digits}{notation}}"


def counted(each: Any) -> str:
    """Return how many of all are true.

    Example:
      >>> counted([True, False, True])
      '2/3'
    """
    each = np.asarray(each, bool)
    return f"{each.sum()}/{each.size}"
