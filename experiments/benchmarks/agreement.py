"""Whether two programs compute the same, looked at before anything is timed."""

from typing import NamedTuple

import jax
import numpy as np

from experiments.benchmarks.peers.contract import Program

# Largest difference, as a fraction of the largest number. Accelerators round the operands
# of float32 products to TF32 or bfloat16 unless told otherwise.
TOLERANCES = {("cpu", "float32"): 1e-3, ("accelerator", "float32"): 2e-2}
BFLOAT16_TOLERANCE = 0.15


class DisagreementError(Exception):
    """Say that two programs give different numbers."""


class Numbers(NamedTuple):
    """What is compared."""

    y: np.ndarray  # [T, B, H]
    dx: np.ndarray  # [T, B, I]


def tolerance(dtype: str) -> float:
    """Return how far two programs may differ on this machine, relative to the largest."""
    kind = "cpu" if jax.default_backend() == "cpu" else "accelerator"
    return TOLERANCES.get((kind, dtype), BFLOAT16_TOLERANCE)


def compute(program: Program) -> Numbers:
    """Run a program once and return its outputs and its gradient of x."""
    y = program.to_numpy(program.wait(program.forward()))
    _, dx, _ = program.wait(program.train())
    return Numbers(y, program.to_numpy(dx))


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference over the largest number expected."""
    if got.shape != expected.shape:
        raise DisagreementError(f"got shape {got.shape}, expected {expected.shape}")
    worst = float(np.abs(got - expected).max() / np.abs(expected).max())
    return worst if np.isfinite(worst) else float("inf")


def check(numbers: Numbers, expected: Numbers, allowed: float) -> dict[str, float]:
    """Return how far numbers are from those expected.

    Raises:
      DisagreementError: further than allowed.
    """
    found = {}
    for name, got, wanted in zip(Numbers._fields, numbers, expected, strict=True):
        found[name] = difference(got, wanted)
        if not found[name] <= allowed:
            raise DisagreementError(
                f"{name} differs from ours by {found[name]:.1e} of its largest number, "
                f"allowed are {allowed:.0e}"
            )
    return found
