"""The sLSTM: an LSTM with an exponential input gate, a normaliser and recurrent heads."""

from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.heads import head_size, split_heads
from deeprnn_jax.cells.units import add_bias, zeros_state
from deeprnn_jax.checks import Bias, Initializer, Size, is_number, one_of
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.made import made_function
from deeprnn_jax.types import Array, Cell, exported

ForgetGate = Annotated[Literal["sigmoid", "exp"], one_of("sigmoid", "exp")]


@exported
class SLSTMParams(NamedTuple):
    """Weights of `slstm`; gates in the order i, f, g, o."""

    w_x: Array  # [I, 4*H]
    w_h: Array  # [heads, N, 4*N], N = H / heads: a block a head
    b: Array  # [4*H]


@exported
class SLSTMState(NamedTuple):
    """State of `slstm`; c and n are e^m times as large as they stand here."""

    h: Array  # [*B, H]
    c: Array  # [*B, H]
    n: Array  # [*B, H], the sum of the weights that c was written with
    m: Array  # [*B, H], the logarithm that i and f are scaled by


@exported
class SLSTMGates(NamedTuple):
    """Activations of the gates of `slstm`, each `[*B, H]`; i and f divided by e^m."""

    i: Array
    f: Array
    g: Array
    o: Array


@made_function
def power_law(depth: float = 0.0) -> Initializer:
    """Give forget biases from 5 down to -7 over a head's units: xLSTM's.

    Args:
      depth: where the layer is in its network, from 0, the first, to 1, the last: deeper
        layers have more units that remember.

    Returns:
      An initialiser of vectors: 5 - 12 (j / (N - 1))^(0.3 + 1.3 depth) for unit j of N.

    Raises:
      ValueError: if the depth is not in [0, 1].
    """
    if not is_number(depth) or not 0 <= depth <= 1:
        raise ValueError(f"power_law: depth must be a number in [0, 1], got {depth!r}")

    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        del key
        position = jnp.linspace(0.0, 1.0, shape[-1], dtype=dtype)
        return jnp.broadcast_to(5 - 12 * position ** (0.3 + 1.3 * depth), shape)

    return init


@factory
def slstm(
    hidden_size: Size,
    num_heads: Size = 1,
    *,
    forget_gate: ForgetGate = "sigmoid",
    forget_bias: Bias = power_law(),
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = initializers.zeros,
    b_init: Initializer = initializers.zeros,
) -> Cell:
    """Make an sLSTM cell.

        i_t = exp(W_xi x_t + R_i h_{t-1} + b_i)
        f_t = σ(W_xf x_t + R_f h_{t-1} + b_f)         or exp, by `forget_gate`
        g_t = tanh(W_xg x_t + R_g h_{t-1} + b_g)
        o_t = σ(W_xo x_t + R_o h_{t-1} + b_o)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        n_t = f_t ⊙ n_{t-1} + i_t
        h_t = o_t ⊙ c_t / n_t

    Each R is block-diagonal, a block a head: units of one head alone see one another.

    So that no exponential overflows, m_t = max(log f_t + m_{t-1}, log i_t) is carried along,
    and i, f, c and n stand divided by e^m; h does not change. An n of 0 has seen nothing: its
    unit starts with m_t = log i_t, whatever the others do, and from then on n is at least 1. An
    n below 0, which only a learned initial state can have, counts as 0.

    Args:
      hidden_size: H, the width of the state and of the output.
      num_heads: how many blocks each R has; divides H.
      forget_gate: "sigmoid" or "exp".
      forget_bias: b_f of each head at initialisation: a number, or an initialiser `[N]`.
      w_x_init: initialiser of each gate's block of w_x, `[I, H]`.
      w_h_init: initialiser of each gate's block of each head's w_h, `[N, N]`.
      b_init: initialiser of the other gates' b, `[H]`.

    Returns:
      The cell; state `SLSTMState(h, c, n, m)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if a size is not a positive int, the heads do not divide H, or the forget
        gate is another.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> params = drnn.slstm(8, num_heads=2).init(jax.random.key(0), 3)
      >>> params.w_x.shape, params.w_h.shape
      ((3, 32), (2, 4, 16))

    References:
      Beck et al. 2024, "xLSTM: Extended long short-term memory", eq. 8-17; g is their z.
      R = 0 and the forget biases at initialisation are those of their code, whose plain torch
      form restarts m only where n is 0 in the whole batch, and whose CUDA form as here.
    """
    size = head_size("slstm", hidden_size, num_heads)

    def init_bias(k_b: Array, k_f: Array) -> Array:
        b = b_init(k_b, (4, hidden_size), jnp.float32)
        draw = initializers.constant_or(forget_bias)
        b_f = [draw(k, (size,), jnp.float32) for k in jax.random.split(k_f, num_heads)]
        return b.at[1].set(jnp.concatenate(b_f)).reshape(4 * hidden_size)

    def init(key: Array, input_size: int) -> SLSTMParams:
        k_x, k_h, k_b, k_f = jax.random.split(key, 4)
        blocks = [
            initializers.per_gate(w_h_init, k, 4, (size, size))
            for k in jax.random.split(k_h, num_heads)
        ]
        return SLSTMParams(
            w_x=initializers.per_gate(w_x_init, k_x, 4, (input_size, hidden_size)),
            w_h=jnp.stack(blocks),
            b=init_bias(k_b, k_f),
        )

    def initial_state(params: SLSTMParams, batch_shape: tuple[int, ...]) -> SLSTMState:
        return SLSTMState(*(zeros_state(params, batch_shape, hidden_size) for _ in range(4)))

    def project_input(params: SLSTMParams, x: Array) -> Array:
        return add_bias(x @ params.w_x, params.b)

    def project_state(params: SLSTMParams, state: SLSTMState) -> Array:
        w_h = params.w_h.reshape(num_heads, size, 4, size)
        z = jnp.einsum("...hn,hngm->...ghm", split_heads(state.h, num_heads), w_h)
        return z.reshape(*state.h.shape[:-1], 4 * hidden_size)

    def open_gates(state: SLSTMState, x_proj: Array, h_proj: Array) -> tuple[SLSTMGates, Array]:
        z_i, z_f, z_g, z_o = jnp.split(x_proj + h_proj, 4, axis=-1)
        log_f = jax.nn.log_sigmoid(z_f) if forget_gate == "sigmoid" else z_f
        kept = log_f + state.m
        m = jnp.where(state.n > 0, jnp.maximum(kept, z_i), z_i)
        i = jnp.exp(z_i - m)
        f = jnp.exp(jnp.minimum(kept - m, 0.0))  # above 0 only where n is 0, and then c too
        return SLSTMGates(i, f, jnp.tanh(z_g), jax.nn.sigmoid(z_o)), m

    def update(
        params: SLSTMParams, state: SLSTMState, x_proj: Array, h_proj: Array
    ) -> tuple[SLSTMState, Array]:
        del params
        (i, f, g, o), m = open_gates(state, x_proj, h_proj)
        c = f * state.c + i * g
        n = jnp.where(state.n < 0, i, f * state.n + i)
        h = o * c / n
        return SLSTMState(h, c, n, m), h

    def gates(params: SLSTMParams, state: SLSTMState, x_proj: Array, h_proj: Array) -> SLSTMGates:
        del params
        return open_gates(state, x_proj, h_proj)[0]

    return split_cell(
        init,
        initial_state,
        project_input,
        project_state,
        update,
        hidden_size,
        gates=gates,
        output="h",
    )
