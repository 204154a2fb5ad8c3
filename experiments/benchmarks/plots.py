"""Pictures of a result: ratios as bars, growth as curves."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.benchmarks import figures, growth
from experiments.benchmarks.figures import Result, Timing
from experiments.benchmarks.statistics import spread


def _new_figure(width: float, height: float) -> Figure:
    # No pyplot: its global state would pick a window system and keep figures alive.
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw(result: Result, out: Path) -> list[Path]:
    """Draw all that a result has, one PNG a measure and one an axis, and return their paths."""
    paths = []
    for measure, rows in figures.timings_by_measure(result).items():
        if any(figures.ratios_of(timing) for timing in rows.values()):
            paths.append(out / f"ratios-{measure}.png")
            draw_ratios(paths[-1], measure, rows)
    for axis in growth.AXES:
        if figures.growth_curves(result, axis, ("train",)):
            paths.append(out / f"growth-{axis}.png")
            draw_growth(paths[-1], result, axis)
    return paths


def draw_ratios(path: Path, measure: str, rows: Mapping[str, Timing]) -> None:
    """Draw ours / other for each row as bars with their quartiles."""
    ratios = {name: figures.ratios_of(timing) for name, timing in rows.items()}
    entries = figures.others_of(rows)
    figure = _new_figure(8, 1.5 + 0.1 * len(ratios) * (len(entries) + 1))
    axes = figure.add_subplot()
    height = 1 / (len(entries) + 1)
    for index, entry in enumerate(entries):
        places, medians, errors = [], [], []
        for place, row in enumerate(ratios.values()):
            if row.get(entry):
                middle = spread(row[entry])
                places.append(place + (index - (len(entries) - 1) / 2) * height)
                medians.append(middle.median)
                errors.append((middle.median - middle.low, middle.high - middle.median))
        bars = list(zip(*errors, strict=True))
        axes.barh(places, medians, height, xerr=bars, label=entry, error_kw={"linewidth": 0.7})
    axes.axvline(1.0, color="0.2", linewidth=1)
    axes.set_yticks(range(len(ratios)), list(ratios))
    axes.set_ylim(len(ratios) - 0.5, -0.5)
    axes.set_xlabel("ours / other: median of paired ratios, with quartiles; below 1 ours is less")
    axes.set_title(measure)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=120)


def draw_growth(path: Path, result: Result, axis: str) -> None:
    """Draw the train step's time along an axis, and trace + compile where it was measured."""
    panels = {"train step, s": ("train",), "trace + compile, s": ("trace", "compile")}
    curves = {title: figures.growth_curves(result, axis, m) for title, m in panels.items()}
    curves = {title: found for title, found in curves.items() if found}
    figure = _new_figure(6 * len(curves), 4.5)
    for index, (title, found) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), index + 1)
        powers = figures.exponents(result, axis, panels[title])
        for entry, points in found.items():
            sizes, values = zip(*points, strict=True)
            power = f"  p = {powers[entry]:.2f}" if entry in powers else ""
            axes.plot(sizes, values, marker=".", label=entry + power)
        axes.set_xscale("log", base=2)
        if panels[title] == ("train",):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)  # flat is what it should be
        axes.set_xlabel(f"{axis}, {growth.AXES[axis].replace('_', ' ')}")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    figure.savefig(path, dpi=120)
