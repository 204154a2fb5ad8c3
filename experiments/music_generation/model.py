"""The model: a frame in, for each of 88 keys the logit that it sounds in the next one.

    y_t = deep_rnn(x_1 .. x_t)   deeprnn_jax
    logits_t = W y_t + b         flax.linen.Dense

The keys of a frame are independent given the frames before: p = Π_k σ(logit_k) where key
k sounds, σ(-logit_k) where it does not. x_1 is a silent frame, so that the first frame of
a piece is learned, too, and a model can begin a piece by itself.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from experiments.common.networks import dropout, make_network, split_or_none
from experiments.music_generation.config import Config
from experiments.music_generation.rolls import NUM_KEYS

State = Any  # the recurrent network's state, a pytree


class Params(NamedTuple):
    """The parameters, one field a part."""

    rnn: Any
    readout: Any


class Model(NamedTuple):
    """A model of music as pure functions, as the network inside it is.

    With a key, dropout is on.
    """

    init: Callable[[jax.Array], Params]
    initial_state: Any  # (params, batch_size) -> state, before the silent frame
    apply: Any  # (params, x [T, B, 88], state, lengths [B] = None, key = None)
    #             -> (state, logits [T, B, 88])
    step: Any  # (params, x [B, 88], state) -> (state, logits [B, 88]), numbers of `apply`


def build(config: Config, facts: Mapping[str, Any]) -> Model:
    """Return the model of a config; it is the same for all music."""
    dense: Any = nn.Dense(NUM_KEYS, dtype=jnp.dtype(config.compute_dtype))
    rnn = make_network(config)

    def init(key: jax.Array) -> Params:
        rnn_key, dense_key = jax.random.split(key)
        width = config.hidden_size + (NUM_KEYS if config.frame_to_readout else 0)
        readout = dense.init(dense_key, jnp.zeros((0, width)))
        return Params(rnn.init(rnn_key, NUM_KEYS), readout)

    def scaled(x: jax.Array) -> jax.Array:
        return config.input_scale * x.astype(jnp.float32)

    def initial_state(params: Params, batch_size: int) -> State:
        return rnn.initial_state(params.rnn, batch_size)

    def read_out(params: Params, y: jax.Array, x: jax.Array) -> jax.Array:
        seen = jnp.concatenate([y, x], axis=-1) if config.frame_to_readout else y
        return dense.apply(params.readout, seen).astype(jnp.float32)  # as the loss is taken

    def apply(
        params: Params,
        x: jax.Array,
        state: State,
        lengths: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[State, jax.Array]:
        keys = split_or_none(key, 3)
        x = dropout(scaled(x), config.input_dropout, keys[0])
        state, y = rnn.apply(
            params.rnn, x, state, lengths=lengths, key=keys[1], schedule=config.schedule
        )
        return state, read_out(params, dropout(y, config.dropout, keys[2]), x)

    def step(params: Params, x: jax.Array, state: State) -> tuple[State, jax.Array]:
        x = scaled(x)
        state, y = rnn.step(params.rnn, state, x)
        return state, read_out(params, y, x)

    return Model(init, initial_state, apply, step)


def frame_nats(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the nats of frames `[*B]`: the cross-entropies of 88 keys, summed."""
    return optax.sigmoid_binary_cross_entropy(logits, labels.astype(jnp.float32)).sum(-1)
