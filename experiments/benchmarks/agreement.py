"""Whether two programs compute the same, looked at before anything is timed."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from experiments.benchmarks.peers.contract import Program

Numbers = Mapping[str, np.ndarray]

# Largest difference, as a fraction of the largest number. Accelerators round the operands
# of float32 products to TF32 or bfloat16 unless told otherwise.
TOLERANCES = {("cpu", "float32"): 1e-3, ("accelerator", "float32"): 2e-2}
BFLOAT16_TOLERANCE = 0.15

STREAMED_STEPS = 4


class DisagreementError(Exception):
    """Say that two programs give different numbers."""


def tolerance(dtype: str) -> float:
    """Return how far two programs may differ on this machine, relative to the largest."""
    kind = "cpu" if jax.default_backend() == "cpu" else "accelerator"
    return TOLERANCES.get((kind, dtype), BFLOAT16_TOLERANCE)


def train_numbers(program: Program) -> Numbers:
    """Run the train step and return the loss and the gradient of x `[T, B, I]`."""
    loss, dx, _ = program.wait(program.train())
    return {"loss": program.to_numpy(loss), "dx": _time_major(program, dx)}


def sequence_numbers(program: Program) -> Numbers:
    """Run both passes and return also y `[T, B, H]`."""
    y = _time_major(program, program.wait(program.forward()))
    return {"y": y, **train_numbers(program)}


def gradient_numbers(program: Program) -> Numbers:
    """Run what `lower` compiles, and return all that it gives, and the loss without it."""
    assert program.lower is not None
    found = program.lower().compile()(*program.train_arguments)
    leaves = jax.tree_util.tree_leaves_with_path({"gradient": found, "loss": program.forward()})
    return {jax.tree_util.keystr(path): program.to_numpy(leaf) for path, leaf in leaves}


def stream_numbers(program: Program) -> Numbers:
    """Run a few single steps and return their outputs `[steps, B, H]`."""
    assert program.make_stream is not None
    stream = program.make_stream()
    state, outputs = stream.state, []
    for x_t in stream.inputs[:STREAMED_STEPS]:
        state, y_t = stream.step(state, x_t)
        outputs.append(program.to_numpy(y_t))
    return {"y": np.stack(outputs)}


NUMBERS: Mapping[str, Callable[[Program], Numbers]] = {
    "sequence": sequence_numbers,
    "train": train_numbers,
    "scan": gradient_numbers,
    "stream": stream_numbers,
}


def _time_major(program: Program, array: object) -> np.ndarray:
    values = program.to_numpy(array)
    return np.swapaxes(values, 0, 1) if program.batch_major else values


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference over the largest number expected.

    Raises:
      DisagreementError: the shapes differ.
    """
    if got.shape != expected.shape:
        raise DisagreementError(f"got shape {got.shape}, expected {expected.shape}")
    worst = float(np.abs(got - expected).max() / np.abs(expected).max())
    return worst if np.isfinite(worst) else float("inf")


def check(numbers: Numbers, expected: Numbers, allowed: float) -> dict[str, float]:
    """Return how far numbers are from those expected.

    Raises:
      DisagreementError: further than allowed, or not finite.
    """
    found = {}
    for name, wanted in expected.items():
        found[name] = difference(numbers[name], wanted)
        if not found[name] <= allowed:
            raise DisagreementError(
                f"{name} differs from ours by {found[name]:.1e} of its largest number, "
                f"allowed are {allowed:.0e}"
            )
    return found
