"""What the records say: tables, and a sentence of figures for each claim."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common import sweep
from experiments.common.intervals import Figure, counted, difference, over_seeds, shown, sign_of
from experiments.depth.expressive import NAMES, by_cell, measured
from experiments.depth.long import is_capped, log2_of
from experiments.depth.record import by_depth
from experiments.depth.refine import FRACTION

Record = Mapping[str, Any]
_WORDS = {1: "above", 0: "-", -1: "below"}


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


def slopes_of(record: Record, feature: str) -> dict[str, dict[str, Any]]:
    """Return points of accuracy a layer, from layer 1 to the last, over seeds.

    Of the trained network, of the untrained one, and of the first minus the second, seed by seed:
    what the layer adds by what was learned, and not by where it stands.
    """
    found = {}
    for kind in ("trained", "untrained"):
        accuracy = accuracy_of(record, feature, kind)[:, 1:]
        # A single layer has no slope.
        rises = accuracy.shape[1] > 1
        layers = np.arange(accuracy.shape[1])
        found[kind] = np.polyfit(layers, accuracy.T, 1)[0] if rises else np.zeros(len(accuracy))
    found["learned"] = found["trained"] - found["untrained"]
    return {kind: over_seeds(slope) for kind, slope in found.items()}


def table_of_probes(record: Record) -> str:
    """Return Markdown: a line a feature, a column a layer."""
    names = found_in(record)
    count = accuracy_of(record, names[0], "trained").shape[1]
    head = ["% correct, held out", "shuffled", "input", *(f"layer {n}" for n in range(1, count))]
    head += ["points a layer", "untrained", "trained - untrained", ""]
    lines = []
    for name in names:
        accuracy = accuracy_of(record, name, "trained")
        cells = [shown(over_seeds(column)) for column in accuracy.T]
        slopes = slopes_of(record, name)
        words = [shown(slopes[kind], 2) for kind in ("trained", "untrained", "learned")]
        sign = _WORDS[sign_of(slopes["learned"])]
        lines.append([name, f"{baseline_of(record, name):.1f}", *cells, *words, sign])
    return sweep.markdown(head, *lines)


def refines(record: Record) -> str:
    """Say whether each layer predicts the next character better than the one below."""
    accuracy = accuracy_of(record, "next", "trained")
    steps = [over_seeds(step) for step in np.diff(accuracy[:, 1:], axis=1).T]
    better = sum(sign_of(step) > 0 for step in steps)
    worse = sum(sign_of(step) < 0 for step in steps)
    untrained = accuracy_of(record, "next", "untrained")[:, -1]
    gain = over_seeds(accuracy[:, -1] - untrained)
    words = ", ".join(shown(step) for step in steps)
    return (
        f"From each layer to the next, the accuracy of a linear probe for the next character "
        f"changes by {words} points: {better} of {len(steps)} are gains beyond the interval, "
        f"{worse} losses. The last layer is {shown(gain)} points above the same layer untrained."
    )


def basic_and_abstract(record: Record) -> str:
    """Say which features rise more with the layer, or fall less, than in the untrained network."""
    slopes = {name: slopes_of(record, name)["learned"] for name in found_in(record)}
    parts = []
    for sign, word in ((1, "above"), (-1, "below"), (0, "neither")):
        names = [name for name, slope in slopes.items() if sign_of(slope) == sign]
        words = ", ".join(f"{name} ({shown(slopes[name], 2)})" for name in names)
        parts.append(f"{word}: {words or 'none'}")
    return (
        "The slope of the accuracy over the layers, in points a layer, trained less untrained: "
        f"{'; '.join(parts)}.{_of_speech(record)}{_of_probe(record)}"
    )


def _of_probe(record: Record) -> str:
    """Say by which probes a record was measured."""
    if "probe" in record:
        return f" Probes: {record['probe']}."
    return (
        " These probes are of least squares, which can miss a class that lies between others: "
        "accuracies of an earlier version, to be measured again."
    )


def _of_speech(record: Record) -> str:
    """Say which network was probed, and on how much, of a record of speech."""
    if "network" not in record:
        return ""
    network, rows = record["network"], seeds_of(record)
    words = [f"{network['layers']} layers"]
    if "units" in network:
        both = ", in both directions" if network["bidirectional"] else ""
        words[0] += f" of {network['units']} units ({network['cell']}{both})"
        words.append(f"validation CER {network['validation_cer']:.1%}")
    words.append(f"step {network['step']:,}")
    text = f" One network, {', '.join(words)}, beside one untrained."
    if all("left_out" in row for row in rows):
        left_out, all_of = (sum(row[name] for row in rows) for name in ("left_out", "utterances"))
        return f"{text} Without letters and words: {left_out} of {all_of} utterances."
    return f"{text} The record does not say how many utterances were left out."


def horizons(record: Record) -> str:
    """Say how far back the gradient of the last loss reaches, by layer."""
    length, parts = record["settings"]["probe_length"], []
    for kind in ("trained", "untrained"):
        found = np.array([row[kind]["horizon"] for row in seeds_of(record)]).T
        beyond = np.mean([row[kind]["beyond"] for row in seeds_of(record)], axis=0)
        words = [
            shown(over_seeds(one), 0) + (f" (cut off: {share:.0%} of rows)" if share else "")
            for one, share in zip(found, beyond, strict=True)
        ]
        parts.append(f"{kind} {', '.join(words)}")
    return (
        "Memory horizon by layer, the lowest first: characters back to where the gradient's norm "
        f"stays below {FRACTION:.0%} of that at the last one, {length:,} at most: "
        f"{'; '.join(parts)}."
    )


def table_of_lags(record: Record) -> str:
    """Return Markdown: a line a task, width and help, a column a depth; all seeds' lags."""
    depths, lags = record["settings"]["depths"], record["settings"]["lags"]
    lines = by_depth(
        record["rows"].values(),
        lambda row: f"{row['task']}, equal {row['equal']}, {row['helped_by']}",
    )
    body = [
        [name, *(_lags(of[n]["longest"], lags) if n in of else "-" for n in depths)]
        for name, of in lines.items()
    ]
    head = ["longest lag, of each seed", *(f"{n} layer{'s' * (n > 1)}" for n in depths)]
    return sweep.markdown(head, *body)


def _lags(longest: list[int], lags: list[int]) -> str:
    """Return the lags of all seeds; < and ≥ where more than that is not known."""
    marks = {0: f"< {lags[0]}", lags[-1]: f"≥ {lags[-1]}"}
    return ", ".join(marks.get(lag, str(lag)) for lag in sorted(longest))


def long_dependencies(record: Record) -> str:
    """Say how the deepest compares with a single layer, of each task and width."""
    rows, lags, words = list(record["rows"].values()), record["settings"]["lags"], []
    single = {(row["task"], row["equal"]): row for row in rows if row["num_layers"] == 1}
    deepest = max(row["num_layers"] for row in rows)
    for row in rows:
        if row["num_layers"] == deepest:
            pair = [r["longest"] for r in (row, single[row["task"], row["equal"]])]
            times = difference(*(over_seeds(log2_of(longest, lags)) for longest in pair))
            capped = any(is_capped(longest, lags) for longest in pair)
            words.append(
                f"{row['task']}, equal {row['equal']}, {row['helped_by']}: "
                f"times {_ratio(times, capped)}"
            )
    return (
        f"The longest lag with {deepest} layers over that with one, geometric means: "
        f"{'; '.join(words)}. Capped: some seed has learned none of the lags, or all, and counts "
        "as half of the shortest, or as the longest."
    )


def _ratio(log2: Figure, capped: bool) -> str:
    """Return a ratio with the ends of its interval, from its logarithm."""
    mean, half = log2["mean"], log2["half"]
    if capped:
        return f"{2**mean:.2g} (capped)"
    ends = "" if half is None else f" ({2 ** (mean - half):.2g} to {2 ** (mean + half):.2g})"
    return f"{2**mean:.2g}{ends}"


def more_expressive(record: Record) -> str:
    """Say what each depth changes against one layer."""
    words = []
    for cell, of in by_cell(record).items():
        one, *deeper = sorted(of)
        changes = [
            f"{n} layers {shown(difference(measured(of[n]), measured(of[one])), 3)}" for n in deeper
        ]
        words.append(f"{NAMES[cell]}: {', '.join(changes) or 'one depth alone'}")
    return f"Nats a character, less those of one layer: {'; '.join(words)}."


def table_of_shares(record: Record) -> str:
    """Return Markdown: a line a cell and help, a column a depth."""
    depths = record["settings"]["depths"]
    lines = by_depth(record["rows"].values(), lambda row: f"{row['cell']}, {row['helped_by']}")
    body = [
        [name, *(_reached(of[n]) if n in of else "-" for n in depths), _gradients(of[max(of)])]
        for name, of in lines.items()
    ]
    head = ["trainings that reach the bar (seeds that do at any rate)"]
    head += [f"{n} layer{'s' * (n > 1)}" for n in depths]
    return sweep.markdown([*head, "gradient, lowest over highest layer of the deepest"], *body)


def _reached(row: Mapping[str, Any]) -> str:
    """Return how many trainings of all, and how many seeds at any rate, reach the bar."""
    reached = np.array(row["reached"])  # [seeds, rates]
    return f"{counted(reached)} ({counted(reached.any(axis=1))})"


def _gradients(row: Mapping[str, Any]) -> str:
    return f"{10 ** row['log10_lowest_over_highest']['mean']:.2g}"


def harder_to_train(record: Record) -> str:
    """Say how many trainings reach the bar, of the deepest and of one layer."""
    rows = list(record["rows"].values())
    deepest, words = max(row["num_layers"] for row in rows), []
    for deep in rows:
        if deep["num_layers"] == deepest:
            alone = [r for r in rows if (r["cell"], r["num_layers"]) == (deep["cell"], 1)]
            # Around a single layer nothing goes: beside it, the one without help.
            own = [r for r in alone if r["helped_by"] == deep["helped_by"]] or alone
            counts = f"{counted(deep['reached'])} against {counted(own[0]['reached'])}"
            words.append(f"{deep['cell']}, {deep['helped_by']}: {counts}")
    return (
        f"The bar is {record['bar_nats']:.3f} nats a character. Trainings, of all seeds at all "
        f"learning rates, that reach it, {deepest} layers against one: {'; '.join(words)}."
    )
