"""What diagonal linear cells have in common: complex numbers in real arrays, and rings.

Two real fields and no complex one: a complex parameter needs an optimiser that conjugates, and
a state of one would be left out wherever floating-point arrays are looked for.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.cells.units import scale_units
from deeprnn_jax.checks import is_number
from deeprnn_jax.types import Array

_SMALLEST = 2.0**-24  # half of float32's spacing below 1: neither 0 nor 1 is ever drawn


class Pair(NamedTuple):
    """Complex numbers, as two real arrays of one shape."""

    re: Array
    im: Array


class Ring(NamedTuple):
    """Moduli r of eigenvalues, each as the two numbers that do not round to 0."""

    decay: Array  # -log r
    gap: Array  # 1 - r²


def multiply(a: Pair, b: Pair) -> Pair:
    """Give a b, element by element."""
    return Pair(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)


def scale_pairs(gain: Pair, z: Pair) -> Pair:
    """Multiply z [..., N] by gain [N], each unit by its own."""
    return multiply(Pair(*(lax.broadcast_to_rank(part, z.re.ndim) for part in gain)), z)


def advance(eigenvalue: Pair, h: Pair, x_proj: Array) -> Pair:
    """Give λ ⊙ h + u, for u [..., 2*N], its real parts before its imaginary ones."""
    u_re, u_im = jnp.split(x_proj, 2, axis=-1)
    turned = scale_pairs(eigenvalue, h)
    return Pair(turned.re + u_re, turned.im + u_im)


def read_out(h: Pair, w_y: Array) -> Array:
    """Give Re(C h), for w_y [2*N, H], the real parts of C before its imaginary ones."""
    w_re, w_im = jnp.split(w_y, 2)
    return h.re @ w_re - h.im @ w_im


def draw_feedthrough(key: Array, input_size: int, hidden_size: int) -> Array:
    """Draw D: of N(0, 1) a unit where the widths are equal, else a matrix of N(0, 1/I)."""
    if input_size == hidden_size:
        return jax.random.normal(key, (hidden_size,), jnp.float32)
    shape = (input_size, hidden_size)
    return jax.random.normal(key, shape, jnp.float32) / math.sqrt(input_size)


def feed_through(d: Array, x: Array) -> Array:
    """Give D x, for D one number a unit or a matrix."""
    return scale_units(d, x) if d.ndim == 1 else x @ d


def draw_open(key: Array, size: int) -> Array:
    """Draw from U(0, 1) without either end, [size]."""
    return jax.random.uniform(key, (size,), jnp.float32, _SMALLEST, 1 - _SMALLEST)


def draw_ring(key: Array, size: int, r_min: float, r_max: float) -> Ring:
    """Draw moduli of numbers that lie evenly in a ring: r² ~ U(r_min², r_max²)."""
    u = draw_open(key, size)
    width = r_max**2 - r_min**2
    square = r_min**2 + (1 - u) * width
    gap = (1 - r_max) * (1 + r_max) + u * width  # not 1 - square, which is 0 too soon
    log_square = jnp.where(square < 0.5, jnp.log(square), jnp.log1p(-gap))
    return Ring(-0.5 * log_square, gap)


def check_ring(function: str, r_min: float, r_max: float) -> None:
    """Raise ValueError unless 0 <= r_min < r_max <= 1: outside, states grow without bound."""
    if not (is_number(r_min) and is_number(r_max) and 0 <= r_min < r_max <= 1):
        raise ValueError(
            f"{function}: r_min and r_max must be radii with 0 <= r_min < r_max <= 1, got "
            f"{r_min!r} and {r_max!r}; for example 0.9 and 0.999"
        )
