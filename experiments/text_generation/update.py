"""What a training step does with a chunk of text: its loss and its optimiser."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import updates
from experiments.common.optimizers import clipped_adamw, warmup_cosine
from experiments.common.updates import TrainState, TrainStep
from experiments.text_generation.batches import Batch
from experiments.text_generation.config import Config
from experiments.text_generation.model import Model, ModelParams, State


def learning_rate_schedule(config: Config) -> optax.Schedule:
    """Return the learning rate of each step.

    "cosine": linear warm-up, then a cosine to zero. "steps": constant for
    `constant_steps`, then times `decay_factor`, and again every `decay_interval` steps
    (Zaremba et al. 2014: a factor an epoch).
    """
    if config.rate_schedule == "cosine":
        return warmup_cosine(config.learning_rate, config.warmup_steps, config.steps)

    def stepwise(step: Any) -> jax.Array:
        past = step - config.constant_steps
        decays = jnp.where(past < 0, 0, 1 + past // config.decay_interval)
        return config.learning_rate * config.decay_factor**decays

    return stepwise


def optimizer(config: Config) -> optax.GradientTransformation:
    """Return AdamW or plain gradient descent, behind a clipped global norm."""
    schedule = learning_rate_schedule(config)
    if config.optimizer == "sgd":
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.sgd(schedule))
    return clipped_adamw(
        schedule,
        clip_norm=config.clip_norm,
        b2=config.adam_b2,
        weight_decay=config.weight_decay,
    )


def initial_train_state(config: Config, model: Model) -> TrainState:
    """Return the state before the first step, all of it drawn from the seed."""

    @jax.jit
    def initial(seed_key: jax.Array) -> TrainState:
        return updates.drawn_train_state(
            seed_key,
            model.init,
            optimizer(config),
            carry_of=lambda params: model.initial_state(params, config.batch_size),
            ema_decay=config.ema_decay,
        )

    return initial(jax.random.key(config.seed))


def apply_once(config: Config, model: Model) -> tuple[State, jax.Array]:
    """Draw parameters and apply the model to a batch of zeros, dropout and all."""
    key = jax.random.key(config.seed)
    params = model.init(key)
    symbols = jnp.zeros((config.chunk_length, config.batch_size), jnp.int32)
    return model.apply(params, symbols, model.initial_state(params, config.batch_size), key)


def loss_fn(
    params: ModelParams,
    model: Model,
    batch: Batch,
    rnn_state: State,
    key: jax.Array | None,
) -> tuple[jax.Array, State]:
    """Return the mean nats a symbol over `[T, B]`, and the state after the chunk.

    A fresh chunk starts from the initial state, whatever is handed on.
    """
    start = jax.tree.map(
        lambda first, carried: jnp.where(batch.fresh, first, carried),
        model.initial_state(params, batch.x.shape[1]),
        rnn_state,
    )
    rnn_state, logits = model.apply(params, jnp.asarray(batch.x), start, key)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    return nats.mean(), rnn_state


def make_train_step(config: Config, model: Model) -> TrainStep:
    """Return the compiled step; see `common.updates.make_train_step`."""

    def loss(
        params: ModelParams, batch: Batch, rnn_state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        return loss_fn(params, model, batch, rnn_state, key)

    return updates.make_train_step(
        loss, optimizer(config), learning_rate_schedule(config), ema_decay=config.ema_decay
    )
