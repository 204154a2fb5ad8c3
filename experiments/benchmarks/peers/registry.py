"""All that can stand in a column, by name."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module

from experiments.benchmarks.peers.contract import Program
from experiments.benchmarks.workload import Workload

OURS = "deeprnn_jax"
SCHEDULES = ("reference", "layerwise", "wavefront")
JAX_PEERS = ("linen", "nnx", "haiku", "equinox", "keras")
PEERS = (*JAX_PEERS, "torch")


def schedule_entry(schedule: str) -> str:
    """Return the name of our entry with a schedule of that name."""
    return f"{OURS}:{schedule}"


def make_builders(
    peers: Sequence[str], schedules: bool = False, torch_threads: int | None = None
) -> Mapping[str, Callable[[Workload], Program]]:
    """Return the functions that make each entry's program, ours first.

    Args:
      peers: names of PEERS.
      schedules: whether each of our schedules is an entry of its own, too.
      torch_threads: that torch may use; None: as many as there are cores.
    """
    builders = {OURS: partial(_build, "ours")}
    if schedules:
        for schedule in SCHEDULES:
            builders[schedule_entry(schedule)] = partial(_build, "ours", schedule=schedule)
    for peer in peers:
        options = {"threads": torch_threads} if peer == "torch" else {}
        builders[peer] = partial(_build, peer, **options)
    return builders


def _build(module: str, workload: Workload, **options: object) -> Program:
    # Only now: no library is loaded before a row needs it.
    return import_module(f"experiments.benchmarks.peers.{module}").build(workload, **options)
