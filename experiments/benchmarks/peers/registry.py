"""All that can stand in a column, by name.

An entry is a library of PEERS, or ours: `deeprnn_jax`, run as it is by default, and
`deeprnn_jax:WAY`, run in another way of WAYS. In the measure "scan" ours is a
code by our scan, beside the same by `lax.scan`.
"""

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

from deeprnn_jax.schedules import SCHEDULES
from experiments.benchmarks.peers.contract import BuildFn

OURS = "deeprnn_jax"
LAX_SCAN = "lax.scan"
JAX_PEERS = ("linen", "nnx", "haiku", "equinox", "keras")
PEERS = (*JAX_PEERS, "torch")

WAYS: dict[str, dict[str, Any]] = {
    **{schedule: {"schedule": schedule} for schedule in SCHEDULES},
    "checkpoint": {"checkpoint_every": "sqrt"},
}


def ours(way: str) -> str:
    """Return the name of our entry that is run in a way of WAYS."""
    return f"{OURS}:{way}"


def entries(peers: Sequence[str], ways: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of entries, ours first: all others are compared with it."""
    return (OURS, *map(ours, ways), *peers)


def builder(entry: str, torch_threads: int | None = None) -> BuildFn:
    """Return the function that makes an entry's program.

    Args:
      entry: its name.
      torch_threads: that torch may use; None: one or all, the faster.
    """
    if entry == OURS:
        return partial(_build, "ours")
    if entry.startswith(ours("")):
        return partial(_build, "ours", **WAYS[entry.removeprefix(ours(""))])
    if entry == "torch":
        return partial(_build, "torch", threads=torch_threads)
    return partial(_build, entry)


def _build(module: str, workload: Any, **options: Any) -> Any:
    # Only now: no library is loaded before a row needs it.
    return import_module(f"experiments.benchmarks.peers.run_{module}").build(workload, **options)
