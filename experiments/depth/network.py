"""The networks that are compared: one-hot symbols or numbers in, layers of a cell, a readout."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import deeprnn_jax as drnn
from experiments.common.networks import CELLS
from experiments.common.updates import num_parameters

# How a deep network may be helped: what goes around a layer, or a norm in its cell.
HELPS = ("none", "residual", "highway", "layer_norm")


def make_network(
    cell: str, num_layers: int, hidden_size: int, output_size: int, helped_by: str = "none"
) -> drnn.DeepRNN:
    """Return a deep network.

    Args:
      cell: one of `common.networks.CELLS`.
      num_layers: L.
      hidden_size: H.
      output_size: O.
      helped_by: one of `HELPS`.
    """
    made = CELLS[cell](hidden_size)
    norm = helped_by == "layer_norm"
    return drnn.deep_rnn(
        drnn.layer_norm(made) if norm else made,
        num_layers,
        output_size=output_size,
        skip=None if norm or helped_by == "none" else helped_by,
    )


def size_of(rnn: drnn.DeepRNN, input_size: int) -> int:
    """Return how many parameters a network has."""
    return num_parameters(jax.eval_shape(lambda: rnn.init(jax.random.key(0), input_size)))


def equal_width(count: Callable[[int], int], parameters: int) -> int:
    """Return the number of units whose network comes nearest to a number of parameters.

    Args:
      count: from H to the parameters, a polynomial of second degree.
      parameters: how many there are to be.

    Example:
      >>> equal_width(lambda h: h * h + 3 * h, 1000)
      30
    """
    one, two, three = (count(units) for units in (1, 2, 3))
    square = (three - 2 * two + one) / 2
    linear = two - one - 3 * square
    constant = one - linear - square
    units = max(np.roots([square, linear, constant - parameters]).real)
    near = max(1, math.floor(units)), max(1, math.ceil(units))
    return min(near, key=lambda h: abs(count(h) - parameters))


def as_input(x: jax.Array, input_size: int) -> jax.Array:
    """Return symbols `[T, B]` as one-hot vectors `[T, B, I]`, of length √I; numbers stay.

    Weights are drawn for I features of variance one: of vectors of length one the gates would at
    first hear next to nothing.
    """
    if not jnp.issubdtype(x.dtype, jnp.integer):
        return x
    return math.sqrt(input_size) * jax.nn.one_hot(x, input_size)


def layers_of(rnn: drnn.DeepRNN, params: Any, x: jax.Array) -> jax.Array:
    """Return the states h of all layers, `[L, T, B, H]`."""
    return jnp.stack([layer.state.h for layer in rnn.inspect(params, x)[2]])
