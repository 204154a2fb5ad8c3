"""The next day of a user's own prices, beside what needs no network.

What the models would have said on the file's past days is measured too, but only on days
after those that the models have learned from and were chosen by. Even the prices of another
stock would flatter them there: markets move together.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.stock_prediction import baselines
from experiments.stock_prediction.daily import answers_of
from experiments.stock_prediction.features import WARM_UP, days_of
from experiments.stock_prediction.metrics import Forecasts, day_sums, metrics_of
from experiments.stock_prediction.model import Model
from experiments.stock_prediction.panel import Panel, Scaling, make_panel
from experiments.stock_prediction.price_files import MAX_GAP_DAYS, read_prices
from experiments.stock_prediction.prices import Moves

YEAR = 252  # trading days


class Daily(NamedTuple):
    """A user's series, and what a run knows of how to read it."""

    name: str
    panel: Panel  # of one series, the last piece of the file
    dates: NDArray[np.datetime64]  # [T], the days on which a forecast is made
    notes: tuple[str, ...]
    scaling: Scaling
    fitted: baselines.Fitted
    moves: Moves
    seen_until: np.datetime64  # from this day on nothing had a part in the training


def read(file: Path, described: Mapping[str, Any]) -> Daily:
    """Read a user's prices.

    Args:
      file: a CSV file.
      described: what the run's file says of its data.

    Raises:
      InputError: see `price_files`; or the prices since the last gap are too few.
    """
    found = read_prices(file)
    piece = found.pieces[-1]
    if len(piece.prices) <= WARM_UP:
        since = "" if len(found.pieces) == 1 else f" since the last gap of {MAX_GAP_DAYS} days"
        raise InputError(
            f"predict: {file} has {len(piece.prices)} daily prices{since}; at least "
            f"{WARM_UP + 1} are needed, a month to look back on"
        )
    days = days_of(piece)
    moves = Moves(*described["moves"])
    return Daily(
        name=piece.name,
        panel=make_panel([days], moves),
        dates=days.dates,
        notes=found.notes,
        scaling=Scaling(*(np.array(part) for part in described["scaling"])),
        fitted=baselines.Fitted(**described["baselines"]),
        moves=moves,
        seen_until=np.datetime64(described["valid"][1], "D"),
    )


def report(daily: Daily, model: Model, params: Any, output: Path | None) -> str:
    """Return the forecast as text, and write all days' if a file is given.

    Args:
      daily: the series.
      model: the network.
      params: of S models, leaves `[S, ...]`.
      output: a CSV file, or None.
    """
    p_up, variance = forecast_series(daily, model, params)  # [S, T]
    everywhere = np.ones((len(daily.dates), 1), bool)
    said = baselines.forecast(daily.fitted, daily.panel, everywhere, daily.moves)
    lines = [f"note: {note}" for note in daily.notes]
    lines += _next_day(daily, p_up, variance, said)
    lines += ["", *_past(daily, p_up, variance)]
    if output is not None:
        _write(output, daily, p_up, variance, said)
        lines.append(f"the forecasts of all {len(daily.dates):,} days are in {output}")
    return "\n".join(lines)


def forecast_series(
    daily: Daily, model: Model, params: Any
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return probability of up and variance for the day after each day, `[S, T]`."""
    x = daily.scaling(daily.panel.features)
    out = np.asarray(jax.jit(jax.vmap(model.apply, in_axes=(0, None)))(params, x))[:, :, 0]
    p_up = 1.0 / (1.0 + np.exp(-out[..., 0].astype(np.float64)))
    return p_up, daily.panel.variance[:, 0] * np.exp(out[..., 1].astype(np.float64))


def _next_day(
    daily: Daily,
    p_up: NDArray[np.floating],
    variance: NDArray[np.floating],
    said: Mapping[str, Forecasts],
) -> list[str]:
    """Return the lines on the day after the last one."""
    p, volatility = p_up[:, -1], np.sqrt(variance[:, -1])
    condition = (
        ""
        if daily.moves == Moves(0.0, 0.0)
        else (
            f", given a move above {100 * daily.moves.above:+.2f} % or to "
            f"{100 * daily.moves.below:+.2f} % or below"
        )
    )
    lines = [
        f"{daily.name}: the trading day after {daily.dates[-1]}{condition}",
        f"{'':28}{'P(up)':>10}{'volatility a day':>20}{'a year':>10}",
        f"{f'network, mean of {len(p)} seeds':28}{100 * p.mean():8.1f} %"
        + _volatility(float(np.sqrt(np.mean(variance[:, -1])))),
        f"{'  from seed to seed':28}{100 * p.min():.1f} to {100 * p.max():.1f} %"
        f"{100 * volatility.min():13.2f} to {100 * volatility.max():.2f} %",
    ]
    for name in ("share of ups", "AR(5)"):
        forecast = said[name].p_up
        assert forecast is not None
        lines.append(f"{name:28}{100 * forecast[-1]:8.1f} %")
    for name in baselines.VOLATILITY:
        forecast = said[name].variance
        assert forecast is not None
        lines.append(f"{name:28}{'':>10}" + _volatility(float(np.sqrt(forecast[-1]))))
    return lines


def _volatility(daily_volatility: float) -> str:
    yearly = daily_volatility * np.sqrt(YEAR)
    return f"{100 * daily_volatility:18.2f} %{100 * yearly:8.1f} %"


def _past(daily: Daily, p_up: NDArray[np.floating], variance: NDArray[np.floating]) -> list[str]:
    """Return how the forecasts did on those past days that are a fair test."""
    next_dates = daily.panel.next_dates
    asked = ~np.isnat(next_dates)
    fair = asked & (next_dates >= daily.seen_until)
    if not asked.any():
        return ["no figures on past days: there is no day yet whose morrow is known"]
    if not fair.any():
        return [
            f"no figures on past days: all {asked.sum():,} lie before {daily.seen_until}, in "
            "the years that the models have learned from or were chosen by"
        ]
    answers, dates = answers_of(daily.panel, fair)
    methods: dict[str, Forecasts] = {
        "network, mean of seeds": Forecasts(
            p_up.mean(axis=0)[fair[:, 0]], variance.mean(axis=0)[fair[:, 0]]
        )
    }
    methods |= baselines.forecast(daily.fitted, daily.panel, fair, daily.moves)
    lines = [
        f"on the {fair.sum():,} past days from {daily.seen_until} on, which had no part in the "
        f"training ({(asked & ~fair).sum():,} earlier days are left out), "
        f"{answers.moved.sum():,} of them moves:",
        f"{'':28}{'accuracy':>10}{'MCC':>10}{'nats':>10}{'QLIKE':>10}",
    ]
    for name, forecast in methods.items():
        found = metrics_of(day_sums(answers, forecast, len(dates)).sum(axis=0))
        cells = [
            f"{100 * found['accuracy']:.2f} %",
            *(f"{found[metric]:.3f}" for metric in ("mcc", "nats", "qlike")),
        ]
        lines.append(f"{name:28}" + "".join(f"{'-' if 'nan' in one else one:>10}" for one in cells))
    moves = max(int(answers.moved.sum()), 1)
    lines.append(
        f"of {moves:,} coin tosses, {100 * 1.96 * np.sqrt(0.25 / moves):.1f} points to either "
        "side of 50 % would be chance"
    )
    return lines


def _write(
    output: Path,
    daily: Daily,
    p_up: NDArray[np.floating],
    variance: NDArray[np.floating],
    said: Mapping[str, Forecasts],
) -> None:
    """Write a line a day: what was forecast at its close for the day after."""
    ewma, har = said["EWMA"].variance, said["HAR"].variance
    assert ewma is not None
    assert har is not None
    names = ("p_up", "p_up_lowest_seed", "p_up_highest_seed", "volatility", "ewma", "har")
    columns = (
        p_up.mean(axis=0),
        p_up.min(axis=0),
        p_up.max(axis=0),
        *(np.sqrt(v) for v in (variance.mean(axis=0), ewma, har)),
    )
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", *names, "in_training_years"])
        seen = daily.panel.next_dates[:, 0] < daily.seen_until
        for t, date in enumerate(daily.dates):
            values = [f"{column[t]:.6f}" for column in columns]
            writer.writerow([date, *values, int(seen[t])])
