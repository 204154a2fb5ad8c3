"""The two networks: one for daily prices, one for hourly windows.

y_t = deep_rnn(x_1 .. x_t)          deeprnn_jax
a_t = W y_t + b                     flax.linen.Dense
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.common.experiment import Model
from experiments.common.networks import dropout, make_network, split_or_none
from experiments.stock_prediction.config import Config


class Params(NamedTuple):
    """The parameters of the recurrent part, and of the readout."""

    rnn: Any
    readout: Any


def daily_model(config: Config, facts: Mapping[str, Any]) -> Model:
    """Return the network for prices: x `[T, B, I]` to `[T, B, 2]`, logit and log ratio."""
    dense = nn.Dense(2, dtype=config.compute_dtype, kernel_init=nn.initializers.zeros)
    return _reader(config, facts["num_features"], dense)


def hourly_model(config: Config, facts: Mapping[str, Any]) -> Model:
    """Return the network for hours: x `[B, input_length, V]` to `[B, horizon, V]`."""
    segment, variables = config.segment_length, len(facts["variables"])
    dense = nn.Dense(config.horizon, dtype=config.compute_dtype)
    reader = _reader(config, segment + variables, dense, last_only=True)

    def apply(params: Params, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        rows, steps = x.shape[0], x.shape[1] // segment
        last = x[:, -1:]
        segments = (x - last).reshape(rows, steps, segment, variables).transpose(1, 0, 3, 2)
        kinds = jnp.broadcast_to(jnp.eye(variables), (steps, rows, variables, variables))
        out = reader.apply(params, jnp.concatenate([segments, kinds], axis=-1), key)
        return last + out.transpose(0, 2, 1)

    return Model(reader.init, apply)


def _reader(config: Config, input_size: int, dense: Any, *, last_only: bool = False) -> Model:
    """Return the network from x `[T, B, I]` to `[T, B, O]`; `last_only`: of the last step."""
    rnn = make_network(config)

    def init(key: jax.Array) -> Params:
        rnn_key, dense_key = jax.random.split(key)
        readout = dense.init(dense_key, jnp.zeros((0, config.hidden_size)))
        return Params(rnn.init(rnn_key, input_size), readout)

    def apply(params: Params, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        rnn_key, out_key = split_or_none(key, 2)
        _, y = rnn.apply(params.rnn, x, key=rnn_key, schedule=config.schedule)
        y = dropout(y[-1] if last_only else y, config.dropout, out_key)
        return dense.apply(params.readout, y)

    return Model(init, apply)
