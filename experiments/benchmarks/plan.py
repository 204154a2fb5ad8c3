"""What a run is made of: rows, what is measured of each, and beside whom."""

from typing import Generic, NamedTuple, TypeVar

from deeprnn_jax.schedules import SCHEDULES
from experiments.benchmarks import grid, growth
from experiments.benchmarks.config import Config
from experiments.benchmarks.grid import Row
from experiments.benchmarks.peers.registry import LAX_SCAN, OURS, entries
from experiments.benchmarks.scans.rows import QUICK_SCANS, SCANS, ScanRow

ROWS = "rows"  # the group of the grid; each sweep is a group by its axis
SCAN = "scan"  # the group of the codes by our scan and by `lax.scan`

AnyRow = TypeVar("AnyRow", Row, ScanRow)


class Job(NamedTuple, Generic[AnyRow]):
    """One row's part of a run."""

    group: str  # ROWS, SCAN, or an axis of growth.AXES
    row: AnyRow
    measures: tuple[str, ...]  # of config.Measure, without growth and scan
    entries: tuple[str, ...]


def make_plan(config: Config) -> list[Job[Row] | Job[ScanRow]]:
    """Return the jobs of a run, in their order.

    Raises:
      InputError: a row that is asked for does not exist.
    """
    rows: list[Row | ScanRow] = [*(grid.QUICK if config.quick else grid.GRID)]
    if "scan" in config.measures:
        rows += QUICK_SCANS if config.quick else SCANS
    chosen = grid.select(rows, config.rows)
    jobs: list[Job[Row] | Job[ScanRow]] = []
    jobs += [_job(row, config) for row in chosen if isinstance(row, Row)]
    if "memory" in config.measures and not config.rows and not config.quick:
        jobs += [_job(row, config)._replace(measures=("memory",)) for row in grid.LONG]
    if "growth" in config.measures:
        jobs += [job for axis in growth.AXES for job in _sweep(axis, config)]
    jobs += [_scan_job(row) for row in chosen if isinstance(row, ScanRow)]
    return [job for job in jobs if job.measures]


def _job(row: Row, config: Config) -> Job[Row]:
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


def _scan_job(row: ScanRow) -> Job[ScanRow]:
    return Job(SCAN, row, ("train", "forward", "compile", "memory"), (OURS, LAX_SCAN))


def _sweep(axis: str, config: Config) -> list[Job[Row]]:
    peers = [peer for peer in growth.PEERS if peer in config.peers]
    ways = [*growth.WAYS, *(s for s in SCHEDULES if config.schedules and s not in growth.WAYS)]
    measures = ("train", "compile") if axis in growth.COMPILED else ("train",)
    return [
        Job(axis, row, measures, entries(peers, ways)) for row in growth.sweep(axis, config.quick)
    ]
