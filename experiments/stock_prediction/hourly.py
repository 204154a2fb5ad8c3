"""Hourly windows as a problem: batches, loss, validation, and the forecasts of all models."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.hours import (
    Hours,
    Standard,
    fit_standard,
    window_starts,
    windows_at,
)
from experiments.stock_prediction.linear import DAY
from experiments.stock_prediction.metrics import mean_squared_error
from experiments.stock_prediction.model import ApplyFn, hourly_model
from experiments.stock_prediction.problem import Problem, Validation

Floats = NDArray[np.floating]
ForecastFn = Callable[[Any, Floats], NDArray[np.float32]]

_AT_ONCE = 256  # windows that a compiled call forecasts
_VALID_STRIDE = 4  # every fourth window: neighbours differ by an hour in 432


class Batch(NamedTuple):
    """What one step of all M models reads."""

    x: NDArray[np.float32]  # [M, B, input_length, V]
    y: NDArray[np.float32]  # [M, B, horizon, V]


class Hourly(NamedTuple):
    """Hourly values, ready to learn from and to measure on."""

    hours: Hours
    standard: Standard
    values: NDArray[np.float32]  # [N, V], standardised
    forecast: ForecastFn  # params [S, ...], x [B, input_length, V] -> [S, B, horizon, V]
    problem: Problem


def make_hourly(config: Config, hours: Hours) -> Hourly:
    """Return the problem that hourly values pose.

    Raises:
      InputError: a setting that does not go with hours, or too few of them.
    """
    if config.permute_labels:
        raise InputError("Config: --permute-labels is for prices; leave it away")
    if config.input_length < DAY:
        raise InputError(
            f"Config: --input-length must be >= {DAY}, the seasonal baseline's day, got "
            f"{config.input_length}"
        )
    standard = fit_standard(hours.values)
    values = standard(hours.values).astype(np.float32)
    model = hourly_model(config, len(hours.names))
    forecast = make_forecast(model.apply)
    starts = window_starts("train", config.input_length, config.horizon, len(values))
    valid = window_starts("valid", config.input_length, config.horizon, len(values))
    valid_x, valid_y = windows_at(
        values, valid[::_VALID_STRIDE], config.input_length, config.horizon
    )
    problem = Problem(
        digest=hours.digest,
        described={
            "variables": list(hours.names),
            "standard": [standard.mean.tolist(), standard.deviation.tolist()],
            "valid_until": str(hours.times[valid[-1] + config.input_length + config.horizon - 1]),
        },
        num_folds=1,
        init=model.init,
        loss_fn=make_loss(model.apply),
        batch_at=lambda step: batch_at(config, values, starts, step),
        validate=lambda params: _validate(forecast(params, valid_x), valid_y),
    )
    return Hourly(hours, standard, values, forecast, problem)


def make_loss(apply: ApplyFn) -> Callable[..., jax.Array]:
    """Return the loss of one model: the mean squared error, in deviations."""

    def loss_fn(params: Any, batch: Batch, key: jax.Array) -> jax.Array:
        return jnp.mean((apply(params, jnp.asarray(batch.x), key) - batch.y) ** 2)

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


def make_forecast(apply: ApplyFn) -> ForecastFn:
    """Return the forecasts of all models for any number of windows."""
    outputs = jax.jit(jax.vmap(apply, in_axes=(0, None)))

    def forecast(params: Any, x: Floats) -> NDArray[np.float32]:
        parts = []
        for i in range(0, len(x), _AT_ONCE):
            part = np.zeros((_AT_ONCE, *x.shape[1:]), np.float32)  # one shape, one program
            rows = min(_AT_ONCE, len(x) - i)
            part[:rows] = x[i : i + rows]
            parts.append(np.asarray(outputs(params, part))[:, :rows])
        return np.concatenate(parts, axis=1)

    return forecast


def _validate(forecasts: NDArray[np.float32], y: Floats) -> Validation:
    losses = mean_squared_error(forecasts, y, axis=(1, 2, 3))
    return Validation(losses, {"validation_mse": float(losses.mean())})
