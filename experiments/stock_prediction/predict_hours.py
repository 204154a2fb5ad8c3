"""The next hours of a user's own file of the same variables, beside the copies of the past."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.hourly import make_forecast
from experiments.stock_prediction.hours import Hours, Standard, read_hours, windows_at
from experiments.stock_prediction.linear import DAY, PERSISTENCE, SEASONAL, persistence, seasonal
from experiments.stock_prediction.metrics import mean_absolute_error, mean_squared_error
from experiments.stock_prediction.model import Model

_MOST_WINDOWS = 2000  # past windows to measure on; of more than that, evenly many


class Hourly(NamedTuple):
    """A user's hours, and what a run knows of how to read them."""

    hours: Hours
    standard: Standard
    input_length: int
    horizon: int
    seen_until: np.datetime64  # the last hour that had a part in the training


def read(file: Path, config: Config, described: Mapping[str, Any]) -> Hourly:
    """Read a user's hours.

    Args:
      file: a CSV file.
      config: of the run.
      described: what the run's file says of its data.

    Raises:
      InputError: see `hours.read_hours`; or there are too few hours.
    """
    hours = read_hours(file, described["variables"])
    if len(hours.times) < config.input_length:
        raise InputError(
            f"predict: {file} has {len(hours.times)} hours; the run reads "
            f"{config.input_length} to forecast the next {config.horizon}"
        )
    standard = Standard(*(np.array(part) for part in described["standard"]))
    seen = np.datetime64(described["valid_until"], "h")
    return Hourly(hours, standard, config.input_length, config.horizon, seen)


def report(hourly: Hourly, model: Model, params: Any, output: Path | None) -> str:
    """Return the forecast as text, and write all its hours if a file is given."""
    values = hourly.standard(hourly.hours.values).astype(np.float32)
    forecast = make_forecast(model.apply)
    x = values[None, -hourly.input_length :]
    network = hourly.standard.undo(forecast(params, x)[:, 0])  # [S, horizon, V]
    copy = hourly.standard.undo(seasonal(x, hourly.horizon)[0])
    times = hourly.hours.times[-1] + np.arange(1, hourly.horizon + 1).astype("timedelta64[h]")
    lines = [
        f"the {hourly.horizon} hours after {hourly.hours.times[-1]}, mean of {len(network)} seeds "
        f"(beside: the last day again):",
        "hour" + " " * 14 + "".join(f"{name:>20}" for name in hourly.hours.names),
    ]
    for t in sorted({*range(0, hourly.horizon, DAY // 2), hourly.horizon - 1}):
        mean = network[:, t].mean(axis=0)
        cells = [f"{a:.2f} ({b:.2f})" for a, b in zip(mean, copy[t], strict=True)]
        lines.append(f"{times[t]!s:18}" + "".join(f"{cell:>20}" for cell in cells))
    lines += ["", *_past(hourly, values, lambda x: forecast(params, x).mean(axis=0))]
    if output is not None:
        _write(output, hourly.hours.names, times, network.mean(axis=0))
        lines.append(f"all {hourly.horizon} hours are in {output}")
    return "\n".join(lines)


def _past(hourly: Hourly, values: NDArray[np.float32], forecast: Any) -> list[str]:
    """Return the errors on past windows whose hours had no part in the training."""
    length = hourly.input_length + hourly.horizon
    starts = np.arange(len(values) - length + 1)
    starts = starts[hourly.hours.times[starts + hourly.input_length] > hourly.seen_until]
    if not len(starts):
        return [
            f"no figures on past hours: no window of {length} hours is forecast after "
            f"{hourly.seen_until}, where training and validation ended"
        ]
    starts = starts[:: -(-len(starts) // _MOST_WINDOWS)]
    x, y = windows_at(values, starts, hourly.input_length, hourly.horizon)
    said = {
        "network, mean of seeds": forecast(x),
        PERSISTENCE: persistence(x, hourly.horizon),
        SEASONAL: seasonal(x, hourly.horizon),
    }
    lines = [
        f"on {len(starts):,} past windows after {hourly.seen_until}, in deviations of the "
        "training months:",
        f"{'':28}{'MSE':>10}{'MAE':>10}",
    ]
    for name, one in said.items():
        mse, mae = mean_squared_error(one, y), mean_absolute_error(one, y)
        lines.append(f"{name:28}{mse:10.4f}{mae:10.4f}")
    return lines


def _write(
    output: Path,
    names: tuple[str, ...],
    times: NDArray[np.datetime64],
    values: NDArray[np.floating],
) -> None:
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", *names])
        for time, row in zip(times, values, strict=True):
            stamp = str(time.astype("datetime64[s]")).replace("T", " ")
            writer.writerow([stamp, *(f"{v:.6f}" for v in row)])
