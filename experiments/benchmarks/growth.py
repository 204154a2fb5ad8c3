"""Sweeps along one axis each: time, layers, width, batch."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.benchmarks.grid import Row

AXES = {"T": "num_steps", "L": "num_layers", "H": "hidden_size", "B": "batch_size"}

_SWEEPS: dict[str, tuple[Row, tuple[int, ...], tuple[int, ...]]] = {
    # base, its sizes, and those of a quick run
    "T": (Row("lstm", 1, 4, 1, 32, 32), (1024, 4096, 16384, 65536), (256, 1024)),
    "L": (Row("lstm", 1, 8, 128, 64, 64), (1, 2, 4, 8, 16), (1, 2)),
    "H": (Row("lstm", 2, 16, 64, 1, 1), (32, 64, 128, 256, 512), (16, 64)),
    "B": (Row("lstm", 2, 1, 64, 64, 64), (1, 4, 16, 64, 256), (2, 8)),
}
COMPILED = ("T", "L")  # along which the compile time must not grow
PEERS = ("linen", "torch")  # whose growth is looked at
WAYS = ("reference",)


def sweep(axis: str, quick: bool = False) -> tuple[Row, ...]:
    """Return the rows along an axis of AXES, small to large."""
    base, sizes, quick_sizes = _SWEEPS[axis]
    fields = ["hidden_size", "input_size"] if axis == "H" else [AXES[axis]]
    return tuple(
        base._replace(**dict.fromkeys(fields, size)) for size in (quick_sizes if quick else sizes)
    )


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return p of the best fit of values ~ sizes^p, least squares of the logarithms.

    Example:
      >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
      2.0
    """
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope)


def curves(
    rows: Mapping[Row, Mapping[str, float]], axis: str
) -> dict[str, list[tuple[int, float]]]:
    """Return each entry's (size, value) points along an axis.

    Args:
      rows: for each row each entry's value.
      axis: of AXES.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for row, values in rows.items():
        for entry, value in values.items():
            found.setdefault(entry, []).append((getattr(row, AXES[axis]), value))
    return {entry: sorted(points) for entry, points in found.items()}
