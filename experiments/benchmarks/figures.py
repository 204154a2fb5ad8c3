"""The figures that a result comes to: ratios of one row, means over rows, growth."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from deeprnn_jax.schedules import SCHEDULES
from experiments.benchmarks import growth
from experiments.benchmarks.grid import parse_row
from experiments.benchmarks.peers.registry import JAX_PEERS, OURS, PEERS, ours
from experiments.benchmarks.plan import ROWS
from experiments.benchmarks.statistics import geometric_mean, paired_ratios, spread

Result = Mapping[str, Any]
Timing = Mapping[str, Any]

FASTEST_JAX = "fastest JAX peer"
BEST_SCHEDULE = "best of the schedules"  # each by its name; ours is "auto"
_FASTEST_OF: Mapping[str, Sequence[str]] = {
    FASTEST_JAX: JAX_PEERS,
    BEST_SCHEDULE: tuple(map(ours, SCHEDULES)),
}


SEQUENCES = ("train", "forward")  # measures of whole sequences


class Mean(NamedTuple):
    """A ratio over several rows."""

    geometric_mean: float
    worst: float
    worst_row: str
    rows: int


def ratios_of(timing: Timing) -> dict[str, list[float]]:
    """Return ours / other, round by round, for each other entry of one measure.

    Our other ways come first, then the libraries, always in the same order.
    """
    samples = timing["samples"]
    others = [entry for entry in samples if entry != OURS and OURS in samples]
    return {
        entry: paired_ratios(samples[OURS], samples[entry])
        for entry in sorted(others, key=lambda e: PEERS.index(e) if e in PEERS else -1)
        if len(samples[entry]) == len(samples[OURS])
    }


def others_of(rows: Mapping[str, Timing]) -> list[str]:
    """Return all that ours is compared with in some rows."""
    found = dict.fromkeys(entry for timing in rows.values() for entry in ratios_of(timing))
    return sorted(found, key=lambda e: PEERS.index(e) if e in PEERS else -1)


def ceiling_fractions(timing: Timing) -> list[float]:
    """Return the rate of our products over that of the large product, round by round."""
    rates, seconds = timing.get("flop_per_second", []), timing["samples"].get(OURS, [])
    return [timing["flop"] / s / rate for s, rate in zip(seconds, rates, strict=False)]


def fastest(timing: Timing, entries: Sequence[str]) -> str | None:
    """Return which of the entries is fastest in one row, by the median of the paired ratios."""
    ratios = {e: spread(r).median for e, r in ratios_of(timing).items() if e in entries}
    return max(ratios, key=ratios.__getitem__, default=None)


def timings_by_measure(result: Result, group: str = ROWS) -> dict[str, dict[str, Timing]]:
    """Return measure -> row -> what was measured."""
    found: dict[str, dict[str, Timing]] = {}
    for name, record in result["groups"].get(group, {}).items():
        for measure, timing in record["measures"].items():
            found.setdefault(measure, {})[name] = timing
    return found


def mean_ratio(rows: Mapping[str, Timing], other: str) -> Mean | None:
    """Return our ratio to an entry over the rows that have it.

    Args:
      rows: of one measure.
      other: the entry, or `FASTEST_JAX`, or `BEST_SCHEDULE`.
    """
    medians = {}
    for name, timing in rows.items():
        entry = fastest(timing, _FASTEST_OF[other]) if other in _FASTEST_OF else other
        ratios = ratios_of(timing).get(entry or "")
        if ratios:
            medians[name] = spread(ratios).median
    if not medians:
        return None
    worst = max(medians, key=medians.__getitem__)
    return Mean(geometric_mean(list(medians.values())), medians[worst], worst, len(medians))


def means(result: Result) -> Iterable[tuple[str, str, Mean]]:
    """Return (measure, what ours is compared with, mean) for all rows, and LSTM rows alone."""
    for measure, rows in timings_by_measure(result).items():
        for other in (*_FASTEST_OF, *others_of(rows)):
            mean = mean_ratio(rows, other)
            if mean is not None:
                yield measure, other, mean
        lstm = {name: timing for name, timing in rows.items() if name.startswith("lstm/")}
        mean = mean_ratio(lstm, "torch")
        if mean is not None and len(lstm) < len(rows):
            yield measure, "torch, LSTM rows", mean


def against_layerwise(result: Result) -> dict[str, dict[str, list[float]]]:
    """Return row -> measure -> wavefront / layerwise, round by round, where both were timed."""
    found: dict[str, dict[str, list[float]]] = {}
    for measure in SEQUENCES:
        for name, timing in timings_by_measure(result).get(measure, {}).items():
            samples = timing["samples"]
            if ours("wavefront") in samples and ours("layerwise") in samples:
                ratios = paired_ratios(samples[ours("wavefront")], samples[ours("layerwise")])
                found.setdefault(name, {})[measure] = ratios
    return found


def checkpoint_memory(result: Result) -> dict[tuple[str, str], dict[str, float]]:
    """Return (row, measure) -> other entry -> our memory with checkpoints over its own."""
    found = {}
    for measure, rows in timings_by_measure(result).items():
        for name, timing in rows.items():
            samples = timing["samples"]
            if timing["unit"] == "bytes" and ours("checkpoint") in samples:
                kept = samples[ours("checkpoint")][0]
                others = {e: kept / s[0] for e, s in samples.items() if e != ours("checkpoint")}
                found[name, measure] = others
    return found


def growth_curves(
    result: Result, axis: str, measures: Iterable[str]
) -> dict[str, list[tuple[int, float]]]:
    """Return each entry's points along an axis: its size, the median of the measures' sum.

    Args:
      result: of a run.
      axis: of `growth.AXES`.
      measures: ("train",), or ("trace", "compile").
    """
    values: dict[Any, dict[str, float]] = {}
    for name, record in result["groups"].get(axis, {}).items():
        timings = [record["measures"].get(measure, {"samples": {}}) for measure in measures]
        for entry in timings[0]["samples"]:
            samples = [timing["samples"].get(entry, []) for timing in timings]
            if all(samples):
                total = np.sum(samples, axis=0)
                values.setdefault(parse_row(name), {})[entry] = float(np.median(total))
    return growth.curves(values, axis)


def exponents(result: Result, axis: str, measures: Iterable[str]) -> dict[str, float]:
    """Return the power of the size with which each entry's curve grows."""
    curves = growth_curves(result, axis, tuple(measures))
    return {
        entry: growth.exponent(*zip(*points, strict=True))
        for entry, points in curves.items()
        if len(points) > 1
    }


def reasons(result: Result) -> dict[str, list[str]]:
    """Return why entries were not run, or failed, each with the rows' names."""
    return _said(result, {"not_run": "not run: ", "errors": "FAILED: "})


def notes(result: Result) -> dict[str, list[str]]:
    """Return what the reader should know of entries, each with the rows' names."""
    return _said(result, {"notes": ""})


def _said(result: Result, kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what rows and their measures say of entries, after each kind's label."""
    found: dict[str, list[str]] = {}
    for rows in result["groups"].values():
        for name, record in rows.items():
            sources = [(record, "")] + [(t, f" ({m})") for m, t in record["measures"].items()]
            for source, where in sources:
                for kind, label in kinds.items():
                    for entry, text in source.get(kind, {}).items():
                        found.setdefault(f"{label}{entry}: {text}", []).append(name + where)
    return found
