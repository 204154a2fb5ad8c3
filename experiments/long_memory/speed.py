"""How long the gradient of one sequence takes, by cell and by its length.

Command:   python -m experiments.long_memory.speed [--cells NAME ...] [--lengths T ...]
Expected:  experiments/results/long_memory/speed.json, which `table` reads
Hardware:  any; nothing else should run on it

The network is that of parity: two residual blocks, 16,000 parameters. It is the gradient of a loss
of all steps of one sequence, without an optimizer's step. Milliseconds are the median of
interleaved rounds, of the fastest of the schedules that the cell can be run by. Cells that are
there already are measured again.
"""

import dataclasses
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.benchmarks.machine import describe_machine
from experiments.benchmarks.timing import interleave
from experiments.common import sweep
from experiments.common.errors import InputError
from experiments.common.records import read_json
from experiments.long_memory.cells import CELLS
from experiments.long_memory.model import build
from experiments.long_memory.presets import PRESETS
from experiments.long_memory.table import MS, RESULTS, SPEED, SPEED_LENGTHS

FACTS = {"num_symbols": 2, "num_answers": 2, "num_features": None}


@dataclasses.dataclass(frozen=True)
class Timing:
    """Time the gradient of each cell at each length."""

    cells: tuple[str, ...] = tuple(CELLS)
    """Names of `cells.CELLS`."""
    lengths: tuple[int, ...] = SPEED_LENGTHS
    """Steps of the sequence."""
    rounds: int = 5
    """How often each is measured."""


def gradient(cell: str, length: int, schedule: str) -> Callable[[], Any]:
    """Return what computes the gradient of one sequence."""
    (base,) = PRESETS["parity"].configs
    config = dataclasses.replace(base, cell=cell, length=length, test_lengths=(), schedule=schedule)
    model = build(config, FACTS)
    x = jax.random.bernoulli(jax.random.key(0), shape=(length, 1)).astype(int)
    answers = jnp.cumsum(x, axis=0) % 2

    def loss(params: Any) -> jax.Array:
        outputs = model.apply(params, x, length)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, answers).mean()

    run = jax.jit(jax.grad(loss))
    params = model.init(jax.random.key(1))
    return lambda: jax.block_until_ready(run(params))


def measure(timing: Timing, length: int) -> dict[str, float]:
    """Return the milliseconds of each cell."""
    ways = {
        (cell, schedule): gradient(cell, length, schedule)
        for cell in timing.cells
        for schedule in ("auto", *(["parallel"] if CELLS[cell].make(8, 8).state_map else []))
    }
    samples = interleave({" ".join(way): call for way, call in ways.items()}, timing.rounds)
    if samples.errors:
        raise InputError(f"speed: {samples.errors}")
    found: dict[str, float] = {}
    for cell, schedule in ways:
        ms = round(1e3 * statistics.median(samples.seconds[f"{cell} {schedule}"]), 3)
        found[cell] = min(ms, found.get(cell, ms))
    return found


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with sweep.command_line(Timing, "long_memory.speed", arguments) as timing:
        path = RESULTS / SPEED
        found: dict[str, Any] = read_json(path) if path.is_file() else {MS: {}}
        for length in timing.lengths:
            for cell, ms in measure(timing, length).items():
                found[MS].setdefault(cell, {})[str(length)] = ms
                print(f"{length:7,} steps   {cell:20} {ms:10.1f} ms", flush=True)
        found["machine"] = describe_machine()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
