"""Many networks trained side by side: all steps of all of them are one compiled program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.compiling import quickly
from experiments.common.experiment import keys_of

_CLIP_NORM = 1.0  # of each member's gradient


class Learner(NamedTuple):
    """What a member learns, as pure functions."""

    init: Callable[[jax.Array], Any]  # key -> params
    first: Callable[[Any], Any]  # params -> the state before the first batch
    batch_at: Callable[[Any, jax.Array, Any], Any]  # (data, step, member's key) -> a batch
    loss: Callable[[Any, Any, Any], tuple[jax.Array, Any]]  # (params, batch, state) -> loss, state


class Members(NamedTuple):
    """Trained members, leaves `[M, ...]`."""

    start: Any  # parameters
    params: Any
    losses: jax.Array  # [M, steps]


def grid(seeds: int, rates: tuple[float, ...]) -> tuple[jax.Array, jax.Array]:
    """Return keys and learning rates `[seeds * R]` of all pairs, the rates of a seed together."""
    keys = keys_of(np.repeat(np.arange(seeds), len(rates)))
    return keys, jnp.tile(jnp.asarray(rates, jnp.float32), seeds)


@quickly(static_argnames="learner")
def init_members(learner: Learner, keys: jax.Array) -> Any:
    """Return the first parameters of each member."""
    return jax.vmap(lambda key: learner.init(jax.random.split(key)[0]))(keys)


def train_members(
    learner: Learner, data: Any, keys: jax.Array, rates: jax.Array, *, steps: int
) -> Members:
    """Train a network for each key and learning rate, by Adam behind a clipped norm.

    The rate rises over the first tenth of the steps, and falls to zero as a cosine.

    Args:
      learner: what all learn.
      data: what `learner.batch_at` reads, the same for all.
      keys: `[M]`.
      rates: `[M]`, the highest learning rate of each.
      steps: of each.
    """
    # By itself: the matrices that are orthogonal at first take half of the compiling.
    start = init_members(learner, keys)
    return _train_members(learner, data, keys, rates, start, steps)


def _data_key(key: jax.Array) -> jax.Array:
    return jax.random.split(key)[1]


@quickly(static_argnames="learner")
def first_gradients(learner: Learner, data: Any, keys: jax.Array, start: Any) -> Any:
    """Return each member's gradient of its first batch, at its first parameters, not clipped.

    Args:
      learner: what all learn.
      data: see `train_members`.
      keys: `[M]`.
      start: `Members.start`, leaves `[M, ...]`.
    """

    def of_one(key: jax.Array, params: Any) -> Any:
        batch = learner.batch_at(data, jnp.int32(0), _data_key(key))
        return jax.grad(learner.loss, has_aux=True)(params, batch, learner.first(params))[0]

    return jax.vmap(of_one)(keys, start)


@quickly(static_argnames=("learner", "steps"))
def _train_members(
    learner: Learner, data: Any, keys: jax.Array, rates: jax.Array, start: Any, steps: int
) -> Members:
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, max(1, steps // 10), steps)
    scaled = optax.chain(optax.clip_by_global_norm(_CLIP_NORM), optax.scale_by_adam(b2=0.99))

    def train(key: jax.Array, rate: jax.Array, start: Any) -> Members:
        data_key = _data_key(key)

        def one_step(carry: Any, step: jax.Array) -> tuple[Any, jax.Array]:
            params, opt_state, state = carry
            batch = learner.batch_at(data, step, data_key)
            (loss, state), gradient = jax.value_and_grad(learner.loss, has_aux=True)(
                params, batch, state
            )
            updates, opt_state = scaled.update(gradient, opt_state, params)
            updates = jax.tree.map(lambda leaf: -rate * shape(step) * leaf, updates)
            return (optax.apply_updates(params, updates), opt_state, state), loss

        carry = start, scaled.init(start), learner.first(start)
        (params, _, _), losses = jax.lax.scan(one_step, carry, jnp.arange(steps))
        return Members(start, params, losses)

    return jax.vmap(train)(keys, rates, start)
