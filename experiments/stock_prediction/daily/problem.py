"""What is learned of prices: loss and validation, and the forecasts of all models."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from experiments.common.devices import Rows
from experiments.common.experiment import Model, Problem
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily import batches
from experiments.stock_prediction.daily.data import Data
from experiments.stock_prediction.daily.metrics import Answers, Forecasts, day_sums, metrics_of
from experiments.stock_prediction.daily.panel import Panel, scaled
from experiments.stock_prediction.measure import Floats
from experiments.stock_prediction.problem import of_each, show

Said = tuple[Floats, Floats]  # p_up and variance: [F, S, T, N] each


def make_problem(config: Config, data: Data, model: Model) -> Problem:
    """Return the loss, the batches and the validation.

    The loss of one model is the direction's nats, and half the volatility's QLIKE less what no
    forecast changes, log v_t: with σ² = v_t e^a, a + (r²/v_t) e^-a.

    Raises:
      InputError: there are too few training days for a chunk.
    """
    chunks = batches.make_chunks(data.panel, data.folds, data.scalings, config)
    forecast_all = make_forecast(model, data)

    def loss_fn(
        params: Any, batch: batches.Batch, carry: None, key: jax.Array | None
    ) -> tuple[jax.Array, None]:
        out = model.apply(params, jnp.asarray(batch.x), key)  # [L, B, 2]
        nats = optax.sigmoid_binary_cross_entropy(out[..., 0], batch.up)
        qlike = out[..., 1] + batch.ratio * jnp.exp(-out[..., 1])
        direction = (nats * batch.moved).sum() / jnp.maximum(batch.moved.sum(), 1.0)
        volatility = (qlike * batch.asked).sum() / jnp.maximum(batch.asked.sum(), 1.0)
        return direction + config.volatility_weight * 0.5 * volatility, carry

    def batch_at(step: int) -> batches.Batch:
        return batches.batch_at(data.panel, chunks, step, config)

    def evaluate(params: Any) -> dict[str, float]:
        losses, nats, qlike = validation(config, data, forecast_all(params))
        means = {"validation_nats": float(nats.mean()), "validation_qlike": float(qlike.mean())}
        return of_each(config, data.facts, losses) | means

    rows = Rows((2,) * 5)
    return Problem(loss_fn, batch_at, evaluate, rows=rows, selection="validation_loss", show=show)


def make_forecast(model: Model, data: Data) -> Callable[[Any], Said]:
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


def validation(config: Config, data: Data, forecasts: Said) -> tuple[Floats, Floats, Floats]:
    """Return each model's loss, nats and QLIKE on its fold's validation days, `[F*S]` each.

    From the loss the EWMA's part is taken off, as in training: the two curves are in one place.
    """
    parts = []
    for fold, p_up, variance in zip(data.folds, *forecasts, strict=True):
        days = fold.valid.holds(data.panel.next_dates)
        answers, dates = answers_of(data.panel, days)
        ewma = np.log(data.panel.variance[days]).mean()
        for said in zip(p_up, variance, strict=True):
            sums = day_sums(answers, Forecasts(*(one[days] for one in said)), len(dates))
            found = metrics_of(sums.sum(axis=0))
            parts.append((found["nats"], found["qlike"], ewma))
    nats, qlike, ewma = np.array(parts).T
    return nats + config.volatility_weight * 0.5 * (qlike - ewma), nats, qlike
