"""The models of several seeds as one training state with a leading S axis.

A step of all of them is `jax.vmap` of one model's step: their gradients are clipped, and
their noise is drawn, each by itself. A seed comes to the same parameters, up to rounding,
as if it were trained alone.
"""

from typing import Any

import jax
import numpy as np

from experiments.common.optimizers import adamw_of
from experiments.common.updates import (
    TrainState,
    TrainStep,
    drawn_train_state,
    evaluated_params,
    train_step_fn,
)
from experiments.music_generation.config import Config
from experiments.music_generation.model import Model, ModelParams, loss_fn


def initial_states(config: Config, model: Model) -> TrainState:
    """Return the states before the first step, each leaf `[S, ...]`, drawn from the seeds."""
    tx, _ = adamw_of(config)

    def initial(seed: jax.Array) -> TrainState:
        key = jax.random.key(seed)
        return drawn_train_state(key, model.init, tx, ema_decay=config.ema_decay)

    return jax.jit(jax.vmap(initial))(np.array(config.seeds, np.uint32))


def make_train_step(config: Config, model: Model) -> TrainStep:
    """Return the compiled step of all models, `(state, batch) -> (state, report)`.

    State, batch and report have a leading S axis. The state's buffers are given up.
    """
    tx, schedule = adamw_of(config)

    def loss(params: Any, batch: Any, carry: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        return loss_fn(params, model, batch, key), carry

    train_step = train_step_fn(loss, tx, schedule, ema_decay=config.ema_decay)
    return jax.jit(jax.vmap(train_step), donate_argnums=0)


def evaluated_params_of_each(state: TrainState, ema_decay: float) -> ModelParams:
    """Return the parameters to evaluate, each leaf `[S, ...]`."""
    return jax.vmap(lambda one: evaluated_params(one, ema_decay))(state)
