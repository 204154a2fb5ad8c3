"""The linear recurrent unit: complex eigenvalues, drawn in a ring and held inside the circle."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.cells.diagonal import (
    Pair,
    advance,
    check_ring,
    draw_feedthrough,
    draw_open,
    draw_ring,
    feed_through,
    read_out,
)
from deeprnn_jax.cells.units import scale_units, zeros_state
from deeprnn_jax.checks import Size, check_size, is_number
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class LRUParams(NamedTuple):
    """Weights of `lru`; N numbers of the state, each of two parts."""

    nu: Array  # [N], log(-log |λ|)
    theta: Array  # [N], log of λ's phase
    gamma: Array  # [N], log of the input's gain
    w_x: Array  # [I, 2*N], Re B and Im B side by side
    w_y: Array  # [2*N, H], Re C above Im C
    d: Array  # [H] where I = H, else [I, H]


@exported
class LRUState(NamedTuple):
    """State of `lru`: complex numbers as two real arrays."""

    re: Array  # [*B, N]
    im: Array  # [*B, N]


@factory
def lru(
    hidden_size: Size,
    *,
    state_size: int | None = None,
    r_min: float = 0.0,
    r_max: float = 1.0,
    max_phase: float = 2 * math.pi,
) -> Cell:
    """Make a linear recurrent unit.

        h_t = λ ⊙ h_{t-1} + exp(γ) ⊙ (B x_t)      λ = exp(-exp(ν) + i exp(θ))
        y_t = Re(C h_t) + D x_t

    h, λ, B and C are complex, in real arrays; |λ| < 1 whatever ν is. D is one number a unit
    where x has H features, as published; where it has not, in a first layer say, a matrix.

    At the start λ lies evenly in a ring, |λ|² ~ U(r_min², r_max²), its phase is of
    U(0, max_phase), and exp(γ) = √(1 - |λ|²). For long memory: r_min = 0.9 and more, and a
    small phase. nu, theta and gamma get a smaller learning rate and no weight decay, as
    published: see the example.

    Args:
      hidden_size: H, the width of the output.
      state_size: N, how many complex numbers the state has; None: H.
      r_min: the ring's inner radius.
      r_max: the ring's outer radius.
      max_phase: the largest phase of λ, in radians.

    Returns:
      The cell; state `LRUState(re, im)`, each `[*B, N]`; output y `[*B, H]`.

    Raises:
      ValueError: if a size is not a positive int, the radii are not in order within [0, 1], or
        the phase is not in (0, 2π].

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.lru(8, state_size=16, r_min=0.9, max_phase=0.3))
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> def is_slow(path, leaf):                  # a mask, as optax takes
      ...     return path[-1].name in ("nu", "theta", "gamma")
      >>> jax.tree_util.tree_map_with_path(is_slow, params).layers[0].cell
      LRUParams(nu=True, theta=True, gamma=True, w_x=False, w_y=False, d=False)

    References:
      Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences", eq. 6-8
      and lemma 3.2; B and C as in their appendix. Deviations: D may be a matrix; a radius of
      exactly 0 or 1, and a phase of 0, are never drawn.
    """
    size = hidden_size if state_size is None else state_size
    check_size("lru", "state_size", size)
    check_ring("lru", r_min, r_max)
    if not (is_number(max_phase) and 0 < max_phase <= 2 * math.pi):
        raise ValueError(f"lru: max_phase must be in (0, 2π] radians, got {max_phase!r}")

    def init(key: Array, input_size: int) -> LRUParams:
        k_ring, k_phase, k_x, k_y, k_d = jax.random.split(key, 5)
        ring = draw_ring(k_ring, size, r_min, r_max)
        w_x = jax.random.normal(k_x, (input_size, 2 * size), jnp.float32)
        w_y = jax.random.normal(k_y, (2 * size, hidden_size), jnp.float32)
        return LRUParams(
            nu=jnp.log(ring.decay),
            theta=jnp.log(max_phase * draw_open(k_phase, size)),
            gamma=0.5 * jnp.log(ring.gap),
            w_x=w_x / math.sqrt(2 * input_size),
            w_y=w_y / math.sqrt(size),
            d=draw_feedthrough(k_d, input_size, hidden_size),
        )

    def initial_state(params: LRUParams, batch_shape: tuple[int, ...]) -> LRUState:
        re, im = (zeros_state(params, batch_shape, size) for _ in range(2))
        return LRUState(re, im)

    def step(params: LRUParams, state: LRUState, x: Array) -> tuple[LRUState, Array]:
        modulus, phase = jnp.exp(-jnp.exp(params.nu)), jnp.exp(params.theta)
        eigenvalue = Pair(modulus * jnp.cos(phase), modulus * jnp.sin(phase))
        gain = jnp.tile(jnp.exp(params.gamma), 2)
        h = advance(eigenvalue, Pair(*state), x @ scale_units(gain, params.w_x))
        return LRUState(*h), read_out(h, params.w_y) + feed_through(params.d, x)

    return step_cell(init, initial_state, step, hidden_size, output=False, state_map="affine")
