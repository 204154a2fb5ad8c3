"""What the records say: tables, and a sentence of figures for each claim."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common import sweep
from experiments.depth.expressive import by_cell, measured
from experiments.depth.intervals import Figure, difference, over_seeds, shown, sign_of
from experiments.depth.record import by_depth

Record = Mapping[str, Any]
_WORDS = {1: "rises", 0: "-", -1: "falls"}


def seeds_of(record: Record) -> list[Mapping[str, Any]]:
    """Return the rows of a record of probes, one a seed or a group of speakers."""
    return list(record["rows"].values())


def found_in(record: Record) -> list[str]:
    """Return the features that were probed."""
    return list(seeds_of(record)[0]["trained"]["probes"])


def accuracy_of(record: Record, feature: str, kind: str) -> np.ndarray:
    """Return the accuracy of a feature's probes in percent, `[seeds, 1 + L]`."""
    rows = seeds_of(record)
    return 100 * np.array([row[kind]["probes"][feature]["accuracy"] for row in rows])


def baseline_of(record: Record, feature: str) -> float:
    """Return the accuracy with shuffled labels in percent."""
    rows = seeds_of(record)
    return 100 * float(np.mean([row["trained"]["probes"][feature]["baseline"] for row in rows]))


def slope_of(record: Record, feature: str, kind: str = "trained") -> dict[str, Any]:
    """Return points of accuracy a layer, from layer 1 to the last, over seeds."""
    accuracy = accuracy_of(record, feature, kind)[:, 1:]
    layers = np.arange(accuracy.shape[1])
    return over_seeds(np.polyfit(layers, accuracy.T, 1)[0])


def table_of_probes(record: Record) -> str:
    """Return Markdown: a line a feature, a column a layer."""
    names = found_in(record)
    count = accuracy_of(record, names[0], "trained").shape[1]
    head = ["% told right", "shuffled", "input", *(f"layer {n}" for n in range(1, count))]
    head += ["points a layer", "", "points a layer, untrained"]
    lines = []
    for name in names:
        accuracy = accuracy_of(record, name, "trained")
        cells = [shown(over_seeds(column)) for column in accuracy.T]
        slope = slope_of(record, name)
        untrained = shown(slope_of(record, name, "untrained"), 2)
        told = shown(slope, 2), _WORDS[sign_of(slope)], untrained
        lines.append([name, f"{baseline_of(record, name):.1f}", *cells, *told])
    return sweep.markdown(head, *lines)


def refines(record: Record) -> str:
    """Say whether each layer tells the next character better than the one below."""
    accuracy = accuracy_of(record, "next", "trained")
    steps = [over_seeds(step) for step in np.diff(accuracy[:, 1:], axis=1).T]
    better = sum(sign_of(step) > 0 for step in steps)
    worse = sum(sign_of(step) < 0 for step in steps)
    untrained = accuracy_of(record, "next", "untrained")[:, -1]
    gain = over_seeds(accuracy[:, -1] - untrained)
    words = ", ".join(shown(step) for step in steps)
    return (
        f"From each layer to the next, the share of next characters that a linear probe tells "
        f"changes by {words} points: {better} of {len(steps)} are gains beyond the interval, "
        f"{worse} losses. The last layer is {shown(gain)} points above the same layer untrained."
    )


def basic_and_abstract(record: Record) -> str:
    """Say which features rise with the layer, and which fall."""
    slopes = {name: slope_of(record, name) for name in found_in(record)}
    parts = []
    for sign, word in ((1, "Rise with the layer"), (-1, "fall"), (0, "neither")):
        names = [name for name, slope in slopes.items() if sign_of(slope) == sign]
        told = ", ".join(f"{name} ({shown(slopes[name], 2)})" for name in names)
        parts.append(f"{word}: {told or 'none'}")
    return "; ".join(parts) + ". Points of accuracy a layer."


def horizons(record: Record) -> str:
    """Say how far back the gradient of the last loss reaches, by layer."""
    parts = []
    for kind in ("trained", "untrained"):
        found = np.array([row[kind]["horizon"] for row in seeds_of(record)])
        parts.append(f"{kind} {', '.join(shown(over_seeds(one), 0) for one in found.T)}")
    return f"Memory horizon by layer, the lowest first, in characters: {'; '.join(parts)}."


def table_of_lags(record: Record) -> str:
    """Return Markdown: a line a task, width and help, a column a depth."""
    depths = record["settings"]["depths"]
    lines = by_depth(
        record["rows"].values(),
        lambda row: f"{row['task']}, equal {row['equal']}, {row['helped_by']}",
    )
    body = [
        [name, *(_lag(of[n]["log2_longest"]) if n in of else "-" for n in depths)]
        for name, of in lines.items()
    ]
    return sweep.markdown(["longest lag", *(f"{n} layers" for n in depths)], *body)


def _lag(figure: Figure) -> str:
    """Return a lag with the ends of its interval, from its logarithm."""
    mean, half = figure["mean"], figure["half"]
    ends = "" if half is None else f" ({2 ** (mean - half):.0f} to {2 ** (mean + half):.0f})"
    return f"{2**mean:.0f}{ends}"


def long_dependencies(record: Record) -> str:
    """Say how the deepest compares with a single layer, of each task and width."""
    rows, words = list(record["rows"].values()), []
    deepest = max(row["num_layers"] for row in rows)
    for row in rows:
        if row["num_layers"] == deepest:
            one = next(
                r
                for r in rows
                if (r["task"], r["equal"], r["num_layers"]) == (row["task"], row["equal"], 1)
            )
            times = difference(row["log2_longest"], one["log2_longest"])
            words.append(
                f"{row['task']}, equal {row['equal']}, {row['helped_by']}: times {_lag(times)}"
            )
    return f"The longest lag with {deepest} layers, beside one layer's: {'; '.join(words)}."


def more_expressive(record: Record) -> str:
    """Say what each depth changes against one layer."""
    words = []
    for cell, of in by_cell(record).items():
        figures = {n: measured(row) for n, row in of.items()}
        best = min(figures, key=lambda n: figures[n]["mean"])
        shallow = figures[min(figures)]
        gain = difference(shallow, figures[best])
        words.append(f"{cell} best with {best}, {shown(gain, 3)} nats below one layer")
    return "; ".join(words) + "."


def table_of_shares(record: Record) -> str:
    """Return Markdown: a line a cell and help, a column a depth."""
    depths = record["settings"]["depths"]
    lines = by_depth(record["rows"].values(), lambda row: f"{row['cell']}, {row['helped_by']}")
    body = [
        [
            name,
            *(shown(of[n]["reached"], 0, 100) if n in of else "-" for n in depths),
            _gradients(of[max(of)]),
        ]
        for name, of in lines.items()
    ]
    head = ["% that reach the bar", *(f"{n} layers" for n in depths)]
    return sweep.markdown([*head, "gradient, lowest over highest layer of the deepest"], *body)


def _gradients(row: Mapping[str, Any]) -> str:
    return f"{10 ** row['log10_lowest_over_highest']['mean']:.2g}"


def harder_to_train(record: Record) -> str:
    """Say how the share falls from one layer to the deepest."""
    rows = list(record["rows"].values())
    deepest, words = max(row["num_layers"] for row in rows), []
    for deep in rows:
        if deep["num_layers"] == deepest:
            alone = [r for r in rows if (r["cell"], r["num_layers"]) == (deep["cell"], 1)]
            # Around a single layer nothing goes: beside it, the one without help.
            own = [r for r in alone if r["helped_by"] == deep["helped_by"]] or alone
            change = difference(deep["reached"], own[0]["reached"])
            words.append(f"{deep['cell']}, {deep['helped_by']}: {shown(change, 0, 100)}")
    return (
        f"The bar is {record['bar_nats']:.3f} nats a character. Points of the share that reaches "
        f"it, {deepest} layers against one: {'; '.join(words)}."
    )
