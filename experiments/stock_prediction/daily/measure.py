"""What finished models come to on days that had no part in them, beside the baselines."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.experiment import Trained
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily import baselines
from experiments.stock_prediction.daily.data import Data
from experiments.stock_prediction.daily.metrics import (
    HIGHER_IS_BETTER,
    METRICS,
    Answers,
    Forecasts,
    day_sums,
    metrics_of,
)
from experiments.stock_prediction.daily.problem import Said, answers_of, make_forecast
from experiments.stock_prediction.daily.splits import Period
from experiments.stock_prediction.measure import ENSEMBLE, NETWORK, block_length, measure_methods

_RIVALS = {
    metric: baselines.VOLATILITY if metric == "qlike" else baselines.DIRECTION for metric in METRICS
}


class Collected(NamedTuple):
    """What came in a period, and what was said of it by each method."""

    answers: Answers  # [K]
    dates: NDArray[np.datetime64]  # [D]
    said: Mapping[str, Sequence[Forecasts]]  # [K]; of the network one a seed, else one in all

    def tables(self) -> dict[str, NDArray[np.floating]]:
        """Return each method's sums a day, `[S, D, K]`."""
        return {
            name: np.stack([day_sums(self.answers, one, len(self.dates)) for one in each])
            for name, each in self.said.items()
        }


def measure(trained: Trained, data: Data) -> tuple[dict[str, Any], Collected]:
    """Return the figures of the test folds, of each fold, and of later days if there are.

    Returns:
      For every period: days, forecasts, moves; each method's metrics with intervals; and
      what the network is compared with, per metric the best baseline there. Beside them
      the forecasts of the test days.
    """
    forecasts = make_forecast(trained.model, data)(trained.params)
    folds = data.folds
    tests = [collect(data, forecasts, f, fold.test) for f, fold in enumerate(folds)]
    whole = {"test": joined(tests)}
    if folds[0].later is not None:
        whole["later"] = collect(data, forecasts, 0, folds[0].later)
    return {
        "data_notes": list(data.notes),
        **{name: _figures(trained.config, found) for name, found in whole.items()},
        "folds": [
            {"test": str(fold.test), "train": str(fold.train), "methods": _without_intervals(part)}
            for fold, part in zip(folds, tests, strict=True)
        ],
    }, whole["test"]


def collect(data: Data, forecasts: Said, fold: int, period: Period) -> Collected:
    """Return a period's answers, and what baselines and models, those of `fold`, said of it."""
    days = period.holds(data.panel.next_dates)
    p_up, variance = (forecast[fold][:, days] for forecast in forecasts)  # [S, K]
    others = baselines.forecast(data.baselines[fold], data.panel, days, data.moves)
    return Collected(
        *answers_of(data.panel, days),
        {
            NETWORK: [Forecasts(p, v) for p, v in zip(p_up, variance, strict=True)],
            ENSEMBLE: [Forecasts(p_up.mean(axis=0), variance.mean(axis=0))],
            **{name: [one] for name, one in others.items()},
        },
    )


def joined(parts: Sequence[Collected]) -> Collected:
    """Return several folds' days as one period's, counted through."""
    firsts = np.cumsum([0, *(len(part.dates) for part in parts)])
    answers = [
        part.answers._replace(day=part.answers.day + first)
        for part, first in zip(parts, firsts, strict=False)
    ]
    said = {
        name: [_concatenated(each) for each in zip(*(one.said[name] for one in parts), strict=True)]
        for name in parts[0].said
    }
    return Collected(
        Answers(*map(np.concatenate, zip(*answers, strict=True))),
        np.concatenate([part.dates for part in parts]),
        said,
    )


def _concatenated(parts: Sequence[Forecasts]) -> Forecasts:
    p_up, variance, certain = zip(*parts, strict=True)
    together = (None if each[0] is None else np.concatenate(each) for each in (p_up, variance))
    return Forecasts(*together, certain=certain[0])


def _figures(config: Config, found: Collected) -> dict[str, Any]:
    """Return the figures of one period of all folds together."""
    return {
        "from": str(found.dates[0]),
        "to": str(found.dates[-1]),
        "forecasts": len(found.answers.up),
        "moves": int(found.answers.moved.sum()),
        **measure_methods(
            found.tables(),
            metrics_of,
            _RIVALS,
            block=block_length(len(found.dates)),
            draws=config.bootstrap_draws,
            seed=config.seed,
            higher_is_better=HIGHER_IS_BETTER,
        ),
    }


def _without_intervals(found: Collected) -> dict[str, Any]:
    """Return every method's metrics, a list with one a seed."""
    return {
        name: {
            metric: [float(v) for v in value]
            for metric, value in metrics_of(table.sum(axis=1)).items()
            if np.isfinite(value).all()
        }
        for name, table in found.tables().items()
    }
