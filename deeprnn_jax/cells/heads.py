"""What cells with heads have in common: blocks of units, matrix memories, their decay."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.cells.units import add_bias, normalize, scale_units
from deeprnn_jax.checks import Initializer, one_of
from deeprnn_jax.types import Array, exported

_EPSILON = 1e-5  # of the normalisation of a head's output


OutputNorm = Annotated[Literal["rms", "layer"] | None, one_of(None, "rms", "layer")]


def head_size(function: str, hidden_size: int, num_heads: int) -> int:
    """Give the units of a head, or raise ValueError unless the heads are equal."""
    if hidden_size % num_heads:
        near = num_heads * max(1, round(hidden_size / num_heads))
        raise ValueError(
            f"{function}: hidden_size must be a multiple of num_heads={num_heads}, got "
            f"{hidden_size}; for example {near}"
        )
    return hidden_size // num_heads


def split_heads(z: Array, num_heads: int) -> Array:
    """Give z [..., heads*N] as [..., heads, N]."""
    return z.reshape(*z.shape[:-1], num_heads, z.shape[-1] // num_heads)


def join_heads(z: Array) -> Array:
    """Give z [..., heads, N] as [..., heads*N]."""
    return z.reshape(*z.shape[:-2], z.shape[-2] * z.shape[-1])


def split_widths(z: Array, widths: Sequence[int]) -> list[Array]:
    """Cut z [..., sum of widths] into parts of these widths."""
    return jnp.split(z, list(accumulate(widths[:-1])), axis=-1)


def draw_widths(init: Initializer, key: Array, input_size: int, widths: Sequence[int]) -> Array:
    """Draw matrices [I, width], each on its own, and join them on the last axis."""
    keys = jax.random.split(key, len(widths))
    blocks = [
        init(k, (input_size, width), jnp.float32) for k, width in zip(keys, widths, strict=True)
    ]
    return jnp.concatenate(blocks, axis=-1)


def outer(k: Array, v: Array) -> Array:
    """Give the matrices k vᵀ [..., K, V] of k [..., K] and v [..., V]."""
    return k[..., :, None] * v[..., None, :]


def read(s: Array, q: Array) -> Array:
    """Read matrices s [..., K, V] by q [..., K]: sᵀ q [..., V]."""
    return jnp.einsum("...kv,...k->...v", s, q)


def normalize_heads(norm: str | None, gain: Array | None, y: Array) -> Array:
    """Normalise each head of y [..., heads, V], and join them.

    Args:
      norm: "rms" divides by the root of the mean square, "layer" makes mean 0 and variance
        1 (a group norm, a head a group); None leaves y as it is.
      gain: what each unit is multiplied by then, `[heads*V]`.
      y: the output.

    Returns:
      `[..., heads*V]`.
    """
    if norm is None or gain is None:
        return join_heads(y)
    return scale_units(gain, join_heads(normalize(norm, y, _EPSILON)))


@exported
class Decay(NamedTuple):
    """Parameters of a decay that the input decides, one a head.

    a = exp(-exp(a_log) · softplus(z + dt_bias)): a step of length softplus(z + dt_bias) at the
    rate exp(a_log).
    """

    a_log: Array  # [heads]
    dt_bias: Array  # [heads]


def init_decay(key: Array, num_heads: int) -> Decay:
    """Draw rates from U(0, 16), and steps at z = 0 log-uniform from 0.001 to 0.1."""
    k_rate, k_step = jax.random.split(key)
    tiny = float(jnp.finfo(jnp.float32).tiny)  # not 0, of which a_log would be -inf
    rate = jax.random.uniform(k_rate, (num_heads,), jnp.float32, tiny, 16.0)
    low, high = math.log(0.001), math.log(0.1)
    step = jnp.exp(jax.random.uniform(k_step, (num_heads,), jnp.float32, low, high))
    return Decay(jnp.log(rate), step + jnp.log(-jnp.expm1(-step)))  # softplus⁻¹


def decay_of(params: Decay, z: Array) -> Array:
    """Give a in (0, 1] of z [..., heads]."""
    rate = lax.broadcast_to_rank(jnp.exp(params.a_log), z.ndim)
    return jnp.exp(-rate * jax.nn.softplus(add_bias(z, params.dt_bias)))
