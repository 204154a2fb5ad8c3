"""What is learned of prices: loss and validation, and the forecasts of all models."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from experiments.common.experiment import Model, Problem
from experiments.common.fit import Scalars
from experiments.common.updates import LossFn
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily.data import Daily
from experiments.stock_prediction.daily.metrics import (
    Answers,
    Forecasts,
    day_sums,
    metrics_of,
)
from experiments.stock_prediction.daily.panel import Batch, Panel, batch_at, make_chunks, scaled
from experiments.stock_prediction.measure import Floats
from experiments.stock_prediction.problem import model_names, problem_of_all

Said = tuple[Floats, Floats]  # p_up and variance: [F, S, T, N] each


def make_problem(config: Config, data: Daily, model: Model) -> Problem:
    """Return what the training loop asks.

    Raises:
      InputError: there are too few training days for a chunk.
    """
    chunks = make_chunks(
        data.panel, data.prices.folds, data.scalings, config.chunk_length, config.burn_in
    )
    forecast_all = make_forecast(model, data)
    return problem_of_all(
        model_names(config, data.facts()),
        make_loss(model, config.volatility_weight),
        lambda step: batch_at(chunks, step, config.num_seeds, config.batch_size, config.seed),
        lambda params: _validate(config, data, forecast_all(params)),
    )


def make_loss(model: Model, volatility_weight: float) -> LossFn:
    """Return the loss of one model: nats of the direction, and half the volatility's QLIKE.

    The latter less what no forecast changes, log v_t: with σ² = v_t e^a, a + (r²/v_t) e^-a.
    """

    def loss_fn(
        params: Any, batch: Batch, carry: None, key: jax.Array | None
    ) -> tuple[jax.Array, None]:
        out = model.apply(params, jnp.asarray(batch.x), key)  # [L, B, 2]
        nats = optax.sigmoid_binary_cross_entropy(out[..., 0], batch.up)
        qlike = out[..., 1] + batch.ratio * jnp.exp(-out[..., 1])
        direction = (nats * batch.moved).sum() / jnp.maximum(batch.moved.sum(), 1.0)
        volatility = (qlike * batch.asked).sum() / jnp.maximum(batch.asked.sum(), 1.0)
        return direction + volatility_weight * 0.5 * volatility, carry

    return loss_fn


def make_forecast(model: Model, data: Daily) -> Callable[[Any], Said]:
    """Return the forecasts of all models for every day, each read from its series' start.

    Returns:
      A function of parameters `[F*S, ...]`.
    """
    x, variance = scaled(data.panel, data.scalings), data.panel.variance

    def forecast_all(params: Any) -> Said:
        out = np.asarray(_outputs(model, params, x))
        p_up = (1.0 / (1.0 + np.exp(-out[..., 0]))).astype(np.float32)
        return p_up, (variance * np.exp(out[..., 1])).astype(np.float32)

    return forecast_all


# Compiled once for a model, in training and when it is measured.
@partial(jax.jit, static_argnums=0)
def _outputs(model: Model, params: Any, x: jax.Array) -> jax.Array:
    """Return the outputs `[F, S, T, N, 2]` for inputs `[F, T, N, I]`."""
    folds = jax.tree.map(lambda leaf: leaf.reshape(len(x), -1, *leaf.shape[1:]), params)
    of_seeds = jax.vmap(model.apply, in_axes=(0, None))
    return jax.vmap(of_seeds)(folds, x)


def answers_of(panel: Panel, days: NDArray[np.bool_]) -> tuple[Answers, NDArray[np.datetime64]]:
    """Return what came on the chosen days `[T, N]`, and the dates `[D]` they fall on."""
    dates, day = np.unique(panel.next_dates[days], return_inverse=True)
    squared = panel.next_returns[days] ** 2
    return Answers(day, panel.up[days], panel.moved[days], squared), dates


def _validate(config: Config, data: Daily, forecasts: Said) -> tuple[NDArray[np.float64], Scalars]:
    """Return the loss of each model on its fold's validation days, and the means of its parts."""
    nats, qlike, log_variance = [], [], []
    for f, fold in enumerate(data.prices.folds):
        days = fold.valid.holds(data.panel.next_dates)
        answers, dates = answers_of(data.panel, days)
        log_variance += [np.log(data.panel.variance[days]).mean()] * config.num_seeds
        for s in range(config.num_seeds):
            said = Forecasts(*(forecast[f, s][days] for forecast in forecasts))
            found = metrics_of(day_sums(answers, said, len(dates)).sum(axis=0))
            nats.append(float(found["nats"]))
            qlike.append(float(found["qlike"]))
    # Less the EWMA's part, as in the training loss: that one has the two curves in one place.
    volatility = np.array(qlike) - np.array(log_variance)
    return np.array(nats) + config.volatility_weight * 0.5 * volatility, {
        "validation_nats": float(np.mean(nats)),
        "validation_qlike": float(np.mean(qlike)),
    }


def untrained_loss(config: Config, data: Daily) -> float:
    """Return the validation loss of a coin and the EWMA, from which the training starts."""
    shape = (len(data.prices.folds), config.num_seeds, *data.panel.up.shape)
    said = np.full(shape, 0.5), np.broadcast_to(data.panel.variance, shape)
    return float(_validate(config, data, said)[0].mean())
