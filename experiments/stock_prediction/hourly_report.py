"""What a run on hourly windows comes to, and what it says at its end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.common.metrics import curve_of, read_metrics
from experiments.common.plots import learning_curve
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.figures import (
    ENSEMBLE,
    NETWORK,
    NOTE,
    cell,
    comparison,
    figures,
    verdict,
)
from experiments.stock_prediction.hourly import Hourly
from experiments.stock_prediction.hours import window_starts, windows_at
from experiments.stock_prediction.intervals import block_length, bootstrap_weights, resample
from experiments.stock_prediction.linear import (
    DAY,
    LINEAR,
    PERSISTENCE,
    SEASONAL,
    fit_linear,
    persistence,
    seasonal,
)
from experiments.stock_prediction.pictures import errors_by_hour, forecast_examples

Floats = NDArray[np.floating]

BASELINES = (PERSISTENCE, SEASONAL, LINEAR)
METRICS = ("mse", "mae")


def describe(task: Hourly) -> str:
    """Return what is learned from and its licence."""
    hours = task.hours
    return (
        f"data etth1: {len(hours.times):,} hours of {', '.join(hours.names)} from "
        f"{hours.times[0]}; 12, 4 and 4 months to learn from, choose by and measure on; "
        "licence: CC BY-ND 4.0"
    )


def measure(config: Config, task: Hourly, params: Any) -> dict[str, Any]:
    """Return errors on the test months, in deviations of the training months.

    Returns:
      For the network, the mean of its seeds and each baseline MSE and MAE with intervals,
      by variable and by hour ahead; and how the network compares with the best baseline.
    """
    x, y = test_windows(config, task)
    said = forecasts_of(config, task, params, x)
    day = np.arange(len(y)) // DAY
    # Windows of up to `horizon` hours apart are of the same hours.
    block = block_length(int(day[-1]) + 1, at_least=-(-config.horizon // DAY) + 1)
    weights = bootstrap_weights(int(day[-1]) + 1, block, config.bootstrap_draws, config.seed)
    found = {
        name: resample(np.stack([day_sums(one, y, day) for one in each]), weights, metrics_of)
        for name, each in said.items()
    }
    return {
        "kind": "hourly",
        "test": {
            "windows": len(y),
            "days": int(day[-1]) + 1,
            "block_days": block,
            "methods": {name: figures(one, METRICS) for name, one in found.items()},
            "comparisons": {
                metric: comparison(found, BASELINES, metric, higher_is_better=False)
                for metric in METRICS
            },
        },
        "by_variable": {
            name: dict(zip(task.hours.names, _mse(each, y, (0, 1)), strict=True))
            for name, each in said.items()
        },
        "by_hour": {name: _mse(each, y, (0, 2)) for name, each in said.items()},
    }


def test_windows(config: Config, task: Hourly) -> tuple[Floats, Floats]:
    """Return what is read and what follows, of all windows of the test months."""
    starts = window_starts("test", config.input_length, config.horizon, len(task.values))
    return windows_at(task.values, starts, config.input_length, config.horizon)


def forecasts_of(config: Config, task: Hourly, params: Any, x: Floats) -> dict[str, list[Floats]]:
    """Return every method's forecasts: one a seed for the network, else one in all."""
    network = task.forecast(params, x)
    linear = fit_linear(task.values.astype(np.float64), config.input_length, config.horizon)
    return {
        NETWORK: list(network),
        ENSEMBLE: [network.mean(axis=0)],
        PERSISTENCE: [persistence(x, config.horizon)],
        SEASONAL: [seasonal(x, config.horizon)],
        LINEAR: [linear(x)],
    }


def day_sums(forecast: Floats, y: Floats, day: NDArray[np.integer]) -> Floats:
    """Return squared errors, absolute errors and their number, summed by day: `[D, 3]`."""
    error = np.asarray(forecast, np.float64) - y
    columns = (
        np.square(error).sum(axis=(1, 2)),
        np.abs(error).sum(axis=(1, 2)),
        np.full(len(y), error[0].size),
    )
    return np.stack([np.bincount(day, column) for column in columns], axis=-1).astype(np.float64)


def metrics_of(sums: Floats) -> Mapping[str, Floats]:
    """Return MSE and MAE of sums `[..., 3]`."""
    return {"mse": sums[..., 0] / sums[..., 2], "mae": sums[..., 1] / sums[..., 2]}


def _mse(forecasts: list[Floats], y: Floats, axis: tuple[int, int]) -> list[float]:
    """Return the mean squared error along what is left, the mean over seeds."""
    each = [np.square(np.asarray(one, np.float64) - y).mean(axis=axis) for one in forecasts]
    return np.mean(each, axis=0).tolist()


def draw(
    folder: Path, config: Config, task: Hourly, params: Any, result: Mapping[str, Any]
) -> None:
    """Write the pictures: learning curve, examples, and errors by hour ahead."""
    records = read_metrics(folder)
    curves = {name: curve_of(records, f"{name}_loss") for name in ("train", "validation")}
    learning_curve(
        folder / "learning_curve.png",
        curves,
        {},
        ylabel="MSE in deviations, mean over seeds",
        title=f"ETTh1, {config.horizon} hours ahead",
    )
    x, y = test_windows(config, task)
    chosen = np.linspace(0, len(x) - 1, 4).astype(int)
    said = forecasts_of(config, task, params, x[chosen])
    shown = {name: said[name][0] for name in (ENSEMBLE, LINEAR, SEASONAL)}
    forecast_examples(folder / "forecasts.png", task.hours.names, x[chosen], y[chosen], shown)
    errors_by_hour(folder / "errors_by_hour.png", result["by_hour"])


def summary(result: Mapping[str, Any], folder: Path) -> str:
    """Return the text that ends a run."""
    test = result["test"]
    lines = [
        "",
        f"test: {test['windows']:,} windows over {test['days']} days, errors in deviations of "
        "the training months",
        f"{'':24}{'MSE':>32}{'MAE':>32}",
    ]
    for method in (NETWORK, ENSEMBLE, *BASELINES):
        cells = [cell(test["methods"][method][metric], digits=4) for metric in METRICS]
        lines.append(f"{method:24}" + "".join(f"{one:>32}" for one in cells))
    lines.append("")
    lines += [verdict(metric.upper(), found) for metric, found in test["comparisons"].items()]
    lines += [
        "",
        NOTE,
        f"{result['seconds']:.0f} s of training, {result['wall_seconds']:.0f} s in all",
        f"files: {folder}/ (checkpoints, metrics.jsonl, tensorboard, learning_curve.png,",
        "       forecasts.png, errors_by_hour.png, result.json)",
        "forecast your own hours: python -m experiments.stock_prediction --predict FILE.csv",
    ]
    return "\n".join(lines)
