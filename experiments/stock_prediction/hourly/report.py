"""What a run on hourly windows says at its end: a table, pictures, and a plain verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots
from experiments.common.experiment import Trained
from experiments.stock_prediction.hourly.baselines import BASELINES, LINEAR, SEASONAL
from experiments.stock_prediction.hourly.data import ETTH1, Data
from experiments.stock_prediction.hourly.measure import Windows
from experiments.stock_prediction.hourly.metrics import METRICS
from experiments.stock_prediction.measure import ENSEMBLE, NETWORK
from experiments.stock_prediction.report import cell, ending, table_row, verdict


def describe(data: Data) -> str:
    """Return what is learned from and its licence."""
    times = data.hours.times
    return (
        f"data etth1: {len(times):,} hours of {', '.join(data.hours.names)} from {times[0]}; "
        f"12, 4 and 4 months to learn from, choose by and measure on; licence: {ETTH1.licence}"
    )


def report(trained: Trained, data: Data, result: Mapping[str, Any], found: Windows) -> str:
    """Draw learning curve, examples and errors by hour, and return the text that ends a run."""
    folder = trained.folder
    title = f"ETTh1, {trained.config.horizon} hours ahead"
    plots.draw_run(folder, "loss", {}, ylabel="MSE in deviations, mean over seeds", title=title)
    forecast_examples(folder / "forecasts.png", data.hours.names, found)
    errors_by_hour(folder / "errors_by_hour.png", result["by_hour"])
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
    lines += ["", *(verdict(metric.upper(), one) for metric, one in test["comparisons"].items())]
    pictures = "forecasts.png, errors_by_hour.png"
    return "\n".join(lines + ending(result, folder, pictures, "hours"))


def forecast_examples(path: Path, names: Sequence[str], found: Windows) -> None:
    """Draw four windows of three variables, each after the last two days that were read."""
    chosen = np.linspace(0, len(found.x) - 1, 4).astype(int)
    x, y = found.x[chosen], found.y[chosen]
    variables = sorted({0, len(names) // 2, len(names) - 1})
    picture, rows = plots.figure(len(x), len(variables), size=(4.0, 2.3), squeeze=False)
    before, after = x[:, -48:], np.arange(y.shape[1]) + 1
    for row, v in zip(rows, variables, strict=True):
        for e, axes in enumerate(row):
            axes.plot(np.arange(-before.shape[1], 0) + 1, before[e, :, v], color="0.5")
            axes.plot(after, y[e, :, v], color="k", label="came")
            for name in (ENSEMBLE, LINEAR, SEASONAL):
                said = found.said[name][0][chosen[e], :, v]
                axes.plot(after, said, label=name, linewidth=1.2)
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
