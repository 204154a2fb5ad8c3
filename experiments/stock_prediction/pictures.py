"""Pictures of daily forecasts.

There is none of a forecast laid over the price: yesterday's price drawn one day late looks
like a prophecy, at any scale at which a year can be seen. What is drawn is what a forecast
is worth: whether its probabilities hold, and how it does fold by fold.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def figure_of(columns: int, rows: int = 1, size: tuple[float, float] = (4.6, 4.0)):
    """Return a figure and its axes, without pyplot's global state."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def reliability(
    path: Path,
    p_up: Floats,
    up: NDArray[np.bool_],
    variance: Mapping[str, Floats],
    squared: Floats,
    title: str,
) -> None:
    """Draw what was forecast against what came, in ten groups of equal size.

    Args:
      path: the PNG file.
      p_up: `[K]`, probabilities of the days that moved.
      up: `[K]`, whether they moved up.
      variance: forecasts `[J]` by method.
      squared: `[J]`, squared returns.
      title: the picture's title.
    """
    figure, ((direction, volatility),) = figure_of(2)
    groups = np.array_split(np.argsort(p_up, kind="stable"), 10)
    said = [p_up[group].mean() for group in groups]
    came = np.array([up[group].mean() for group in groups])
    error = [1.96 * np.sqrt(c * (1 - c) / len(g)) for c, g in zip(came, groups, strict=True)]
    # Shares of one day move together, so that the truth is wider than these.
    bars = "tenths of the forecasts,\nbars as if all were independent"
    direction.errorbar(said, came, yerr=error, fmt="o", capsize=2, label=bars)
    ends = [min(*said, *came) - 0.02, max(*said, *came) + 0.02]
    direction.plot(ends, ends, color="0.5", linestyle=":", label="as often as said")
    direction.axhline(up.mean(), color="0.5", linestyle="--", label="share of ups")
    direction.set(xlabel="probability of up", ylabel="share that went up", title="direction")
    for name, forecast in variance.items():
        groups = np.array_split(np.argsort(forecast, kind="stable"), 10)
        said = [100 * np.sqrt(forecast[group].mean()) for group in groups]
        came = [100 * np.sqrt(squared[group].mean()) for group in groups]
        volatility.plot(said, came, marker=".", label=name)
    low, high = volatility.get_xlim()
    volatility.plot([low, high], [low, high], color="0.5", linestyle=":", label="as said")
    volatility.set(xlabel="forecast, % a day", ylabel="root mean square return, %")
    volatility.set_title("volatility")
    for axes in (direction, volatility):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def folds(
    path: Path, results: Sequence[Mapping[str, Any]], panels: Mapping[str, Sequence[str]]
) -> None:
    """Draw metrics fold by fold: a point a seed, a line a baseline.

    Args:
      path: the PNG file.
      results: of each fold, as `daily_measure.measure` gives them.
      panels: for each metric the methods to show, the one with seeds first.
    """
    figure, (row,) = figure_of(len(panels))
    places = np.arange(len(results))
    for axes, (metric, methods) in zip(row, panels.items(), strict=True):
        _fold_panel(axes, places, results, metric, methods)
        axes.set_xticks(places, [fold["test"].replace(" to ", "\n") for fold in results])
        axes.tick_params(axis="x", labelsize="x-small")
        axes.set_title(metric)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")  # each has methods of its own
    figure.savefig(path, dpi=110)


def _fold_panel(
    axes: Axes,
    places: NDArray[np.integer],
    results: Sequence[Mapping[str, Any]],
    metric: str,
    methods: Sequence[str],
) -> None:
    for i, method in enumerate(methods):
        values = [fold["methods"][method][metric] for fold in results]
        if i == 0:
            for place, each in zip(places, values, strict=True):
                axes.scatter([place] * len(each), each, s=14, color="C0", alpha=0.5)
            axes.plot(places, [np.mean(each) for each in values], "C0o-", label=method)
        else:
            axes.plot(places, [each[0] for each in values], f"C{i}x--", label=method)


def forecast_examples(
    path: Path, names: Sequence[str], x: Floats, y: Floats, said: Mapping[str, Floats]
) -> None:
    """Draw examples of hourly forecasts, each after the last two days that were read.

    Args:
      path: the PNG file.
      names: of the V variables.
      x: `[E, T, V]`, what was read.
      y: `[E, horizon, V]`, what came.
      said: forecasts `[E, horizon, V]` by method.
    """
    variables = sorted({0, len(names) // 2, len(names) - 1})
    figure, rows = figure_of(len(x), len(variables), size=(4.0, 2.3))
    before, after = x[:, -48:], np.arange(y.shape[1]) + 1
    for row, v in zip(rows, variables, strict=True):
        for e, axes in enumerate(row):
            axes.plot(np.arange(-before.shape[1], 0) + 1, before[e, :, v], color="0.5")
            axes.plot(after, y[e, :, v], color="k", label="came")
            for name, forecast in said.items():
                axes.plot(after, forecast[e, :, v], label=name, linewidth=1.2)
            axes.set_title(names[v], fontsize="small")
            axes.grid(alpha=0.3)
    for axes in rows[-1]:
        axes.set_xlabel("hours ahead")
    rows[0, 0].legend(fontsize="x-small")
    figure.savefig(path, dpi=100)


def errors_by_hour(path: Path, errors: Mapping[str, Sequence[float]]) -> None:
    """Draw the mean squared error of each method by hours ahead."""
    figure, ((axes,),) = figure_of(1, size=(7.0, 4.5))
    for name, values in errors.items():
        axes.plot(np.arange(len(values)) + 1, values, label=name)
    axes.set(xlabel="hours ahead", ylabel="MSE in deviations", ylim=(0.0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
