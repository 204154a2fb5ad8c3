"""Daily prices as a problem: batches, loss, validation, and the forecasts of all models."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from experiments.stock_prediction.baselines import Fitted, fit_baselines
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.features import NUM_FEATURES
from experiments.stock_prediction.metrics import Answers, Forecasts, day_sums, metrics_of
from experiments.stock_prediction.model import ApplyFn, daily_model
from experiments.stock_prediction.panel import (
    Batch,
    Panel,
    Scaling,
    batch_at,
    fit_scaling,
    make_chunks,
    make_panel,
    permuted,
)
from experiments.stock_prediction.prices import PriceData
from experiments.stock_prediction.problem import Problem, Validation
from experiments.stock_prediction.splits import Period

Flags = NDArray[np.bool_]
ForecastAllFn = Callable[[Any], tuple[NDArray[np.float32], NDArray[np.float32]]]


class Daily(NamedTuple):
    """A data set of prices, ready to learn from and to measure on."""

    data: PriceData
    panel: Panel
    scalings: tuple[Scaling, ...]  # of each fold
    baselines: tuple[Fitted, ...]  # of each fold
    forecast_all: ForecastAllFn  # params [F*S, ...] -> p_up, variance: [F, S, T, N]
    problem: Problem


def make_daily(config: Config, data: PriceData) -> Daily:
    """Return the problem that a data set poses.

    Raises:
      InputError: there are too few training days for a chunk.
    """
    panel = make_panel(data.series, data.moves)
    if config.permute_labels:
        panel = permuted(panel, config.seed)
    scalings = tuple(fit_scaling(panel, fold.train) for fold in data.folds)
    chunks = make_chunks(panel, data.folds, scalings, config.chunk_length, config.burn_in)
    model = daily_model(config, NUM_FEATURES)
    forecast_all = make_forecast(model.apply, chunks.x, panel.variance)
    fitted = tuple(fit_baselines(panel, fold.train) for fold in data.folds)
    problem = Problem(
        digest=data.digest,
        described=_described(data, scalings, fitted),
        num_folds=len(data.folds),
        init=model.init,
        loss_fn=make_loss(model.apply, config.volatility_weight),
        batch_at=lambda step: batch_at(
            chunks, step, config.num_seeds, config.batch_size, config.seed
        ),
        validate=lambda params: _validate(config, data, panel, forecast_all(params)),
    )
    return Daily(data, panel, scalings, fitted, forecast_all, problem)


def make_loss(apply: ApplyFn, volatility_weight: float) -> Callable[..., jax.Array]:
    """Return the loss of one model: nats of the direction, and half the volatility's QLIKE.

    The latter less what no forecast changes, log v_t: with σ² = v_t e^a, a + (r²/v_t) e^-a.
    """

    def loss_fn(params: Any, batch: Batch, key: jax.Array) -> jax.Array:
        out = apply(params, jnp.asarray(batch.x), key)  # [L, B, 2]
        nats = optax.sigmoid_binary_cross_entropy(out[..., 0], batch.up)
        qlike = out[..., 1] + batch.ratio * jnp.exp(-out[..., 1])
        direction = (nats * batch.moved).sum() / jnp.maximum(batch.moved.sum(), 1.0)
        volatility = (qlike * batch.asked).sum() / jnp.maximum(batch.asked.sum(), 1.0)
        return direction + volatility_weight * 0.5 * volatility

    return loss_fn


def make_forecast(
    apply: ApplyFn, x: NDArray[np.float32], variance: NDArray[np.floating]
) -> ForecastAllFn:
    """Return the forecasts of all models for every day, each read from its series' start.

    Args:
      apply: the network.
      x: `[F, T, N, I]`, scaled features.
      variance: `[T, N]`, v_t.
    """

    @jax.jit
    def outputs(params: Any, x: jax.Array) -> jax.Array:
        folds = jax.tree.map(lambda leaf: leaf.reshape(len(x), -1, *leaf.shape[1:]), params)
        of_seeds = jax.vmap(apply, in_axes=(0, None))
        return jax.vmap(of_seeds)(folds, x)  # [F, S, T, N, 2]

    def forecast_all(params: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        out = np.asarray(outputs(params, x))
        p_up = (1.0 / (1.0 + np.exp(-out[..., 0]))).astype(np.float32)
        return p_up, (variance * np.exp(out[..., 1])).astype(np.float32)

    return forecast_all


def answers_of(panel: Panel, days: Flags) -> tuple[Answers, NDArray[np.datetime64]]:
    """Return what came on the chosen days `[T, N]`, and the dates `[D]` they fall on."""
    dates, day = np.unique(panel.next_dates[days], return_inverse=True)
    squared = panel.next_returns[days] ** 2
    return Answers(day, panel.up[days], panel.moved[days], squared), dates


def _validate(
    config: Config, data: PriceData, panel: Panel, forecasts: tuple[NDArray, NDArray]
) -> Validation:
    """Return the loss of each model on its fold's validation days."""
    nats, qlike, log_variance = [], [], []
    for f, fold in enumerate(data.folds):
        days = fold.valid.holds(panel.next_dates)
        answers, dates = answers_of(panel, days)
        log_variance += [np.log(panel.variance[days]).mean()] * config.num_seeds
        for s in range(config.num_seeds):
            said = Forecasts(*(forecast[f, s][days] for forecast in forecasts))
            found = metrics_of(day_sums(answers, said, len(dates)).sum(axis=0))
            nats.append(float(found["nats"]))
            qlike.append(float(found["qlike"]))
    # Less the EWMA's part, as in the training loss: that one has the two curves in one place.
    volatility = np.array(qlike) - np.array(log_variance)
    losses = np.array(nats) + config.volatility_weight * 0.5 * volatility
    return Validation(
        losses,
        {"validation_nats": float(np.mean(nats)), "validation_qlike": float(np.mean(qlike))},
    )


def untrained_loss(config: Config, task: Daily) -> float:
    """Return the validation loss of a coin and the EWMA, from which the training starts."""
    ratios = []
    for fold in task.data.folds:
        days = fold.valid.holds(task.panel.next_dates)
        ratios.append((task.panel.next_returns[days] ** 2 / task.panel.variance[days]).mean())
    return float(np.log(2.0) + config.volatility_weight * 0.5 * np.mean(ratios))


def _described(
    data: PriceData, scalings: tuple[Scaling, ...], fitted: tuple[Fitted, ...]
) -> dict[str, Any]:
    """Return what a forecast for another series needs: that of the last fold's models."""

    def as_text(period: Period) -> list[str]:
        return [str(period.start), str(period.end)]

    fold = data.folds[-1]
    return {
        "num_folds": len(data.folds),
        "train": as_text(fold.train),
        "valid": as_text(fold.valid),
        "moves": list(data.moves),
        "scaling": [scalings[-1].mean.tolist(), scalings[-1].deviation.tolist()],
        "baselines": fitted[-1]._asdict(),
    }
