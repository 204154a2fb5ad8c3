"""What a run on daily prices says at its end: a table, pictures, and a plain verdict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.metrics import curve_of, read_metrics
from experiments.common.plots import learning_curve
from experiments.stock_prediction import pictures
from experiments.stock_prediction.baselines import DIRECTION, VOLATILITY
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily import Daily, untrained_loss
from experiments.stock_prediction.daily_measure import collect, measure
from experiments.stock_prediction.figures import ENSEMBLE, NETWORK, NOTE, cell, verdict

__all__ = ["describe", "draw", "measure", "summary"]

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


def describe(task: Daily) -> str:
    """Return what is learned from, its licence, and what was done to it."""
    data, asked = task.data, ~np.isnat(task.panel.next_dates)
    dates = task.panel.next_dates[asked]
    lines = [
        f"data {data.name}: {len(data.series)} series, {asked.sum():,} days to forecast from "
        f"{dates.min()} to {dates.max()}; licence: {data.licence}"
    ]
    lines += [f"  {note}" for note in data.notes]
    for i, fold in enumerate(data.folds, 1):
        later = "" if fold.later is None else f", later {fold.later}"
        lines.append(
            f"  fold {i}: train {fold.train}, validation {fold.valid}, test {fold.test}{later}"
        )
    return "\n".join(lines)


def draw(folder: Path, config: Config, task: Daily, params: Any, result: Mapping[str, Any]) -> None:
    """Write the pictures: learning curve, reliability, and metrics by fold."""
    records = read_metrics(folder)
    curves = {name: curve_of(records, f"{name}_loss") for name in ("train", "validation")}
    learning_curve(
        folder / "learning_curve.png",
        curves,
        {"a coin and the EWMA, validation": untrained_loss(config, task)},
        ylabel="loss, mean over models",
        title=f"stock prediction: {task.data.name}",
    )
    periods = [fold.test for fold in task.data.folds]
    answers, _, said = collect(task, task.forecast_all(params), periods)
    network = said[ENSEMBLE][0]
    assert network.p_up is not None
    variances = {name: said[name][0].variance for name in (ENSEMBLE, *VOLATILITY)}
    pictures.reliability(
        folder / "reliability.png",
        network.p_up[answers.moved],
        answers.up[answers.moved],
        {name: v for name, v in variances.items() if v is not None},
        answers.squared,
        f"{task.data.name}, test days",
    )
    panels = {
        "accuracy": (NETWORK, "always up", "AR(5)"),
        "mcc": (NETWORK, "AR(5)"),
        "qlike": (NETWORK, *VOLATILITY),
    }
    pictures.folds(folder / "folds.png", result["folds"], panels)


def summary(result: Mapping[str, Any], folder: Path) -> str:
    """Return the text that ends a run."""
    lines = []
    for name in ("test", "later"):
        if name in result:
            found = result[name]["comparisons"]
            lines += ["", *_tables(name, result[name]), ""]
            lines += [verdict(_WORDS[metric], one) for metric, one in found.items()]
    if result["data"] == "acl18":
        lines += ["", PUBLISHED_ACL18]
        test = result["test"]
        low, high = test["methods"]["always up"]["accuracy"]["days"]
        lines.append(
            f"its {test['days']} test days hold {test['moves']:,} moves, but alone from which days "
            f"they are, always up lies anywhere from {100 * low:.1f} to {100 * high:.1f} %"
        )
    lines += [
        "",
        NOTE,
        f"{result['seconds']:.0f} s of training, {result['wall_seconds']:.0f} s in all",
        f"files: {folder}/ (checkpoints, metrics.jsonl, tensorboard, learning_curve.png,",
        "       reliability.png, folds.png, result.json)",
        "forecast your own prices: python -m experiments.stock_prediction --predict FILE.csv",
    ]
    return "\n".join(lines)


def _tables(name: str, period: Mapping[str, Any]) -> list[str]:
    """Return the lines of one period's tables, of the direction and of the volatility."""
    lines = [
        f"{name}: {period['from']} to {period['to']}, {period['days']:,} days, "
        f"{period['forecasts']:,} forecasts, {period['moves']:,} of them moves up or down",
    ]
    for title, (metrics, baselines) in _TABLES.items():
        names = ["accuracy, %" if metric == "accuracy" else metric for metric in metrics]
        lines.append(f"{title:24}" + "".join(f"{one:>32}" for one in names))
        for method in (NETWORK, ENSEMBLE, *baselines):
            found = period["methods"][method]
            cells = [
                cell(found[metric], scale=100.0, digits=2)
                if metric == "accuracy"
                else cell(found[metric])
                for metric in metrics
            ]
            lines.append(f"  {method:22}" + "".join(f"{one:>32}" for one in cells))
    return lines
