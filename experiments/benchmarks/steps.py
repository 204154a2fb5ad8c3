"""Measures in seconds a call: forward pass, train step, one streaming step."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from experiments.benchmarks.ceiling import make_product
from experiments.benchmarks.grid import Row
from experiments.benchmarks.peers.contract import Program
from experiments.benchmarks.timing import Samples, interleave

CEILING = "product ceiling"

Timing = dict[str, Any]  # as results.json holds it


def time_sequences(
    programs: Mapping[str, Program], measure: str, row: Row, rounds: int, dtype: str
) -> Timing:
    """Time whole sequences, with the product that bounds them in the same rounds.

    Args:
      programs: by entry.
      measure: "train" or "forward".
      row: the row.
      rounds: samples of each.
      dtype: of the products.
    """
    product, product_flop = make_product(dtype)
    samples = interleave(_pass_calls(programs, measure) | {CEILING: product}, rounds)
    ceiling = samples.seconds.pop(CEILING, [])
    return _timing(samples) | {
        "flop": row.train_flop if measure == "train" else row.forward_flop,
        "flop_per_second": [product_flop / seconds for seconds in ceiling],
    }


def time_passes(programs: Mapping[str, Program], measure: str, rounds: int) -> Timing:
    """Time "train" or "forward", without what bounds them."""
    return _timing(interleave(_pass_calls(programs, measure), rounds))


def time_stream(programs: Mapping[str, Program], rounds: int) -> Timing:
    """Time single steps: each waits for its output, and the next one reads its state."""
    calls = {entry: _stream_call(program) for entry, program in programs.items()}
    return _timing(interleave(calls, rounds))


def _timing(samples: Samples) -> Timing:
    return {
        "unit": "s",
        "samples": samples.seconds,
        "repeats": samples.repeats,
        "errors": samples.errors,
    }


def _pass_calls(programs: Mapping[str, Program], measure: str) -> dict[str, Callable[[], object]]:
    def call(program: Program) -> Callable[[], object]:
        action = program.train if measure == "train" else program.forward
        return lambda: program.wait(action())

    return {entry: call(program) for entry, program in programs.items()}


def _stream_call(program: Program) -> Callable[[], object]:
    assert program.make_stream is not None
    stream = program.make_stream()
    state, inputs = stream.state, itertools.cycle(stream.inputs)

    def call() -> None:
        nonlocal state
        state, y_t = stream.step(state, next(inputs))
        program.wait(y_t)

    return call
