"""Tables of a result, in Markdown that also reads well on a screen."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from experiments.benchmarks import figures, growth
from experiments.benchmarks.figures import Result, Timing
from experiments.benchmarks.peers.registry import OURS
from experiments.benchmarks.plan import SCAN
from experiments.benchmarks.scans import bars
from experiments.benchmarks.statistics import spread

NONE = "-"
SHOWN_ROWS = 3  # in the lists of notes and of what was not run


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table with aligned columns, the first to the left."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, rule)
    return [
        "| " + " | ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ) + " |"
        for line in lines
    ]  # fmt: skip


def show(timing: Timing, entry: str) -> str:
    """Return an entry's median, with its unit."""
    samples = timing["samples"].get(entry)
    if not samples:
        return NONE
    value = spread(samples).median
    if timing["unit"] == "bytes":
        return f"{value / 2**20:.1f} MiB"
    return f"{1e3 * value:.2f} ms" if value < 100 else f"{value:.0f} s"


def show_ratios(ratios: Sequence[float] | None) -> str:
    """Return the median of ratios, and their quartiles where there are several."""
    if not ratios:
        return NONE
    middle = spread(ratios)
    quartiles = f" ({middle.low:.2f}-{middle.high:.2f})" if len(ratios) > 1 else ""
    return f"{middle.median:.2f}{quartiles}"


def show_ceiling(timing: Timing) -> str:
    """Return which part of the large product's rate our products reach."""
    fractions = figures.ceiling_fractions(timing)
    return f"{spread(fractions).median:.0%}" if fractions else NONE


def row_lines(name: str, record: Result) -> Iterator[str]:
    """Return one line a measure, as a run goes on."""
    for measure, timing in record["measures"].items():
        ratios = figures.ratios_of(timing).items()
        others = "  ".join(f"{entry} {spread(r).median:.2f}" for entry, r in ratios)
        yield (
            f"{name:<28} {measure:<15} {show(timing, OURS):>12} {show_ceiling(timing):>5}  "
            f"ours/ {others or 'nobody'}"
        )
        for entry, message in timing.get("errors", {}).items():
            yield f"{name:<28} {measure:<15} FAILED {entry}: {message}"
    for entry, message in record["errors"].items():
        yield f"{name:<28} FAILED {entry}: {message}"


def measure_table(rows: Mapping[str, Timing]) -> list[str]:
    """Return one measure's table: our value, and ours / other for each other entry."""
    others = figures.others_of(rows)
    bounded = any("flop" in timing for timing in rows.values())
    header = ["row", "ours", *(["of ceiling"] if bounded else []), *(f"/ {e}" for e in others)]
    lines = []
    for name, timing in rows.items():
        ratios = figures.ratios_of(timing)
        line = [name, show(timing, OURS), *([show_ceiling(timing)] if bounded else [])]
        lines.append([*line, *(show_ratios(ratios.get(entry)) for entry in others)])
    return table(header, lines)


def mean_table(result: Result) -> list[str]:
    """Return the table of means over the rows."""
    lines = [
        [measure, other, f"{mean.geometric_mean:.3f}", f"{mean.worst:.2f} {mean.worst_row}",
         str(mean.rows)]
        for measure, other, mean in figures.means(result)
    ]  # fmt: skip
    return table(["measure", "ours /", "geometric mean", "worst row", "rows"], lines)


def wavefront_table(result: Result) -> list[str]:
    """Return wavefront / layerwise, a line for each row."""
    lines = [
        [name, *(show_ratios(ratios.get(measure)) for measure in figures.SEQUENCES)]
        for name, ratios in figures.against_layerwise(result).items()
    ]
    return table(["row", *figures.SEQUENCES], lines)


def growth_table(result: Result) -> list[str]:
    """Return the exponents with which time grows, a line for each sweep."""
    lines, entries = [], {}
    for axis in growth.AXES:
        for title, measures in (("train", ("train",)), ("trace + compile", ("trace", "compile"))):
            powers = figures.exponents(result, axis, measures)
            if powers:
                sizes = [size for size, _ in figures.growth_curves(result, axis, measures)[OURS]]
                entries |= dict.fromkeys(powers)
                lines.append((f"{title}, {axis} = {sizes[0]} ... {sizes[-1]}", powers))
    shown = [
        [title, *(f"{powers[e]:.2f}" if e in powers else NONE for e in entries)]
        for title, powers in lines
    ]
    return table(["time ~ size^p", *entries], shown)


def scan_table(rows: Mapping[str, Result]) -> list[str]:
    """Return our scan / `lax.scan`, a line for each code, and the geometric means."""
    lines = []
    for name, record in rows.items():
        ratios = bars.scan_ratios(record)
        lines.append([name, *(show_ratios(ratios.get(column)) for column in bars.COLUMNS)])
    means = bars.scan_means(rows)
    shown = (f"{means[column]:.3f}" if column in means else NONE for column in bars.COLUMNS)
    return table(["row", *bars.COLUMNS], [*lines, [bars.ALL_ROWS, *shown]])


def bar_table(rows: Mapping[str, Result]) -> list[str]:
    """Return what our scan must pass, and whether it does."""
    lines = [
        [f"{bar.column}, {bar.of}", f"<= {bar.limit:.2f}", f"{found:.3f} {row}".rstrip(),
         "yes" if passed else "NO"]
        for bar, found, row, passed in bars.judged(rows)
    ]  # fmt: skip
    return table(["bar", "limit", "found", "passed"], lines)


def report(result: Result) -> Iterator[str]:
    """Return all tables, what the reader should know, and what could not be run and why."""
    for measure, rows in figures.timings_by_measure(result).items():
        yield from ["", f"## {measure}", "", *measure_table(rows)]
    if any(True for _ in figures.means(result)):
        yield from ["", "## Means over the rows", "", *mean_table(result)]
    if figures.against_layerwise(result):
        yield from ["", "## Wavefront / layerwise", "", *wavefront_table(result)]
    if any(result["groups"].get(axis) for axis in growth.AXES):
        yield from ["", "## Growth", "", *growth_table(result)]
    codes = result["groups"].get(SCAN)
    if codes:
        yield from ["", "## Our scan / lax.scan", "", *scan_table(codes), "", *bar_table(codes)]
    yield from _special_lines(result)
    yield from _said_lines("Notes", figures.notes(result))
    yield from _said_lines("Not run", figures.reasons(result))


def _special_lines(result: Result) -> Iterator[str]:
    """Return figures that stand for themselves."""
    lines = []
    for (name, measure), others in figures.checkpoint_memory(result).items():
        shown = ", ".join(f"{entry} {ratio:.3f}" for entry, ratio in others.items())
        lines.append(f'- checkpoint_every="sqrt", {measure}, {name}: ours / {shown}')
    compile_curves = figures.growth_curves(result, "L", ("trace", "compile"))
    if OURS in compile_curves and "linen" in compile_curves:
        depth, deep = compile_curves[OURS][-1]
        single = dict(compile_curves["linen"]).get(1)
        if single:
            lines.append(f"- trace + compile, ours with {depth} layers / linen with 1: "
                         f"{deep / single:.2f}")  # fmt: skip
    if lines:
        yield from ["", "## Also", "", *lines]


def _said_lines(title: str, said: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Return a section of what is said of entries, and in which rows."""
    if said:
        yield from ["", f"## {title}", ""]
    for text, names in said.items():
        more = f" and {len(names) - SHOWN_ROWS} more" if len(names) > SHOWN_ROWS else ""
        yield f"- {text} [{', '.join(names[:SHOWN_ROWS])}{more}]"
