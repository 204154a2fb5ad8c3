"""What finished models come to on days that had no part in them, beside the baselines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.stock_prediction import baselines
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily import Daily, answers_of
from experiments.stock_prediction.figures import ENSEMBLE, NETWORK, comparison, figures
from experiments.stock_prediction.intervals import block_length, bootstrap_weights, resample
from experiments.stock_prediction.metrics import (
    HIGHER_IS_BETTER,
    METRICS,
    Answers,
    Forecasts,
    day_sums,
    metrics_of,
)
from experiments.stock_prediction.splits import Period


def measure(config: Config, task: Daily, params: Any) -> dict[str, Any]:
    """Return the figures of the test folds, of each fold, and of later days if there are.

    Args:
      config: the settings.
      task: the data.
      params: of all models, leaves `[F*S, ...]`.

    Returns:
      For every period: days, forecasts, moves; each method's metrics with intervals; and
      what the network is compared with, per metric the best baseline there.
    """
    forecasts = task.forecast_all(params)
    folds = task.data.folds
    result: dict[str, Any] = {"kind": "daily", "data_notes": list(task.data.notes)}
    for name in folds[0].evaluated:
        periods = [fold.evaluated[name] for fold in folds]
        result[name] = _measure_period(config, task, forecasts, periods)
    result["folds"] = [
        {"test": str(fold.test), "train": str(fold.train), **_of_one_fold(task, forecasts, f)}
        for f, fold in enumerate(folds)
    ]
    return result


def collect(
    task: Daily, forecasts: tuple[NDArray, NDArray], periods: Sequence[Period | None]
) -> tuple[Answers, NDArray[np.datetime64], dict[str, list[Forecasts]]]:
    """Return answers and all methods' forecasts for a period of each fold, put together.

    Args:
      task: the data.
      forecasts: p_up and variance, `[F, S, T, N]`.
      periods: of each fold; None leaves a fold out.

    Returns:
      The answers `[K]`, their dates `[D]`, and each method's forecasts `[K]`: one a seed
      for the network, one in all for the others.
    """
    masks = [None if period is None else period.holds(task.panel.next_dates) for period in periods]
    chosen = [(f, days) for f, days in enumerate(masks) if days is not None]
    answers, dates = _joined(task, [days for _, days in chosen])
    p_up, variance = (
        np.concatenate([forecast[f][:, days] for f, days in chosen], axis=1)
        for forecast in forecasts
    )
    said = {
        NETWORK: [Forecasts(p, v) for p, v in zip(p_up, variance, strict=True)],
        ENSEMBLE: [Forecasts(p_up.mean(axis=0), variance.mean(axis=0))],
    }
    parts = [
        baselines.forecast(task.baselines[f], task.panel, days, task.data.moves)
        for f, days in chosen
    ]
    for name in parts[0]:
        said[name] = [_concatenated([part[name] for part in parts])]
    return answers, dates, said


def _joined(
    task: Daily, masks: Sequence[NDArray[np.bool_]]
) -> tuple[Answers, NDArray[np.datetime64]]:
    """Return the answers of several folds, with their days counted through."""
    found, parts, days_before = [], [], 0
    for days in masks:
        answers, dates = answers_of(task.panel, days)
        found.append(answers._replace(day=answers.day + days_before))
        parts.append(dates)
        days_before += len(dates)
    joined = Answers(*(np.concatenate(column) for column in zip(*found, strict=True)))
    return joined, np.concatenate(parts)


def _concatenated(parts: Sequence[Forecasts]) -> Forecasts:
    def together(name: str) -> NDArray | None:
        columns = [getattr(part, name) for part in parts]
        return None if columns[0] is None else np.concatenate(columns)

    return Forecasts(together("p_up"), together("variance"), parts[0].certain)


def _measure_period(
    config: Config, task: Daily, forecasts: tuple[NDArray, NDArray], periods: Sequence[Period]
) -> dict[str, Any]:
    """Return the figures of one period of all folds together."""
    answers, dates, said = collect(task, forecasts, periods)
    block = block_length(len(dates))
    weights = bootstrap_weights(len(dates), block, config.bootstrap_draws, config.seed)
    found = {
        name: resample(
            np.stack([day_sums(answers, one, len(dates)) for one in each]), weights, metrics_of
        )
        for name, each in said.items()
    }
    return {
        "from": str(dates[0]),
        "to": str(dates[-1]),
        "days": len(dates),
        "forecasts": len(answers.up),
        "moves": int(answers.moved.sum()),
        "block_days": block,
        "methods": {name: figures(one, METRICS) for name, one in found.items()},
        "comparisons": {
            metric: comparison(
                found, _rivals(metric), metric, higher_is_better=metric in HIGHER_IS_BETTER
            )
            for metric in METRICS
        },
    }


def _rivals(metric: str) -> Sequence[str]:
    return baselines.VOLATILITY if metric == "qlike" else baselines.DIRECTION


def _of_one_fold(task: Daily, forecasts: tuple[NDArray, NDArray], fold: int) -> dict[str, Any]:
    """Return every method's metrics on one fold's test days; a list with one a seed."""
    periods = [one.test if f == fold else None for f, one in enumerate(task.data.folds)]
    answers, dates, said = collect(task, forecasts, periods)
    figures = {}
    for name, each in said.items():
        tables = np.stack([day_sums(answers, one, len(dates)) for one in each])
        values = metrics_of(tables.sum(axis=1))
        figures[name] = {
            metric: [float(v) for v in value]
            for metric, value in values.items()
            if np.isfinite(value).all()
        }
    return {"methods": figures}
