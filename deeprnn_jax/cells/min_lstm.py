"""The minimal LSTM whose gates read the input alone: a linear recurrence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, zeros_state
from deeprnn_jax.checks import Activation, Bias, Flag, Initializer, Size
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class MinLSTMParams(NamedTuple):
    """Weights of `min_lstm`; gates in the order i, f, g."""

    w_x: Array  # [I, 3*H]
    b: Array | None  # [3*H]


@exported
class MinLSTMState(NamedTuple):
    """State of `min_lstm`."""

    h: Array  # [*B, H]


@exported
class MinLSTMGates(NamedTuple):
    """Activations of the gates of `min_lstm`, each `[*B, H]`; i + f = 1."""

    i: Array
    f: Array
    g: Array


@factory
def min_lstm(
    hidden_size: Size,
    activation: Activation = jax.nn.identity,
    *,
    forget_bias: Bias = 0.0,
    w_x_init: Initializer = initializers.glorot_uniform(),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a minLSTM cell: input and forget gate do not see the state, and sum to 1.

        ĩ_t = σ(W_i x_t + b_i)          i_t = ĩ_t / (f̃_t + ĩ_t)
        f̃_t = σ(W_f x_t + b_f)          f_t = f̃_t / (f̃_t + ĩ_t)
        g_t = act(W_g x_t + b_g)
        h_t = f_t ⊙ h_{t-1} + i_t ⊙ g_t

    Given x, h_t is linear in h_{t-1}, unit by unit, and a mean of g and h: it never grows.

    Args:
      hidden_size: H, the width of the state and of the output.
      activation: act, elementwise.
      forget_bias: added to b_f at initialisation: a number, or an initialiser. An
        initialiser, as `initializers.chrono(t_max)`, also gives b_i = -b_f.
      w_x_init: initialiser of each gate's block of w_x, `[I, H]`.
      b_init: initialiser of each gate's b, `[H]`.
      use_bias: whether there is a b (then `forget_bias` counts).

    Returns:
      The cell; state `MinLSTMState(h)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if the size is not a positive int or the activation no function.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.min_lstm(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), 3)
      >>> params.layers[0].cell.w_x.shape
      (3, 24)

    References:
      Feng et al. 2024, "Were RNNs all we needed?", section 3.2. Deviations: g is not made
      positive, and nothing is done in log space; `min_gru` says why. The quotients are
      taken as f_t = σ(log f̃_t - log ĩ_t), which is no 0 / 0 where both gates are shut.
    """

    def init_bias(k_b: Array, k_f: Array) -> Array:
        b_f = initializers.constant_or(forget_bias)(k_f, (hidden_size,), jnp.float32)
        b = b_init(k_b, (3, hidden_size), jnp.float32).at[1].add(b_f)
        if callable(forget_bias):
            b = b.at[0].add(-b_f)
        return b.reshape(3 * hidden_size)

    def init(key: Array, input_size: int) -> MinLSTMParams:
        k_x, k_b, k_f = jax.random.split(key, 3)
        return MinLSTMParams(
            w_x=initializers.per_gate(w_x_init, k_x, 3, (input_size, hidden_size)),
            b=init_bias(k_b, k_f) if use_bias else None,
        )

    def initial_state(params: MinLSTMParams, batch_shape: tuple[int, ...]) -> MinLSTMState:
        return MinLSTMState(h=zeros_state(params, batch_shape, hidden_size))

    def read(params: MinLSTMParams, x: Array) -> MinLSTMGates:
        x_i, x_f, x_g = jnp.split(add_bias(x @ params.w_x, params.b), 3, axis=-1)
        log_ratio = jax.nn.log_sigmoid(x_f) - jax.nn.log_sigmoid(x_i)
        i, f = jax.nn.sigmoid(-log_ratio), jax.nn.sigmoid(log_ratio)
        return MinLSTMGates(i, f, activation(x_g))

    def step(params: MinLSTMParams, state: MinLSTMState, x: Array) -> tuple[MinLSTMState, Array]:
        i, f, g = read(params, x)
        h = f * state.h + i * g
        return MinLSTMState(h), h

    def gates(
        params: MinLSTMParams, state: MinLSTMState, x_proj: Array, h_proj: None
    ) -> MinLSTMGates:
        del state, h_proj
        return read(params, x_proj)

    return step_cell(
        init, initial_state, step, hidden_size, gates=gates, output="h", state_map="affine"
    )
