"""What is learned of hours: loss, batches and validation, and the forecasts of all models."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.common.devices import Rows
from experiments.common.experiment import Model, Problem
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.hourly.data import Data, window_starts, windows_at
from experiments.stock_prediction.hourly.metrics import mean_squared_error
from experiments.stock_prediction.measure import Floats
from experiments.stock_prediction.problem import of_each, show

ForecastFn = Callable[[Any, Floats], NDArray[np.float32]]

_AT_ONCE = 256  # windows that a compiled call forecasts
_VALID_STRIDE = 4  # every fourth window: neighbours differ by an hour in 432


class Batch(NamedTuple):
    """What one step of all M models reads."""

    x: NDArray[np.float32]  # [M, B, input_length, V]
    y: NDArray[np.float32]  # [M, B, horizon, V]


def make_problem(config: Config, data: Data, model: Model) -> Problem:
    """Return the loss, the batches and the validation; all errors in deviations.

    Raises:
      InputError: there are too few hours for a window.
    """
    lengths = config.input_length, config.horizon
    starts = window_starts("train", *lengths, len(data.values))
    valid = window_starts("valid", *lengths, len(data.values))[::_VALID_STRIDE]
    valid_x, valid_y = windows_at(data.values, valid, *lengths)
    forecast = make_forecast(model)

    def loss_fn(
        params: Any, batch: Batch, carry: None, key: jax.Array | None
    ) -> tuple[jax.Array, None]:
        return jnp.mean((model.apply(params, jnp.asarray(batch.x), key) - batch.y) ** 2), carry

    def batch_at(step: int) -> Batch:  # each seed draws its own
        randoms = [np.random.default_rng((config.seed + s, step)) for s in range(config.num_seeds)]
        drawn = [random.integers(len(starts), size=config.batch_size) for random in randoms]
        return Batch(*windows_at(data.values, starts[np.stack(drawn)], *lengths))

    def evaluate(params: Any) -> dict[str, float]:
        losses = mean_squared_error(forecast(params, valid_x), valid_y, axis=(1, 2, 3))
        return of_each(config, data.facts, losses) | {"validation_mse": float(losses.mean())}

    rows = Rows((1, 1))
    return Problem(loss_fn, batch_at, evaluate, rows=rows, selection="validation_loss", show=show)


def make_forecast(model: Model) -> ForecastFn:
    """Return the forecasts `[S, B, horizon, V]` of all models for any number of windows."""

    def forecast(params: Any, x: Floats) -> NDArray[np.float32]:
        parts = []
        for i in range(0, len(x), _AT_ONCE):
            part = np.zeros((_AT_ONCE, *x.shape[1:]), np.float32)  # one shape, one program
            rows = min(_AT_ONCE, len(x) - i)
            part[:rows] = x[i : i + rows]
            parts.append(np.asarray(_outputs(model, params, part))[:, :rows])
        return np.concatenate(parts, axis=1)

    return forecast


# Compiled once for a model, in training and when it is measured.
@partial(jax.jit, static_argnums=0)
def _outputs(model: Model, params: Any, x: jax.Array) -> jax.Array:
    return jax.vmap(model.apply, in_axes=(0, None))(params, x)
