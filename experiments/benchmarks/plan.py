"""What a run is made of: rows, what is measured of each, and beside whom."""

from typing import NamedTuple

from experiments.benchmarks import grid, growth
from experiments.benchmarks.config import Config
from experiments.benchmarks.grid import Row
from experiments.benchmarks.peers.registry import SCHEDULES, entries

ROWS = "rows"  # the group of the grid; each sweep is a group by its axis


class Job(NamedTuple):
    """One row's part of a run."""

    group: str  # ROWS, or an axis of growth.AXES
    row: Row
    measures: tuple[str, ...]  # of config.Measure, without growth
    entries: tuple[str, ...]


def make_plan(config: Config) -> list[Job]:
    """Return the jobs of a run, in their order.

    Raises:
      InputError: a row that is asked for does not exist.
    """
    rows = grid.select(grid.QUICK if config.quick else grid.GRID, config.rows)
    jobs = [_job(row, config) for row in rows]
    if "memory" in config.measures and not config.rows and not config.quick:
        jobs += [_job(row, config)._replace(measures=("memory",)) for row in grid.LONG]
    if "growth" in config.measures:
        jobs += [job for axis in growth.AXES for job in _sweep(axis, config)]
    return [job for job in jobs if job.measures]


def _job(row: Row, config: Config) -> Job:
    ways: list[str] = list(SCHEDULES) if config.schedules else []
    if row.num_steps >= grid.LONG_STEPS:
        ways.append("checkpoint")
    chosen = set(config.measures) - {"growth"}
    # By default at two shapes; a row that is asked for by name, at its own.
    asked = row in grid.STREAMED_ROWS or config.rows or config.quick
    if not asked or row.bidirectional or row.cell not in grid.MAIN_CELLS:
        chosen.discard("stream")
    # Compiling last: it makes jitted functions forget what they have compiled.
    order = ("train", "forward", "stream", "compile", "memory")
    return Job(ROWS, row, tuple(m for m in order if m in chosen), entries(config.peers, ways))


def _sweep(axis: str, config: Config) -> list[Job]:
    peers = [peer for peer in growth.PEERS if peer in config.peers]
    ways = [*growth.WAYS, *(s for s in SCHEDULES if config.schedules and s not in growth.WAYS)]
    measures = ("train", "compile") if axis in growth.COMPILED else ("train",)
    return [
        Job(axis, row, measures, entries(peers, ways)) for row in growth.sweep(axis, config.quick)
    ]
