"""A run: rows, one after the other, each measured and written down before the next."""

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments.benchmarks import agreement, grid
from experiments.benchmarks.ceiling import make_product
from experiments.benchmarks.config import Config
from experiments.benchmarks.grid import Row
from experiments.benchmarks.machine import describe_machine
from experiments.benchmarks.peers.contract import NotRunError, Program
from experiments.benchmarks.peers.registry import OURS, make_builders
from experiments.benchmarks.timing import describe, interleave
from experiments.benchmarks.workload import make_workload
from experiments.common.records import write_json

CEILING = "ceiling"
RESULTS = "results.json"

Result = dict[str, Any]


def build_programs(
    row: Row, config: Config, peers: Sequence[str]
) -> tuple[dict[str, Program], Result]:
    """Make each entry's program, and check that all compute the same.

    Args:
      row: the row.
      config: the run's options.
      peers: libraries to compare with.

    Returns:
      The programs that agree with ours, and what is to be written of the others: under
      "not_run" the reasons, under "errors" what went wrong, under "agreement" how far
      the numbers of each are from ours.
    """
    programs: dict[str, Program] = {}
    notes: Result = {"not_run": {}, "errors": {}, "agreement": {}, "notes": {}}
    workload = make_workload(row, config.dtype, config.seed)
    allowed = agreement.tolerance(config.dtype)
    expected = None
    for name, build in make_builders(peers, config.schedules, config.torch_threads).items():
        try:
            program = build(workload)
            numbers = agreement.compute(program)
            expected = expected or numbers
            notes["agreement"][name] = agreement.check(numbers, expected, allowed)
        except NotRunError as error:
            notes["not_run"][name] = str(error)
        except Exception as error:  # a library that fails is written down, the rest go on
            notes["errors"][name] = describe(error)
        else:
            programs[name] = program
            if program.note:
                notes["notes"][name] = program.note
        if expected is None:  # nothing to compare with
            break
    return programs, notes


def time_row(programs: Mapping[str, Program], measure: str, row: Row, config: Config) -> Result:
    """Time one measure of a row, with the product that bounds it in the same rounds."""

    def call(program: Program) -> Callable[[], object]:
        action = program.train if measure == "train" else program.forward
        return lambda: program.wait(action())

    product, product_flop = make_product(config.dtype)
    calls = {name: call(program) for name, program in programs.items()}
    samples = interleave(calls | {CEILING: product}, config.rounds)
    rates = [product_flop / seconds for seconds in samples.seconds.pop(CEILING, [])]
    return {
        "unit": "s",
        "samples": samples.seconds,
        "repeats": samples.repeats,
        "errors": samples.errors,
        "flop": row.train_flop if measure == "train" else row.forward_flop,
        "flop_per_second": rates,
    }


def run_row(row: Row, config: Config) -> Result:
    """Measure all that is asked for of one row."""
    programs, result = build_programs(row, config, config.peers)
    result["measures"] = {
        measure: time_row(programs, measure, row, config) for measure in config.measure
    }
    del programs
    jax.clear_caches()  # compiled programs of past rows would pile up
    gc.collect()
    return result


def run(config: Config, out: Path, say: Callable[[str], None] = print) -> Result:
    """Measure all rows and write `results.json` after each.

    Args:
      config: the options.
      out: the folder to write to.
      say: shows a line.

    Returns:
      What was written.
    """
    from experiments.benchmarks.report import row_lines

    out.mkdir(parents=True, exist_ok=True)
    rows = grid.select(grid.QUICK if config.quick else grid.GRID, config.rows)
    results: Result = {"config": as_json(config), "machine": describe_machine(), "rows": {}}
    for index, row in enumerate(rows):
        try:
            results["rows"][row.name] = run_row(row, config)
        except Exception as error:
            results["rows"][row.name] = {"errors": {OURS: describe(error)}, "measures": {}}
        write_json(out / RESULTS, results)
        say(f"[{index + 1}/{len(rows)}]")
        for line in row_lines(row.name, results["rows"][row.name]):
            say(line)
    return results


def as_json(config: Config) -> Result:
    """Return the options as JSON holds them."""
    import dataclasses

    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(config).items()
    }
