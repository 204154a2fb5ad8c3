"""A GRU of recurrent vectors in place of matrices: each unit sees its own past alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, scale_units, zeros_state
from deeprnn_jax.checks import Activation, Bias, Flag, Initializer, Size
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class DiagonalGRUParams(NamedTuple):
    """Weights of `diagonal_gru`; gates in the order r, z, n."""

    w_x: Array  # [I, 3*H]
    w_h: Array  # [3*H], the diagonals of three matrices
    b: Array | None  # [3*H]


@exported
class DiagonalGRUState(NamedTuple):
    """State of `diagonal_gru`."""

    h: Array  # [*B, H]


@exported
class DiagonalGRUGates(NamedTuple):
    """Activations of the gates of `diagonal_gru`, each `[*B, H]`."""

    r: Array
    z: Array
    n: Array


@factory
def diagonal_gru(
    hidden_size: Size,
    activation: Activation = jnp.tanh,
    *,
    update_bias: Bias = 0.0,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = initializers.uniform(1.0),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a diagonal GRU, the ParaGRU.

        r_t = σ(W_r x_t + w_hr ⊙ h_{t-1} + b_r)
        z_t = σ(W_z x_t + w_hz ⊙ h_{t-1} + b_z)
        n_t = act(W_n x_t + r_t ⊙ w_hn ⊙ h_{t-1} + b_n)
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    Args:
      hidden_size: H, the width of the state and of the output.
      activation: act, elementwise.
      update_bias: added to b_z at initialisation: a number, or an initialiser as
        `initializers.chrono(t_max)`. The higher, the longer the memory.
      w_x_init: initialiser of each gate's block of w_x, `[I, H]`.
      w_h_init: initialiser of each gate's w_h, `[H]`; U(±1) by default.
      b_init: initialiser of each gate's b, `[H]`.
      use_bias: whether there is a b (then `update_bias` counts).

    Returns:
      The cell; state `DiagonalGRUState(h)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if the size is not a positive int or the activation no function.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> drnn.diagonal_gru(8).init(jax.random.key(0), 3).w_h.shape
      (24,)

    References:
      Danieli et al. 2025, "ParaRNN: unlocking parallel training of nonlinear RNNs for large
      language models", the ParaGRU. Deviations: z keeps the old state, as in `gru`, where
      theirs lets in the new; no heads in W; w_h does not shrink with H, as their
      N(0, 4 / 5H) does, and b is 0 where their b_z is spread over [-1, 0].
    """

    def init(key: Array, input_size: int) -> DiagonalGRUParams:
        k_x, k_h, k_b, k_z = jax.random.split(key, 4)
        b = None
        if use_bias:
            b_z = initializers.constant_or(update_bias)(k_z, (hidden_size,), jnp.float32)
            b = b_init(k_b, (3, hidden_size), jnp.float32).at[1].add(b_z).reshape(-1)
        return DiagonalGRUParams(
            w_x=initializers.per_gate(w_x_init, k_x, 3, (input_size, hidden_size)),
            w_h=initializers.per_gate(w_h_init, k_h, 3, (hidden_size,)),
            b=b,
        )

    def initial_state(params: DiagonalGRUParams, batch_shape: tuple[int, ...]) -> DiagonalGRUState:
        return DiagonalGRUState(h=zeros_state(params, batch_shape, hidden_size))

    def project_input(params: DiagonalGRUParams, x: Array) -> Array:
        return add_bias(x @ params.w_x, params.b)

    def project_state(params: DiagonalGRUParams, state: DiagonalGRUState) -> Array:
        return scale_units(params.w_h, jnp.concatenate([state.h] * 3, axis=-1))

    def gates(
        params: DiagonalGRUParams, state: DiagonalGRUState, x_proj: Array, h_proj: Array
    ) -> DiagonalGRUGates:
        del params, state
        x_r, x_z, x_n = jnp.split(x_proj, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(h_proj, 3, axis=-1)
        r = jax.nn.sigmoid(x_r + h_r)
        return DiagonalGRUGates(r, z=jax.nn.sigmoid(x_z + h_z), n=activation(x_n + r * h_n))

    def update(
        params: DiagonalGRUParams, state: DiagonalGRUState, x_proj: Array, h_proj: Array
    ) -> tuple[DiagonalGRUState, Array]:
        _, z, n = gates(params, state, x_proj, h_proj)
        h = (1 - z) * n + z * state.h
        return DiagonalGRUState(h), h

    return split_cell(
        init,
        initial_state,
        project_input,
        project_state,
        update,
        hidden_size,
        gates=gates,
        output="h",
        state_map="elementwise",
    )
