"""The model: a frame in, for each of 88 keys the logit that it sounds in the next one.

    y_t = deep_rnn(x_1 .. x_t)   deeprnn_jax
    logits_t = W y_t + b         flax.linen.Dense

The keys of a frame are independent given the frames before: p = Π_k σ(logit_k) where key
k sounds, σ(-logit_k) where it does not. x_1 is a silent frame, so that the first frame of
a piece is learned, too, and a model can begin a piece by itself.
"""

from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import deeprnn_jax as drnn
from experiments.common.networks import dropout, make_cell, make_network
from experiments.music_generation.batches import Batch
from experiments.music_generation.config import Config
from experiments.music_generation.rolls import NUM_KEYS

State = Any  # the recurrent network's state, a pytree


class ModelParams(NamedTuple):
    """The parameters, one field a part."""

    rnn: Any
    readout: Any


class InitFn(Protocol):
    """Draw the parameters."""

    def __call__(self, key: jax.Array) -> ModelParams: ...


class InitialStateFn(Protocol):
    """Return the state before the silent frame."""

    def __call__(self, params: ModelParams, batch_size: int) -> State: ...


class ApplyFn(Protocol):
    """Run over frames `[T, B, 88]` to logits `[T, B, 88]`; with a key, dropout is on."""

    def __call__(
        self,
        params: ModelParams,
        x: jax.Array,
        state: State,
        lengths: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[State, jax.Array]: ...


class StepFn(Protocol):
    """Run over one frame a row `[B, 88]` to logits `[B, 88]`; the numbers of `apply`."""

    def __call__(
        self, params: ModelParams, x: jax.Array, state: State
    ) -> tuple[State, jax.Array]: ...


class Model(NamedTuple):
    """A model of music as pure functions, as the network inside it is."""

    init: InitFn
    initial_state: InitialStateFn
    apply: ApplyFn
    step: StepFn


def recurrent_network(config: Config) -> drnn.DeepRNN:
    """Return the recurrent part."""
    cell = make_cell(config.cell, config.hidden_size, config.weight_drop)
    return make_network(
        cell,
        config.num_layers,
        skip=config.skip,
        normalize_inputs=config.layer_norm,
        dropout=config.dropout,
    )


def music_model(config: Config) -> Model:
    """Return the model of a config."""
    dense: Any = nn.Dense(NUM_KEYS)
    rnn = recurrent_network(config)

    def init(key: jax.Array) -> ModelParams:
        rnn_key, dense_key = jax.random.split(key)
        width = config.hidden_size + (NUM_KEYS if config.frame_to_readout else 0)
        readout = dense.init(dense_key, jnp.zeros((0, width)))
        return ModelParams(rnn.init(rnn_key, NUM_KEYS), readout)

    def scaled(x: jax.Array) -> jax.Array:
        return config.input_scale * x.astype(jnp.float32)

    def initial_state(params: ModelParams, batch_size: int) -> State:
        return rnn.initial_state(params.rnn, batch_size)

    def read_out(params: ModelParams, y: jax.Array, x: jax.Array) -> jax.Array:
        seen = jnp.concatenate([y, x], axis=-1) if config.frame_to_readout else y
        return dense.apply(params.readout, seen)

    def apply(
        params: ModelParams,
        x: jax.Array,
        state: State,
        lengths: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[State, jax.Array]:
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        x = dropout(scaled(x), config.input_dropout, keys[0])
        state, y = rnn.apply(
            params.rnn, x, state, lengths=lengths, key=keys[1], schedule=config.schedule
        )
        return state, read_out(params, dropout(y, config.dropout, keys[2]), x)

    def step(params: ModelParams, x: jax.Array, state: State) -> tuple[State, jax.Array]:
        x = scaled(x)
        state, y = rnn.step(params.rnn, state, x)
        return state, read_out(params, y, x)

    return Model(init, initial_state, apply, step)


def apply_once(config: Config, model: Model) -> tuple[State, jax.Array]:
    """Draw parameters and apply the model to a batch of silence, dropout and all."""
    key = jax.random.key(config.seed)
    params = model.init(key)
    x = jnp.zeros((config.crop_frames, config.batch_size, NUM_KEYS))
    lengths = jnp.full(config.batch_size, config.crop_frames)
    return model.apply(params, x, model.initial_state(params, config.batch_size), lengths, key)


def frame_nats(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the nats of frames `[*B]`: the cross-entropies of 88 keys, summed."""
    return optax.sigmoid_binary_cross_entropy(logits, labels.astype(jnp.float32)).sum(-1)


def loss_fn(params: ModelParams, model: Model, batch: Batch, key: jax.Array | None) -> jax.Array:
    """Return the mean nats a frame over the real frames of a batch, first frames included."""
    x, labels, lengths = map(jnp.asarray, batch)
    state = model.initial_state(params, x.shape[1])
    _, logits = model.apply(params, x, state, lengths, key)
    is_real = jnp.arange(x.shape[0])[:, None] < lengths[None]  # [T, B]
    return jnp.sum(frame_nats(logits, labels), where=is_real) / lengths.sum()
