"""An LSTM of recurrent vectors in place of matrices: each unit sees its own past alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, scale_units, zeros_state
from deeprnn_jax.checks import Activation, Bias, Flag, Initializer, Size
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class DiagonalLSTMParams(NamedTuple):
    """Weights of `diagonal_lstm`; gates in the order f, g, o."""

    w_x: Array  # [I, 3*H]
    w_h: Array  # [3*H], the diagonals of three matrices
    w_c: Array  # [2*H], the peepholes: from c to f and o
    b: Array | None  # [3*H]


@exported
class DiagonalLSTMState(NamedTuple):
    """State of `diagonal_lstm`."""

    h: Array  # [*B, H]
    c: Array  # [*B, H]


@exported
class DiagonalLSTMGates(NamedTuple):
    """Activations of the gates of `diagonal_lstm`, each `[*B, H]`; i + f = 1."""

    i: Array
    f: Array
    g: Array
    o: Array


@factory
def diagonal_lstm(
    hidden_size: Size,
    activation: Activation = jnp.tanh,
    *,
    forget_bias: Bias = 1.0,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = initializers.uniform(1.0),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a diagonal LSTM with peepholes and coupled gates, the ParaLSTM.

        f_t = σ(W_f x_t + w_hf ⊙ h_{t-1} + w_cf ⊙ c_{t-1} + b_f)
        g_t = act(W_g x_t + w_hg ⊙ h_{t-1} + b_g)
        c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ g_t
        o_t = σ(W_o x_t + w_ho ⊙ h_{t-1} + w_co ⊙ c_t + b_o)
        h_t = o_t ⊙ act(c_t)

    Args:
      hidden_size: H, the width of the state and of the output.
      activation: act, elementwise, for g and for c.
      forget_bias: added to b_f at initialisation: a number, or an initialiser as
        `initializers.chrono(t_max)`.
      w_x_init: initialiser of each gate's block of w_x, `[I, H]`.
      w_h_init: initialiser of each gate's w_h and w_c, `[H]`; U(±1) by default.
      b_init: initialiser of each gate's b, `[H]`.
      use_bias: whether there is a b (then `forget_bias` counts).

    Returns:
      The cell; state `DiagonalLSTMState(h, c)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if the size is not a positive int or the activation no function.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> drnn.diagonal_lstm(8).init(jax.random.key(0), 3).w_h.shape
      (24,)

    References:
      Danieli et al. 2025, "ParaRNN: unlocking parallel training of nonlinear RNNs for large
      language models", the ParaLSTM. Deviations: no heads in W; w_h and w_c do not shrink with
      H, as their N(0, 4 / 5H) does, and `forget_bias` is that of `lstm`, where their b_f is
      spread over [-1, 0].
    """

    def init(key: Array, input_size: int) -> DiagonalLSTMParams:
        k_x, k_h, k_c, k_b, k_f = jax.random.split(key, 5)
        b = None
        if use_bias:
            b_f = initializers.constant_or(forget_bias)(k_f, (hidden_size,), jnp.float32)
            b = b_init(k_b, (3, hidden_size), jnp.float32).at[0].add(b_f).reshape(-1)
        return DiagonalLSTMParams(
            w_x=initializers.per_gate(w_x_init, k_x, 3, (input_size, hidden_size)),
            w_h=initializers.per_gate(w_h_init, k_h, 3, (hidden_size,)),
            w_c=initializers.per_gate(w_h_init, k_c, 2, (hidden_size,)),
            b=b,
        )

    def initial_state(
        params: DiagonalLSTMParams, batch_shape: tuple[int, ...]
    ) -> DiagonalLSTMState:
        return DiagonalLSTMState(
            h=zeros_state(params, batch_shape, hidden_size),
            c=zeros_state(params, batch_shape, hidden_size),
        )

    def project_input(params: DiagonalLSTMParams, x: Array) -> Array:
        return add_bias(x @ params.w_x, params.b)

    def project_state(params: DiagonalLSTMParams, state: DiagonalLSTMState) -> Array:
        return scale_units(params.w_h, jnp.concatenate([state.h] * 3, axis=-1))

    def open_gates(
        params: DiagonalLSTMParams, state: DiagonalLSTMState, x_proj: Array, h_proj: Array
    ) -> tuple[DiagonalLSTMGates, Array]:
        z_f, z_g, z_o = jnp.split(x_proj + h_proj, 3, axis=-1)
        w_f, w_o = jnp.split(params.w_c, 2)
        f = jax.nn.sigmoid(z_f + scale_units(w_f, state.c))
        g = activation(z_g)
        c = f * state.c + (1 - f) * g
        o = jax.nn.sigmoid(z_o + scale_units(w_o, c))
        return DiagonalLSTMGates(1 - f, f, g, o), c

    def update(
        params: DiagonalLSTMParams, state: DiagonalLSTMState, x_proj: Array, h_proj: Array
    ) -> tuple[DiagonalLSTMState, Array]:
        gates, c = open_gates(params, state, x_proj, h_proj)
        h = gates.o * activation(c)
        return DiagonalLSTMState(h, c), h

    def gates(
        params: DiagonalLSTMParams, state: DiagonalLSTMState, x_proj: Array, h_proj: Array
    ) -> DiagonalLSTMGates:
        return open_gates(params, state, x_proj, h_proj)[0]

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
