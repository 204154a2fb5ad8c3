"""Haiku's `dynamic_unroll` of a `DeepRNN`, two LSTM layers and a relu between them."""

from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.peers.contract import library
from experiments.benchmarks.scans.code import Code, Scan, draw, mean_square, normal


def build(
    rng: np.random.Generator, code: str, batch_size: int, num_steps: int, hidden_size: int
) -> Code:
    """Draw the two layers."""
    del code
    hk = library("haiku", "dm-haiku")

    def unroll(x: jax.Array) -> Any:
        core = hk.DeepRNN([hk.LSTM(hidden_size), jax.nn.relu, hk.LSTM(hidden_size)])
        return hk.dynamic_unroll(core, x, core.initial_state(x.shape[1]))[0]

    network = hk.without_apply_rng(hk.transform(unroll))

    def loss(scan: Scan, params: Any, x: jax.Array) -> jax.Array:
        # dynamic_unroll does not ask which scan: it takes jax.lax's
        with mock.patch.object(jax.lax, "scan", scan):
            return mean_square(network.apply(params, x))

    x = normal(rng, num_steps, batch_size, hidden_size)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros_like(x))
    return Code(draw(rng, shapes), x, loss)
