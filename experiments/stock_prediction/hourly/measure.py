"""What finished models come to on the test months, beside the baselines."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.common.experiment import Trained
from experiments.stock_prediction.config import HOURS_A_DAY
from experiments.stock_prediction.hourly import baselines
from experiments.stock_prediction.hourly.data import Data, window_starts, windows_at
from experiments.stock_prediction.hourly.metrics import (
    METRICS,
    day_sums,
    mean_squared_error,
    metrics_of,
)
from experiments.stock_prediction.hourly.problem import make_forecast
from experiments.stock_prediction.measure import (
    ENSEMBLE,
    NETWORK,
    Floats,
    block_length,
    measure_methods,
)


class Windows(NamedTuple):
    """All windows of the test months, and what was said of them."""

    x: Floats  # [B, input_length, V]
    y: Floats  # [B, horizon, V]
    said: Mapping[str, Sequence[Floats]]  # as y; of the network one a seed, else one in all


def measure(trained: Trained, data: Data) -> tuple[dict[str, Any], Windows]:
    """Return errors on the test months, in deviations of the training months.

    Returns:
      For the network, the mean of its seeds and each baseline MSE and MAE with intervals,
      by variable and by hour ahead; and how the network compares with the best baseline.
      Beside them all windows and forecasts.
    """
    config = trained.config
    lengths = config.input_length, config.horizon
    x, y = windows_at(data.values, window_starts("test", *lengths, len(data.values)), *lengths)
    network = make_forecast(trained.model)(trained.params, x)
    linear = baselines.fit_linear(data.values.astype(np.float64), *lengths)
    said = {
        NETWORK: list(network),
        ENSEMBLE: [network.mean(axis=0)],
        baselines.PERSISTENCE: [baselines.persistence(x, config.horizon)],
        baselines.SEASONAL: [baselines.seasonal(x, config.horizon)],
        baselines.LINEAR: [linear(x)],
    }
    day = np.arange(len(y)) // HOURS_A_DAY
    # Windows of up to `horizon` hours apart are of the same hours.
    overlap = -(-config.horizon // HOURS_A_DAY) + 1
    test = measure_methods(
        {name: np.stack([day_sums(one, y, day) for one in each]) for name, each in said.items()},
        metrics_of,
        dict.fromkeys(METRICS, baselines.BASELINES),
        block=block_length(int(day[-1]) + 1, at_least=overlap),
        draws=config.bootstrap_draws,
        seed=config.seed,
    )
    figures = {
        "test": {"windows": len(y), **test},
        "by_variable": {
            name: dict(zip(data.hours.names, _mse(each, y, (0, 1)), strict=True))
            for name, each in said.items()
        },
        "by_hour": {name: _mse(each, y, (0, 2)) for name, each in said.items()},
    }
    return figures, Windows(x, y, said)


def _mse(forecasts: Sequence[Floats], y: Floats, axis: tuple[int, int]) -> list[float]:
    """Return the mean squared error along what is left, the mean over seeds."""
    return np.mean([mean_squared_error(one, y, axis) for one in forecasts], axis=0).tolist()
