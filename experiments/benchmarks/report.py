"""Tables of a result."""

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.benchmarks.peers.registry import JAX_PEERS, OURS
from experiments.benchmarks.statistics import geometric_mean, paired_ratios, spread

Result = Mapping[str, Any]


def ratios_of(timing: Result) -> dict[str, list[float]]:
    """Return ours / other, round by round, for each other entry of one row's measure."""
    samples = timing["samples"]
    if OURS not in samples:
        return {}
    return {
        name: paired_ratios(samples[OURS], other)
        for name, other in samples.items()
        if name != OURS and len(other) == len(samples[OURS])
    }


def fraction_of_ceiling(timing: Result) -> list[float]:
    """Return the rate of our products over that of the large product, round by round."""
    pairs = zip(timing["samples"].get(OURS, []), timing["flop_per_second"], strict=False)
    return [timing["flop"] / seconds / rate for seconds, rate in pairs]


def fastest_jax_ratio(timing: Result) -> float | None:
    """Return ours over the fastest JAX library's time, the median; None: there is none."""
    ratios = ratios_of(timing)
    return max((spread(ratios[name]).median for name in JAX_PEERS if name in ratios), default=None)


def row_lines(name: str, result: Result) -> Iterator[str]:
    """Return one line a measure: our time, and the ratios to the others."""
    for measure, timing in result["measures"].items():
        cells = []
        for other, ratios in ratios_of(timing).items():
            middle = spread(ratios)
            cells.append(f"{other} {middle.median:.2f} ({middle.low:.2f}-{middle.high:.2f})")
        ours = timing["samples"].get(OURS)
        shown = f"{1e3 * spread(ours).median:9.2f} ms" if ours else "   not run"
        fraction = fraction_of_ceiling(timing)
        limit = f"{spread(fraction).median:5.0%} of ceiling" if fraction else ""
        yield f"{name:<30} {measure:<8}{shown} {limit}  ours/ " + "  ".join(cells)
    for entry, message in result["errors"].items():
        yield f"{name:<30} ERROR {entry}: {message}"


def summary(results: Result) -> Iterator[str]:
    """Return the means over the rows, and what was not run and why."""
    timings: dict[str, dict[str, Result]] = {}
    for name, row in results["rows"].items():
        for measure, timing in row["measures"].items():
            timings.setdefault(measure, {})[name] = timing
    for measure, rows in timings.items():
        against: dict[str, dict[str, float]] = {"fastest JAX peer": {}, "torch": {}}
        for name, timing in rows.items():
            fastest = fastest_jax_ratio(timing)
            if fastest is not None:
                against["fastest JAX peer"][name] = fastest
            torch = ratios_of(timing).get("torch")
            if torch:
                against["torch"][name] = spread(torch).median
        against["torch, LSTM"] = {
            name: ratio for name, ratio in against["torch"].items() if name.startswith("lstm/")
        }
        for other, ratios in against.items():
            if ratios:
                worst = max(ratios, key=ratios.__getitem__)
                mean = geometric_mean(list(ratios.values()))
                yield (
                    f"{measure:<8} ours / {other:<17} geometric mean of {len(ratios):2d} rows "
                    f"{mean:.3f}, worst {ratios[worst]:.2f} {worst}"
                )
    reasons: dict[str, list[str]] = {}
    for name, row in results["rows"].items():
        for entry, reason in row.get("not_run", {}).items():
            reasons.setdefault(f"{entry}: {reason}", []).append(name)
    for reason, names in reasons.items():
        yield f"not run  {reason}  [{len(names)} rows]"
