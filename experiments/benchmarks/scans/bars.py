"""What the measure "scan" comes to: our scan over `lax.scan`, and the bars it must pass."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.benchmarks.peers.registry import LAX_SCAN, OURS
from experiments.benchmarks.statistics import geometric_mean, paired_ratios, spread

# column of the table -> the measures whose sum it is
COLUMNS: Mapping[str, Sequence[str]] = {
    "train": ("train",),
    "forward": ("forward",),
    "trace + compile": ("trace", "compile"),
    "memory": ("memory-temporary",),
}
ALL_ROWS: Literal["geometric mean"] = "geometric mean"
WORST: Literal["worst row"] = "worst row"


class Bar(NamedTuple):
    """What a column may not exceed."""

    column: str
    of: Literal["geometric mean", "worst row"]
    limit: float


class Judged(NamedTuple):
    """What stands against a bar."""

    bar: Bar
    found: float
    row: str  # the worst, or ""
    passed: bool  # not without a figure of every row


BARS = (
    Bar("train", ALL_ROWS, 0.65),
    Bar("train", WORST, 0.95),
    Bar("forward", WORST, 1.05),
    Bar("trace + compile", WORST, 1.3),
    Bar("memory", WORST, 1.0),
)


def scan_ratios(record: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return column -> our scan / `lax.scan`, round by round, of one row."""
    found = {}
    for column, measures in COLUMNS.items():
        samples = [record["measures"].get(m, {"samples": {}})["samples"] for m in measures]
        entries = (OURS, LAX_SCAN)
        rounds = {len(sample.get(entry, [])) for sample in samples for entry in entries}
        if len(rounds) == 1 and 0 not in rounds:  # else one failed, if late
            ours, lax = (np.sum([s[e] for s in samples], axis=0) for e in entries)
            found[column] = paired_ratios(ours.tolist(), lax.tolist())
    return found


def scan_means(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return column -> geometric mean of the rows' medians."""
    medians = _medians(rows)
    return {column: geometric_mean(list(found.values())) for column, found in medians.items()}


def judged(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Judged]:
    """Return what stands against each bar, where anything was measured."""
    medians = _medians(rows)
    for bar in BARS:
        of_rows = medians.get(bar.column)
        if of_rows:
            row = max(of_rows, key=of_rows.__getitem__) if bar.of == WORST else ""
            found = of_rows[row] if row else geometric_mean(list(of_rows.values()))
            yield Judged(bar, found, row, found <= bar.limit and len(of_rows) == len(rows))


def _medians(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    medians: dict[str, dict[str, float]] = {}
    for name, record in rows.items():
        for column, ratios in scan_ratios(record).items():
            medians.setdefault(column, {})[name] = spread(ratios).median
    return medians
