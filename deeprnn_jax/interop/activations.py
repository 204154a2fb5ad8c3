"""Activation functions by the names that other libraries give them."""

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import Activation
from deeprnn_jax.types import Array


def linear(x: Array) -> Array:
    """Give x as it is."""
    return x


# The names are Keras's (tanh and relu also torch's); functions that differ from
# Keras's default form, as jax.nn.gelu and jax.nn.leaky_relu do, are not here.
NAMED: dict[str, Activation] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "linear": linear,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_silu": jax.nn.hard_silu,
    "relu6": jax.nn.relu6,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "exponential": jnp.exp,
    "log_sigmoid": jax.nn.log_sigmoid,
}

_ALIASES = {jax.lax.tanh: "tanh", jax.lax.logistic: "sigmoid", jax.lax.exp: "exponential"}
_NAMES = {function: name for name, function in NAMED.items()} | _ALIASES


def name_of(activation: Activation) -> str | None:
    """Give the name of a function, or None if it is not one of `NAMED`."""
    try:
        return _NAMES.get(activation)
    except TypeError:  # not hashable
        return None
