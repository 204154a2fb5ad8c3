"""The models of several seeds as one training state with a leading S axis.

A step of all of them is `jax.vmap` of one model's step: their gradients are clipped, and
their noise is drawn, each by itself. A seed comes to the same parameters, up to rounding,
as if it were trained alone.
"""

from typing import Any

import jax
import numpy as np
import optax

from experiments.common.optimizers import clipped_adamw, warmup_cosine
from experiments.common.updates import (
    TrainState,
    TrainStep,
    evaluated_params,
    initial_train_state,
    train_step_fn,
)
from experiments.music_generation.config import Config
from experiments.music_generation.model import Model, ModelParams, loss_fn


def optimizer(config: Config) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Return AdamW behind a clipped norm, and its learning rate of each step."""
    schedule = warmup_cosine(config.learning_rate, config.warmup_steps, config.steps)
    tx = clipped_adamw(
        schedule,
        clip_norm=config.clip_norm,
        b2=config.adam_b2,
        weight_decay=config.weight_decay,
    )
    return tx, schedule


def initial_states(config: Config, model: Model) -> TrainState:
    """Return the states before the first step, each leaf `[S, ...]`, drawn from the seeds."""
    tx, _ = optimizer(config)

    def initial(seed: jax.Array) -> TrainState:
        init_key, key = jax.random.split(jax.random.key(seed))
        return initial_train_state(model.init(init_key), tx, key, ema_decay=config.ema_decay)

    # Compiled whole: otherwise some fifty small programs are, one after the other.
    return jax.jit(jax.vmap(initial))(np.array(config.seeds, np.uint32))


def make_train_step(config: Config, model: Model) -> TrainStep:
    """Return the compiled step of all models, `(state, batch) -> (state, report)`.

    State, batch and report have a leading S axis. The state's buffers are given up.
    """
    tx, schedule = optimizer(config)

    def loss(params: Any, batch: Any, carry: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        return loss_fn(params, model, batch, key), carry

    train_step = train_step_fn(loss, tx, schedule, ema_decay=config.ema_decay)
    return jax.jit(jax.vmap(train_step), donate_argnums=0)


def evaluated_params_of_each(state: TrainState, ema_decay: float) -> ModelParams:
    """Return the parameters to evaluate, each leaf `[S, ...]`."""
    return jax.vmap(lambda one: evaluated_params(one, ema_decay))(state)
