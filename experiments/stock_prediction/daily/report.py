"""What a run on daily prices says at its end: a table, pictures, and a plain verdict.

There is no picture of a forecast laid over the price: yesterday's price drawn one day late
looks like a prophecy, at any scale at which a year can be seen. What is drawn is what a
forecast is worth: whether its probabilities hold, and how it does fold by fold.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.common import plots
from experiments.common.experiment import Trained
from experiments.stock_prediction.daily.baselines import DIRECTION, VOLATILITY
from experiments.stock_prediction.daily.data import Data
from experiments.stock_prediction.daily.measure import Collected
from experiments.stock_prediction.daily.problem import validation
from experiments.stock_prediction.measure import ENSEMBLE, NETWORK
from experiments.stock_prediction.report import cell, ending, table_row, verdict

PUBLISHED_ACL18 = "published LSTM (Feng et al. 2019): accuracy 53.18 %, MCC 0.067"
# What is shown of each question, and by whom it is answered.
_TABLES = {
    "direction": (("accuracy", "mcc", "nats"), DIRECTION),
    "volatility": (("qlike",), VOLATILITY),
}
_WORDS = {
    "accuracy": "accuracy of the direction",
    "mcc": "MCC of the direction",
    "nats": "nats of the direction",
    "qlike": "QLIKE of the volatility",
}
_PANELS = {  # in the picture of the folds, the one with seeds first
    "accuracy": (NETWORK, "always up", "AR(5)"),
    "mcc": (NETWORK, "AR(5)"),
    "qlike": (NETWORK, *VOLATILITY),
}
_PANEL = (4.6, 4.0)  # inches


def describe(data: Data) -> str:
    """Return what is learned from, its licence, and what was done to it."""
    dates = data.panel.next_dates[data.panel.asked]
    lines = [
        f"data {data.name}: {len(data.series)} series, {len(dates):,} days to "
        f"forecast from {dates.min()} to {dates.max()}; licence: {data.licence}"
    ]
    lines += [f"  {note}" for note in data.notes]
    for i, fold in enumerate(data.folds, 1):
        later = "" if fold.later is None else f", later {fold.later}"
        lines.append(
            f"  fold {i}: train {fold.train}, validation {fold.valid}, test {fold.test}{later}"
        )
    return "\n".join(lines)


def report(trained: Trained, data: Data, result: Mapping[str, Any], found: Collected) -> str:
    """Draw learning curve, reliability and metrics by fold, and return the text that ends a run."""
    folder = trained.folder
    shape = (len(data.folds), trained.config.num_seeds, *data.panel.up.shape)
    start = np.full(shape, 0.5), np.broadcast_to(data.panel.variance, shape)
    level = float(validation(trained.config, data, start)[0].mean())
    plots.draw_run(
        folder,
        "loss",
        {"a coin and the EWMA, validation": level},
        ylabel="loss, mean over models",
        title=f"stock prediction: {data.name}",
    )
    reliability(folder / "reliability.png", found, f"{data.name}, test days")
    folds(folder / "folds.png", result["folds"])
    lines = summary(result) + ending(result, folder, "reliability.png, folds.png", "prices")
    return "\n".join(lines)


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return the lines of tables and verdicts."""
    lines = []
    for name in ("test", "later"):
        if name in result:
            found = result[name]["comparisons"]
            lines += ["", *_tables(name, result[name]), ""]
            lines += [verdict(_WORDS[metric], one) for metric, one in found.items()]
    if result["data"] == "acl18":
        test = result["test"]
        low, high = test["methods"]["always up"]["accuracy"]["days"]
        lines += [
            "",
            PUBLISHED_ACL18,
            f"its {test['days']} test days hold {test['moves']:,} moves, but alone from which days "
            f"they are, always up lies anywhere from {100 * low:.1f} to {100 * high:.1f} %",
        ]
    return lines


def _tables(name: str, period: Mapping[str, Any]) -> list[str]:
    """Return the lines of one period's tables, of the direction and of the volatility."""
    lines = [
        f"{name}: {period['from']} to {period['to']}, {period['days']:,} days, "
        f"{period['forecasts']:,} forecasts, {period['moves']:,} of them moves up or down",
    ]
    for title, (metrics, baselines) in _TABLES.items():
        names = ["accuracy, %" if metric == "accuracy" else metric for metric in metrics]
        lines.append(table_row(title, names))
        for method in (NETWORK, ENSEMBLE, *baselines):
            found = period["methods"][method]
            cells = [
                cell(found[metric], scale=100.0, digits=2)
                if metric == "accuracy"
                else cell(found[metric])
                for metric in metrics
            ]
            lines.append(table_row(f"  {method}", cells))
    return lines


def reliability(path: Path, found: Collected, title: str) -> None:
    """Draw what was forecast against what came, in ten groups of equal size.

    Drawn are the direction of the seeds' mean, on moves alone, and all volatilities.
    """
    picture, (direction, volatility) = plots.figure(2, size=_PANEL)
    answers = found.answers
    p_up, up = found.said[ENSEMBLE][0].p_up[answers.moved], answers.up[answers.moved]
    groups = _tenths(p_up)
    x = [p_up[group].mean() for group in groups]
    came = np.array([up[group].mean() for group in groups])
    error = [1.96 * np.sqrt(c * (1 - c) / len(g)) for c, g in zip(came, groups, strict=True)]
    # Shares of one day move together, so that the truth is wider than these.
    bars = "tenths of the forecasts,\nbars as if all were independent"
    direction.errorbar(x, came, yerr=error, fmt="o", capsize=2, label=bars)
    ends = [min(*x, *came) - 0.02, max(*x, *came) + 0.02]
    direction.plot(ends, ends, color="0.5", linestyle=":", label="as often as said")
    direction.axhline(up.mean(), color="0.5", linestyle="--", label="share of ups")
    direction.set(xlabel="probability of up", ylabel="share that went up", title="direction")
    for name in (ENSEMBLE, *VOLATILITY):
        variance = found.said[name][0].variance
        groups = _tenths(variance)
        x = [100 * np.sqrt(variance[group].mean()) for group in groups]
        came = [100 * np.sqrt(answers.squared[group].mean()) for group in groups]
        volatility.plot(x, came, marker=".", label=name)
    low, high = volatility.get_xlim()
    volatility.plot([low, high], [low, high], color="0.5", linestyle=":", label="as said")
    volatility.set(xlabel="forecast, % a day", ylabel="root mean square return, %")
    volatility.set_title("volatility")
    for axes in (direction, volatility):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    picture.suptitle(title)
    picture.savefig(path, dpi=110)


def _tenths(forecast: NDArray[np.floating]) -> list[NDArray[np.integer]]:
    """Return which forecasts are of each tenth, the lowest first."""
    return np.array_split(np.argsort(forecast, kind="stable"), 10)


def folds(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Draw metrics fold by fold, as `measure` gives them: a point a seed, a line a baseline."""
    picture, row = plots.figure(len(_PANELS), size=_PANEL)
    places = np.arange(len(results))
    for axes, (metric, methods) in zip(row, _PANELS.items(), strict=True):
        for i, method in enumerate(methods):
            values = [fold["methods"][method][metric] for fold in results]
            means = [np.mean(each) for each in values]
            axes.plot(places, means, f"C{i}{'x--' if i else 'o-'}", label=method)
            if i == 0:
                for place, each in zip(places, values, strict=True):
                    axes.scatter([place] * len(each), each, s=14, color="C0", alpha=0.5)
        axes.set_xticks(places, [fold["test"].replace(" to ", "\n") for fold in results])
        axes.tick_params(axis="x", labelsize="x-small")
        axes.set_title(metric)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")  # each has methods of its own
    picture.savefig(path, dpi=110)
