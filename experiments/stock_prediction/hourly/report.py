"""What a run on hourly windows says at its end: a table, pictures, and a plain verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots
from experiments.common.experiment import Trained
from experiments.stock_prediction.hourly.baselines import BASELINES, LINEAR, SEASONAL
from experiments.stock_prediction.hourly.data import Hourly
from experiments.stock_prediction.hourly.measure import Windows
from experiments.stock_prediction.hourly.metrics import METRICS
from experiments.stock_prediction.measure import ENSEMBLE, NETWORK, Floats
from experiments.stock_prediction.report import cell, ending, table_row, verdict


def report(trained: Trained, data: Hourly, result: Mapping[str, Any], found: Windows) -> str:
    """Draw learning curve, examples and errors by hour, and return the text that ends a run."""
    plots.draw_run(
        trained.folder,
        "loss",
        {},
        ylabel="MSE in deviations, mean over seeds",
        title=f"ETTh1, {trained.config.horizon} hours ahead",
    )
    chosen = np.linspace(0, len(found.x) - 1, 4).astype(int)
    said = {name: found.said[name][0][chosen] for name in (ENSEMBLE, LINEAR, SEASONAL)}
    forecast_examples(
        trained.folder / "forecasts.png", data.hours.names, found.x[chosen], found.y[chosen], said
    )
    errors_by_hour(trained.folder / "errors_by_hour.png", result["by_hour"])
    pictures = "forecasts.png, errors_by_hour.png"
    return "\n".join(summary(result) + ending(result, trained.folder, pictures, "hours"))


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return the lines of table and verdicts."""
    test = result["test"]
    lines = [
        "",
        f"test: {test['windows']:,} windows over {test['days']} days, errors in deviations of "
        "the training months",
        table_row("", [metric.upper() for metric in METRICS]),
    ]
    for method in (NETWORK, ENSEMBLE, *BASELINES):
        cells = [cell(test["methods"][method][metric], digits=4) for metric in METRICS]
        lines.append(table_row(method, cells))
    verdicts = [verdict(metric.upper(), found) for metric, found in test["comparisons"].items()]
    return [*lines, "", *verdicts]


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
    picture, rows = plots.figure(len(x), len(variables), size=(4.0, 2.3), squeeze=False)
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
    picture.savefig(path, dpi=100)


def errors_by_hour(path: Path, errors: Mapping[str, Sequence[float]]) -> None:
    """Draw the mean squared error of each method by hours ahead."""
    picture, axes = plots.figure()
    for name, values in errors.items():
        axes.plot(np.arange(len(values)) + 1, values, label=name)
    axes.set(xlabel="hours ahead", ylabel="MSE in deviations", ylim=(0.0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    picture.savefig(path, dpi=110)
