"""The two networks: one for daily prices, one for hourly windows.

    y_t = deep_rnn(x_1 .. x_t)          deeprnn_jax
    a_t = W y_t + b                     flax.linen.Dense

Prices: a_t is two numbers a day: the logit of "up tomorrow", and by how much the variance
differs from the EWMA's, log σ²_{t+1} = log v_t + a. W starts at zero, and so the training
starts from a coin and the EWMA.

Hours: each variable is read by itself, with the same weights (channel independence, Nie et
al. 2023), less its last value, in segments of so many hours a step (SegRNN, Lin et al.
2023), and a_T is all hours of the forecast at once, less that value again. What kind of
variable it is, is told by a one-hot vector.
"""

from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.common.networks import dropout, make_cell, make_network
from experiments.stock_prediction.config import Config


class ModelParams(NamedTuple):
    """The parameters, one field a part."""

    rnn: Any
    readout: Any


class InitFn(Protocol):
    """Draw the parameters."""

    def __call__(self, key: jax.Array) -> ModelParams: ...


class ApplyFn(Protocol):
    """Run over inputs; with a key, dropout is on."""

    def __call__(
        self, params: ModelParams, x: jax.Array, key: jax.Array | None = None
    ) -> jax.Array: ...


class Model(NamedTuple):
    """A network as pure functions."""

    init: InitFn
    apply: ApplyFn


def recurrent_network(config: Config) -> drnn.DeepRNN:
    """Return the recurrent part."""
    cell = make_cell(config.cell, config.hidden_size)
    return make_network(cell, config.num_layers, skip=config.skip, dropout=config.dropout)


def daily_model(config: Config, num_features: int) -> Model:
    """Return the network for prices: x `[T, B, I]` to `[T, B, 2]`, logit and log ratio."""
    rnn = recurrent_network(config)
    dense: Any = nn.Dense(2, kernel_init=nn.initializers.zeros)

    def init(key: jax.Array) -> ModelParams:
        rnn_key, dense_key = jax.random.split(key)
        readout = dense.init(dense_key, jnp.zeros((0, config.hidden_size)))
        return ModelParams(rnn.init(rnn_key, num_features), readout)

    def apply(params: ModelParams, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        rnn_key, out_key = (None, None) if key is None else jax.random.split(key)
        _, y = rnn.apply(params.rnn, x, key=rnn_key, schedule=config.schedule)
        return dense.apply(params.readout, dropout(y, config.dropout, out_key))

    return Model(init, apply)


def hourly_model(config: Config, num_variables: int) -> Model:
    """Return the network for hours: x `[B, input_length, V]` to `[B, horizon, V]`."""
    rnn = recurrent_network(config)
    dense: Any = nn.Dense(config.horizon)
    segment = config.segment_length

    def init(key: jax.Array) -> ModelParams:
        rnn_key, dense_key = jax.random.split(key)
        readout = dense.init(dense_key, jnp.zeros((0, config.hidden_size)))
        return ModelParams(rnn.init(rnn_key, segment + num_variables), readout)

    def apply(params: ModelParams, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        rnn_key, out_key = (None, None) if key is None else jax.random.split(key)
        rows, steps = x.shape[0], x.shape[1] // segment
        last = x[:, -1:]
        segments = (x - last).reshape(rows, steps, segment, num_variables)
        kinds = jnp.broadcast_to(
            jnp.eye(num_variables), (steps, rows, num_variables, num_variables)
        )
        read = jnp.concatenate([segments.transpose(1, 0, 3, 2), kinds], axis=-1)
        _, y = rnn.apply(params.rnn, read, key=rnn_key, schedule=config.schedule)
        out = dense.apply(params.readout, dropout(y[-1], config.dropout, out_key))
        return last + out.transpose(0, 2, 1)

    return Model(init, apply)
