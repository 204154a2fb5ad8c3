"""The real-gated linear recurrent unit, Griffin's and RecurrentGemma's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.diagonal import check_ring, draw_ring
from deeprnn_jax.cells.heads import join_heads, split_heads
from deeprnn_jax.cells.units import add_bias, scale_units, zeros_state
from deeprnn_jax.checks import Initializer, Size
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported

_SHARPNESS = 8.0  # the paper's c: r's range is that of a from 1 to its eighth power
_MAX_SLOPE = 1000.0  # of the root


@exported
class RGLRUParams(NamedTuple):
    """Weights of `rg_lru`; gates in the order i, r; K = H / heads."""

    p: Array  # [H], softplus(p) = -log of the eighth root of a where r = 1
    w_x: Array | None  # [I, H]; None where I = H
    w_g: Array  # [heads, K, 2*K]
    b_g: Array  # [heads, 2*K]


@exported
class RGLRUState(NamedTuple):
    """State of `rg_lru`."""

    h: Array  # [*B, H]


@exported
class RGLRUGates(NamedTuple):
    """Activations of the gates of `rg_lru`, each `[*B, H]`."""

    i: Array
    r: Array


@factory
def rg_lru(
    hidden_size: Size,
    num_heads: Size = 1,
    *,
    r_min: float = 0.9,
    r_max: float = 0.999,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_g_init: Initializer = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal"),
) -> Cell:
    """Make a real-gated linear recurrent unit.

        u_t = W_x x_t                              or x_t itself, where it has H features
        i_t = σ(W_i u_t + b_i)                     W_i, W_r: `num_heads` blocks on the diagonal
        r_t = σ(W_r u_t + b_r)
        log a_t = -8 r_t ⊙ softplus(p)
        h_t = a_t ⊙ h_{t-1} + √(1 - a_t²) ⊙ i_t ⊙ u_t

    The slope of the root is held at 1000 or below, or the gradient would be infinite at
    a = 1. p gets a smaller learning rate, if any does, and no weight decay: by its name, as
    the example of `lru` does.

    Args:
      hidden_size: H, the width of the state and of the output.
      num_heads: how many equal blocks the gates' matrices are made of.
      r_min: inner radius of the ring in which exp(-softplus(p)) lies evenly at the start.
      r_max: outer radius.
      w_x_init: initialiser of w_x `[I, H]`.
      w_g_init: initialiser of each block of each gate, `[H/num_heads, H/num_heads]`.

    Returns:
      The cell; state `RGLRUState(h)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if a size is not a positive int, the heads do not divide H, or the radii are
        not in order within [0, 1].

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> drnn.rg_lru(8, num_heads=2).init(jax.random.key(0), 8).w_g.shape
      (2, 4, 8)

    References:
      De et al. 2024, "Griffin: mixing gated linear recurrences with local attention for
      efficient language models", section 2.4. The ring is that of their code; the text says
      that a⁸ lies in it. W_g begins as in their torch code; their JAX code has 1/heads of the
      variance. Deviations: W_x, for inputs of another width. And theirs takes 1 for
      √(1 - a²) at the first step after a reset; here a reset does nothing but set h, so that
      it is the first step of a sequence from h = 0, and any first state may take its place.
    """
    check_ring("rg_lru", r_min, r_max)
    if hidden_size % num_heads:
        raise ValueError(
            f"rg_lru: num_heads must divide hidden_size={hidden_size}, got {num_heads}; each head "
            "has hidden_size / num_heads units"
        )
    width = hidden_size // num_heads

    def init(key: Array, input_size: int) -> RGLRUParams:
        k_p, k_x, k_g = jax.random.split(key, 3)
        ring = draw_ring(k_p, hidden_size, r_min, r_max)
        blocks = initializers.per_gate(w_g_init, k_g, 2 * num_heads, (width, width))
        w_x = None
        if input_size != hidden_size:
            w_x = w_x_init(k_x, (input_size, hidden_size), jnp.float32)
        return RGLRUParams(
            p=jnp.log(jnp.expm1(ring.decay)),
            w_x=w_x,
            w_g=blocks.reshape(width, num_heads, 2 * width).swapaxes(0, 1),
            b_g=jnp.zeros((num_heads, 2 * width), jnp.float32),
        )

    def initial_state(params: RGLRUParams, batch_shape: tuple[int, ...]) -> RGLRUState:
        return RGLRUState(h=zeros_state(params, batch_shape, hidden_size))

    def enter(params: RGLRUParams, x: Array) -> Array:
        return x if params.w_x is None else x @ params.w_x

    def open_gates(params: RGLRUParams, u: Array) -> RGLRUGates:
        heads = split_heads(u, num_heads)
        z = add_bias(jnp.einsum("...hk,hkg->...hg", heads, params.w_g), params.b_g)
        i, r = jnp.split(jax.nn.sigmoid(z), 2, axis=-1)
        return RGLRUGates(join_heads(i), join_heads(r))

    def gates(params: RGLRUParams, state: RGLRUState, x_proj: Array, h_proj: None) -> RGLRUGates:
        del state, h_proj
        return open_gates(params, enter(params, x_proj))

    def step(params: RGLRUParams, state: RGLRUState, x: Array) -> tuple[RGLRUState, Array]:
        u = enter(params, x)
        i, r = open_gates(params, u)
        log_a = scale_units(-_SHARPNESS * jax.nn.softplus(params.p), r)
        # 1 - a², without the rounding of a to 1
        gain = _root(-jnp.expm1(2 * log_a))
        h = jnp.exp(log_a) * state.h + gain * i * u
        return RGLRUState(h), h

    return step_cell(
        init,
        initial_state,
        step,
        hidden_size,
        gates=gates,
        output="h",
        state_map="affine",
    )


@jax.custom_jvp
def _root(z: Array) -> Array:
    """Give √z; its derivative is at most 1000."""
    return jnp.sqrt(z)


@_root.defjvp
def _root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (z,), (dz,) = primals, tangents
    return _root(z), dz * (0.5 / jnp.sqrt(jnp.maximum(z, 0.25 / _MAX_SLOPE**2)))
