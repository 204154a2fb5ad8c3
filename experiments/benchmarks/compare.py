"""Whether we have become slower: two results, side by side.

What is compared is never a time with a time, but ours / yardstick in one run with
ours / yardstick in the other, both paired within rounds. The yardsticks are the other
libraries together (their geometric mean in each round; of a code, itself by `lax.scan`),
and the product ceiling.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.benchmarks.figures import Result, Timing
from experiments.benchmarks.peers.registry import LAX_SCAN, OURS, PEERS
from experiments.benchmarks.report import table
from experiments.benchmarks.statistics import paired_ratios, spread
from experiments.common.errors import InputError

PEERS_YARDSTICK, CEILING_YARDSTICK = "the libraries", "the ceiling"
RESAMPLES = 2000
CONFIDENCE = 0.99
LEAST_ROUNDS = 5  # fewer say nothing of their noise
TOLERANCE = 0.05

Verdict = Literal["worse", "better", ""]


class Move(NamedTuple):
    """How ours moved against one yardstick in one measure of one row."""

    row: str
    measure: str
    yardstick: str
    change: float  # of the median ratio, new / old: 1.1 is 10 % worse
    low: float  # the bootstrap's interval of the change
    high: float
    verdict: Verdict


def yardsticks(timing: Timing, peers: list[str]) -> dict[str, list[float]]:
    """Return ours / yardstick, round by round.

    Args:
      timing: one measure of one row.
      peers: the libraries that both results have.
    """
    mine = timing["samples"].get(OURS, [])
    found = {}
    others = [timing["samples"][peer] for peer in peers]
    if mine and others:
        together = np.exp(np.mean(np.log(np.asarray(others, float)), axis=0))
        found[PEERS_YARDSTICK] = paired_ratios(mine, together.tolist())
    rates = timing.get("flop_per_second", [])
    if mine and len(rates) == len(mine):
        found[CEILING_YARDSTICK] = [
            seconds * rate for seconds, rate in zip(mine, rates, strict=True)
        ]
    return found


def common_peers(old: Timing, new: Timing) -> list[str]:
    """Return the libraries with whole samples in both."""

    def has(timing: Timing, peer: str) -> bool:
        samples = timing["samples"]
        return len(samples.get(peer, [])) == len(samples.get(OURS, []))

    return [peer for peer in (*PEERS, LAX_SCAN) if has(old, peer) and has(new, peer)]


def judge(old: list[float], new: list[float], tolerance: float, seed: int = 0) -> tuple[Any, ...]:
    """Return change, the interval's ends, and the verdict.

    It is a move if the interval of the bootstrapped medians' ratio leaves out 1, and the
    change is more than the tolerance and than half of what lies between the quartiles of
    either result: rounds of one run are more alike than runs are. Of fewer than
    `LEAST_ROUNDS` nothing is said.

    Args:
      old: ours / yardstick, a value a round.
      new: likewise.
      tolerance: the least change that matters, 0.05 for 5 %.
      seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)

    def medians(values: list[float]) -> np.ndarray:
        chosen = rng.choice(np.asarray(values, float), (RESAMPLES, len(values)))
        return np.median(chosen, axis=1)

    middle = [spread(values) for values in (old, new)]
    change = middle[1].median / middle[0].median
    enough = min(len(old), len(new)) >= LEAST_ROUNDS
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians(new) / medians(old), [tail, 1 - tail])
    noise = max(tolerance, *((s.high - s.low) / (2 * s.median) for s in middle))
    verdict: Verdict = ""
    if enough and low > 1 and change > 1 + noise:
        verdict = "worse"
    elif enough and high < 1 and change < 1 / (1 + noise):
        verdict = "better"
    return change, float(low), float(high), verdict


def moves(old: Result, new: Result, tolerance: float) -> Iterator[Move]:
    """Return how ours moved in all that both results have."""
    for group, row, measure, before, after in _common(old, new):
        peers = common_peers(before, after)
        sticks = yardsticks(before, peers), yardsticks(after, peers)
        name = row if group == "rows" else f"{row} ({group})"
        for yardstick in sticks[0]:
            if yardstick in sticks[1]:
                found = judge(sticks[0][yardstick], sticks[1][yardstick], tolerance)
                yield Move(name, measure, yardstick, *found)
        if before["unit"] == "bytes" and OURS in before["samples"] and OURS in after["samples"]:
            # Bytes that are counted have no noise; the process's peak has little.
            change = after["samples"][OURS][0] / before["samples"][OURS][0]
            verdict = "worse" if change > 1.05 else "better" if change < 1 / 1.05 else ""
            yield Move(name, measure, "itself", change, change, change, verdict)


def _common(old: Result, new: Result) -> Iterator[tuple[str, str, str, Timing, Timing]]:
    for group, rows in old["groups"].items():
        for row, record in rows.items():
            other: Mapping[str, Any] = new["groups"].get(group, {}).get(row, {"measures": {}})
            for measure, timing in record["measures"].items():
                if measure in other["measures"]:
                    yield group, row, measure, timing, other["measures"][measure]


def got_worse(found: list[Move]) -> list[tuple[str, str]]:
    """Return the (row, measure) in which ours got worse.

    The libraries judge where there are any: they meet the same machine and compiler. The
    ceiling judges where there are none.
    """
    judged = {(m.row, m.measure) for m in found if m.yardstick == PEERS_YARDSTICK}
    return [
        (m.row, m.measure)
        for m in found
        if m.verdict == "worse"
        and (m.yardstick != CEILING_YARDSTICK or (m.row, m.measure) not in judged)
    ]


def differing_versions(old: Result, new: Result) -> list[str]:
    """Return what else has changed: libraries and hardware."""
    before, after = old["machine"], new["machine"]
    names = {*before["packages"], *after["packages"]}
    pairs = {name: (before["packages"].get(name), after["packages"].get(name)) for name in names}
    for name in ("processor", "device", "cores", "xla_flags"):
        pairs[name] = before.get(name), after.get(name)
    return [f"{name}: {a} -> {b}" for name, (a, b) in sorted(pairs.items()) if a != b]


def comparison(old: Result, new: Result, tolerance: float) -> tuple[list[str], bool]:
    """Return the lines to show, and whether ours got worse anywhere.

    Raises:
      InputError: the two have no row and measure in common.
    """
    found = list(moves(old, new, tolerance))
    if not found:
        raise InputError("compare: the two results have no row and measure in common")
    lines = [f"differs: {line}" for line in differing_versions(old, new)]
    shown = [
        [m.row, m.measure, m.yardstick, f"{m.change:.3f}", f"{m.low:.3f}-{m.high:.3f}", m.verdict]
        for m in found
    ]
    header = ["row", "measure", "against", "new / old", f"{CONFIDENCE:.0%} interval", "verdict"]
    lines += table(header, shown)
    worse = got_worse(found)
    lines += [f"WORSE: {row} {measure}" for row, measure in worse]
    if not worse:
        lines.append(f"nothing got worse beyond the noise, in {len(found)} comparisons")
    return lines, bool(worse)
