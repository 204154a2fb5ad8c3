"""The simple recurrent unit: gates that see their own unit's past, and a highway for x."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, scale_units, zeros_state
from deeprnn_jax.checks import Activation, Bias, Initializer, Size, is_number
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class SRUParams(NamedTuple):
    """Weights of `sru`; w_x in the order f, g, r, and the skip where there is one."""

    w_x: Array  # [I, 3*H]; [I, 4*H] where I is not H
    w_c: Array  # [2*H], from c to f and r, the diagonals of two matrices
    b: Array  # [2*H], of f and r


@exported
class SRUState(NamedTuple):
    """State of `sru`."""

    c: Array  # [*B, H]


@exported
class SRUGates(NamedTuple):
    """Activations of the gates of `sru`, each `[*B, H]`."""

    f: Array
    r: Array


@factory
def sru(
    hidden_size: Size,
    activation: Activation = jax.nn.identity,
    *,
    forget_bias: Bias = 0.0,
    highway_bias: float = 0.0,
    w_x_init: Initializer = jax.nn.initializers.lecun_uniform(),
    w_c_init: Initializer = initializers.uniform(math.sqrt(1.5)),
) -> Cell:
    """Make a simple recurrent unit.

        f_t = σ(W_f x_t + w_cf ⊙ c_{t-1} + b_f)
        r_t = σ(W_r x_t + w_cr ⊙ c_{t-1} + b_r)
        c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ W_g x_t
        h_t = r_t ⊙ act(c_t) + (1 - r_t) ⊙ s x_t,    s = √(1 + 2 e^b),  b = highway_bias

    Where I is not H, W_s x_t stands for s x_t, and W_s is s times as large as W_g at
    initialisation. Each unit sees its own past alone, but is not linear in it.

    Args:
      hidden_size: H, the width of c and of the output.
      activation: act, elementwise.
      forget_bias: b_f at initialisation: a number, or an initialiser as
        `initializers.chrono(t_max)`.
      highway_bias: b_r at initialisation: the lower, the more of x passes by.
      w_x_init: initialiser of each block of w_x, `[I, H]`; those of f and r are then made
        √½ as large, that of the skip s times. U(±√(3/I)) by default.
      w_c_init: initialiser of each gate's w_c, `[H]`.

    Returns:
      The cell; state `SRUState(c)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if the size is not a positive int or `highway_bias` no number.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.sru(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), 3)
      >>> [layer.cell.w_x.shape for layer in params.layers]
      [(3, 32), (8, 24)]

    References:
      Lei et al. 2018, "Simple recurrent units for highly parallelizable recurrence", eq. 1-4
      and section 3.2 (initialisation), with the skip of the authors' code. There each
      direction of a bidirectional layer skips half of a wide x; here each is a cell.
    """
    if not is_number(highway_bias):
        raise ValueError(f"sru: highway_bias must be a number, got {highway_bias!r}")
    scale = math.sqrt(1 + 2 * math.exp(highway_bias))

    def init(key: Array, input_size: int) -> SRUParams:
        k_x, k_c, k_f = jax.random.split(key, 3)
        sizes = [math.sqrt(0.5), 1.0, math.sqrt(0.5)] + [scale] * (input_size != hidden_size)
        w_x = initializers.per_gate(w_x_init, k_x, len(sizes), (input_size, hidden_size))
        b_f = initializers.constant_or(forget_bias)(k_f, (hidden_size,), jnp.float32)
        return SRUParams(
            w_x=scale_units(jnp.repeat(jnp.array(sizes, jnp.float32), hidden_size), w_x),
            w_c=initializers.per_gate(w_c_init, k_c, 2, (hidden_size,)),
            b=jnp.concatenate([b_f, jnp.full(hidden_size, highway_bias, jnp.float32)]),
        )

    def initial_state(params: SRUParams, batch_shape: tuple[int, ...]) -> SRUState:
        return SRUState(c=zeros_state(params, batch_shape, hidden_size))

    def open_gates(params: SRUParams, state: SRUState, x: Array) -> tuple[SRUGates, Array, Array]:
        """Give the gates, and the two things between which they choose: W_g x and s x."""
        has_skip = params.w_x.shape[-1] == 4 * hidden_size
        x_f, g, x_r, *skip = jnp.split(x @ params.w_x, 4 if has_skip else 3, axis=-1)
        b_f, b_r = jnp.split(params.b, 2)
        w_f, w_r = jnp.split(params.w_c, 2)
        f = jax.nn.sigmoid(add_bias(x_f, b_f) + scale_units(w_f, state.c))
        r = jax.nn.sigmoid(add_bias(x_r, b_r) + scale_units(w_r, state.c))
        return SRUGates(f, r), g, skip[0] if has_skip else scale * x

    def step(params: SRUParams, state: SRUState, x: Array) -> tuple[SRUState, Array]:
        (f, r), g, skip = open_gates(params, state, x)
        c = f * state.c + (1 - f) * g
        return SRUState(c), r * activation(c) + (1 - r) * skip

    def gates(params: SRUParams, state: SRUState, x_proj: Array, h_proj: None) -> SRUGates:
        del h_proj
        return open_gates(params, state, x_proj)[0]

    return step_cell(
        init, initial_state, step, hidden_size, gates=gates, output=False, state_map="elementwise"
    )
