"""Long short-term memory, with peepholes, projection and coupled gates by option."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, scale_units, zeros_state
from deeprnn_jax.checks import Activation, Bias, Flag, Initializer, Size
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class Peepholes(NamedTuple):
    """Diagonal weights from the cell to its gates (Gers and Schmidhuber)."""

    i: Array | None  # [H]; None with coupled gates
    f: Array  # [H]
    o: Array  # [H]


@exported
class LSTMParams(NamedTuple):
    """Weights of `lstm`; gates in the order i, f, g, o (coupled: f, g, o)."""

    w_x: Array  # [I, G*H]
    w_h: Array  # [H or P, G*H]
    b: Array | None  # [G*H]
    w_p: Array | None  # [H, P], the projection
    peepholes: Peepholes | None


@exported
class LSTMState(NamedTuple):
    """State of `lstm`."""

    h: Array  # [*B, H], or [*B, P] with a projection
    c: Array  # [*B, H]


@exported
class LSTMGates(NamedTuple):
    """Activations of the gates of `lstm`, each `[*B, H]`."""

    i: Array
    f: Array
    g: Array
    o: Array


@factory
def lstm(
    hidden_size: Size,
    *,
    forget_bias: Bias = 1.0,
    peepholes: Flag = False,
    projection_size: Size | None = None,
    coupled: Flag = False,
    gate_activation: Activation = jax.nn.sigmoid,
    cell_activation: Activation = jnp.tanh,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = initializers.orthogonal(),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a long short-term memory cell.

        i_t = σ(W_xi x_t + W_hi h_{t-1} + b_i)        [+ p_i ⊙ c_{t-1}]
        f_t = σ(W_xf x_t + W_hf h_{t-1} + b_f)        [+ p_f ⊙ c_{t-1}]
        g_t = act(W_xg x_t + W_hg h_{t-1} + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = σ(W_xo x_t + W_ho h_{t-1} + b_o)        [+ p_o ⊙ c_t]
        h_t = o_t ⊙ act(c_t)

    In brackets, inside σ: `peepholes`. `coupled`: i_t = 1 - f_t, no weights for i.
    `projection_size`: h_t = W_p (o_t ⊙ act(c_t)), width P.

    Args:
      hidden_size: H, the width of c.
      forget_bias: added to b_f at initialisation: a number, or an initialiser. An
        initialiser, as `initializers.chrono(t_max)`, also gives b_i = -b_f.
      peepholes: whether the gates see c, each unit its own.
      projection_size: P, the width of h and of the output; None: no projection.
      coupled: whether input and forget gates are one.
      gate_activation: σ, elementwise.
      cell_activation: act, elementwise, for g and for c.
      w_x_init: initialiser of each gate's block of w_x, `[I, H]`.
      w_h_init: initialiser of each gate's block of w_h, and of w_p, as `[P, H]`.
      b_init: initialiser of each gate's b, `[H]`.
      use_bias: whether there is a b (then `forget_bias` counts).

    Returns:
      The cell; state `LSTMState(h, c)`, output y = h, `[*B, H]` or `[*B, P]`.

    Raises:
      ValueError: if a size is not a positive int, or an activation or initialiser no function.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.lstm(8, projection_size=4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> params.w_x.shape, params.w_h.shape, params.w_p.shape
      ((3, 32), (4, 32), (8, 4))

    References:
      Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000; peepholes:
      Gers and Schmidhuber 2000; projection: Sak et al. 2014, eq. 1-7 (LSTMP, its
      recurrent projection); coupled gates: Greff et al. 2017, CIFG. The projection
      has no bias and no activation, as in torch.
    """
    output_size = hidden_size if projection_size is None else projection_size
    num_gates = 3 if coupled else 4

    def init_bias(k_b: Array, k_f: Array) -> Array:
        b = b_init(k_b, (num_gates, hidden_size), jnp.float32)
        b_f = initializers.constant_or(forget_bias)(k_f, (hidden_size,), jnp.float32)
        b = b.at[0 if coupled else 1].add(b_f)
        if callable(forget_bias) and not coupled:
            b = b.at[0].add(-b_f)
        return b.reshape(num_gates * hidden_size)

    def init(key: Array, input_size: int) -> LSTMParams:
        k_x, k_h, k_b, k_f, k_p, k_c = jax.random.split(key, 6)
        w_x = initializers.per_gate(w_x_init, k_x, num_gates, (input_size, hidden_size))
        w_h = initializers.per_gate(w_h_init, k_h, num_gates, (output_size, hidden_size))
        w_p = None
        if projection_size is not None:
            w_p = w_h_init(k_p, (projection_size, hidden_size), jnp.float32).T
        diagonal = None
        if peepholes:
            # U(±1/√H): what a row of w_h has under torch's rule
            p = initializers.uniform()(k_c, (3, hidden_size), jnp.float32)
            diagonal = Peepholes(i=None if coupled else p[0], f=p[1], o=p[2])
        b = init_bias(k_b, k_f) if use_bias else None
        return LSTMParams(w_x, w_h, b, w_p, diagonal)

    def initial_state(params: LSTMParams, batch_shape: tuple[int, ...]) -> LSTMState:
        return LSTMState(
            h=zeros_state(params, batch_shape, output_size),
            c=zeros_state(params, batch_shape, hidden_size),
        )

    def project_input(params: LSTMParams, x: Array) -> Array:
        return add_bias(x @ params.w_x, params.b)

    def project_state(params: LSTMParams, state: LSTMState) -> Array:
        return state.h @ params.w_h

    def open_gates(
        params: LSTMParams, state: LSTMState, x_proj: Array, h_proj: Array
    ) -> tuple[LSTMGates, Array]:
        parts = jnp.split(x_proj + h_proj, num_gates, axis=-1)
        peep = params.peepholes
        z_f, z_g, z_o = parts[-3:]
        f = gate_activation(z_f if peep is None else z_f + scale_units(peep.f, state.c))
        if coupled:
            i = 1 - f
        elif peep is None or peep.i is None:
            i = gate_activation(parts[0])
        else:
            i = gate_activation(parts[0] + scale_units(peep.i, state.c))
        g = cell_activation(z_g)
        c = f * state.c + i * g
        o = gate_activation(z_o if peep is None else z_o + scale_units(peep.o, c))
        return LSTMGates(i, f, g, o), c

    def update(
        params: LSTMParams, state: LSTMState, x_proj: Array, h_proj: Array
    ) -> tuple[LSTMState, Array]:
        gates, c = open_gates(params, state, x_proj, h_proj)
        h = gates.o * cell_activation(c)
        if params.w_p is not None:
            h = h @ params.w_p
        return LSTMState(h, c), h

    def gates(params: LSTMParams, state: LSTMState, x_proj: Array, h_proj: Array) -> LSTMGates:
        return open_gates(params, state, x_proj, h_proj)[0]

    return split_cell(
        init,
        initial_state,
        project_input,
        project_state,
        update,
        output_size,
        gates=gates,
        output="h",
    )
