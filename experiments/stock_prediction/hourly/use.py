"""The next hours of a user's own file of the same variables, beside the copies of the past."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.stock_prediction.config import HOURS_A_DAY
from experiments.stock_prediction.hourly import baselines
from experiments.stock_prediction.hourly.data import Hours, Standard, read_hours, windows_at
from experiments.stock_prediction.hourly.metrics import day_sums, metrics_of
from experiments.stock_prediction.hourly.problem import ForecastFn, make_forecast
from experiments.stock_prediction.measure import ENSEMBLE
from experiments.stock_prediction.tables import write_table

_MOST_WINDOWS = 2000  # past windows to measure on; of more than that, evenly many


def forecast(trained: Trained, file: Path, output: Path | None) -> str:
    """Return the forecast of a file as text, and write all its hours if a file is given.

    Raises:
      InputError: see `data.read_hours`; or there are too few hours.
    """
    config, facts = trained.config, trained.facts
    hours = read_hours(file, facts["variables"])
    if len(hours.times) < config.input_length:
        raise InputError(
            f"predict: {file} has {len(hours.times)} hours; the run reads "
            f"{config.input_length} to forecast the next {config.horizon}"
        )
    standard = Standard(*map(np.array, facts["standard"]))
    values = standard(hours.values).astype(np.float32)
    network_of = make_forecast(trained.model)
    x = values[None, -config.input_length :]
    network = standard.undo(network_of(trained.params, x)[:, 0])  # [S, horizon, V]
    copy = standard.undo(baselines.seasonal(x, config.horizon)[0])
    times = hours.times[-1] + np.arange(1, config.horizon + 1).astype("timedelta64[h]")
    lines = [
        f"the {config.horizon} hours after {hours.times[-1]}, mean of {len(network)} seeds "
        f"(beside: the last day again):",
        f"{'hour':18}" + "".join(f"{name:>20}" for name in hours.names),
    ]
    mean = network.mean(axis=0)
    for t in sorted({*range(0, config.horizon, HOURS_A_DAY // 2), config.horizon - 1}):
        cells = [f"{a:.2f} ({b:.2f})" for a, b in zip(mean[t], copy[t], strict=True)]
        lines.append(f"{times[t]!s:18}" + "".join(f"{cell:>20}" for cell in cells))
    lines += ["", *_past(trained, hours, values, network_of)]
    if output is not None:
        stamps = np.strings.replace(times.astype("datetime64[s]").astype(str), "T", " ")
        rows = ([t, *(f"{v:.6f}" for v in row)] for t, row in zip(stamps, mean, strict=True))
        write_table(output, ["date", *hours.names], rows)
        lines.append(f"all {config.horizon} hours are in {output}")
    return "\n".join(lines)


def _past(
    trained: Trained, hours: Hours, values: NDArray[np.float32], network_of: ForecastFn
) -> list[str]:
    """Return the errors on past windows whose hours had no part in the training."""
    reads, horizon = trained.config.input_length, trained.config.horizon
    seen_until = np.datetime64(trained.facts["valid_until"], "h")
    starts = np.arange(len(values) - reads - horizon + 1)
    starts = starts[hours.times[starts + reads] > seen_until]
    if not len(starts):
        return [
            f"no figures on past hours: no window of {reads + horizon} hours is forecast after "
            f"{seen_until}, where training and validation ended"
        ]
    starts = starts[:: -(-len(starts) // _MOST_WINDOWS)]
    x, y = windows_at(values, starts, reads, horizon)
    said = {
        ENSEMBLE: network_of(trained.params, x).mean(axis=0),
        baselines.PERSISTENCE: baselines.persistence(x, horizon),
        baselines.SEASONAL: baselines.seasonal(x, horizon),
    }
    lines = [
        f"on {len(starts):,} past windows after {seen_until}, in deviations of the "
        "training months:",
        f"{'':28}{'MSE':>10}{'MAE':>10}",
    ]
    for name, one in said.items():
        (found,) = day_sums(one, y, np.zeros(len(y), int))  # all of them as one day
        mse, mae = metrics_of(found).values()
        lines.append(f"{name:28}{mse:10.4f}{mae:10.4f}")
    return lines
