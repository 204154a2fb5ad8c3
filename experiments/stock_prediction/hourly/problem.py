"""What is learned of hours: loss, batches and validation, and the forecasts of all models."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.common.experiment import Model, Problem
from experiments.common.fit import Scalars
from experiments.common.updates import LossFn
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.hourly.data import Hourly, window_starts, windows_at
from experiments.stock_prediction.hourly.metrics import mean_squared_error
from experiments.stock_prediction.measure import Floats
from experiments.stock_prediction.problem import model_names, problem_of_all

ForecastFn = Callable[[Any, Floats], NDArray[np.float32]]

_AT_ONCE = 256  # windows that a compiled call forecasts
_VALID_STRIDE = 4  # every fourth window: neighbours differ by an hour in 432


class Batch(NamedTuple):
    """What one step of all M models reads."""

    x: NDArray[np.float32]  # [M, B, input_length, V]
    y: NDArray[np.float32]  # [M, B, horizon, V]


def make_problem(config: Config, data: Hourly, model: Model) -> Problem:
    """Return what the training loop asks.

    Raises:
      InputError: there are too few hours for a window.
    """
    starts, valid = (
        window_starts(part, config.input_length, config.horizon, len(data.values))
        for part in ("train", "valid")
    )
    lengths = config.input_length, config.horizon
    valid_x, valid_y = windows_at(data.values, valid[::_VALID_STRIDE], *lengths)
    forecast = make_forecast(model)

    def validate(params: Any) -> tuple[NDArray[np.float64], Scalars]:
        losses = mean_squared_error(forecast(params, valid_x), valid_y, axis=(1, 2, 3))
        return losses, {"validation_mse": float(losses.mean())}

    return problem_of_all(
        model_names(config, data.facts()),
        make_loss(model),
        lambda step: batch_at(config, data.values, starts, step),
        validate,
    )


def make_loss(model: Model) -> LossFn:
    """Return the loss of one model: the mean squared error, in deviations."""

    def loss_fn(
        params: Any, batch: Batch, carry: None, key: jax.Array | None
    ) -> tuple[jax.Array, None]:
        return jnp.mean((model.apply(params, jnp.asarray(batch.x), key) - batch.y) ** 2), carry

    return loss_fn


def batch_at(
    config: Config, values: NDArray[np.float32], starts: NDArray[np.integer], step: int
) -> Batch:
    """Return the windows that step `step`, counted from 0, reads; each seed draws its own."""
    drawn = [
        np.random.default_rng((config.seed + s, step)).integers(len(starts), size=config.batch_size)
        for s in range(config.num_seeds)
    ]
    windows = windows_at(values, starts[np.stack(drawn)], config.input_length, config.horizon)
    return Batch(*windows)


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
