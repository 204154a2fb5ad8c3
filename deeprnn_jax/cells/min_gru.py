"""The minimal GRU whose gate reads the input alone: a linear recurrence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, zeros_state
from deeprnn_jax.checks import Activation, Bias, Flag, Initializer, Size
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class MinGRUParams(NamedTuple):
    """Weights of `min_gru`; gates in the order z, n."""

    w_x: Array  # [I, 2*H]
    b: Array | None  # [2*H]


@exported
class MinGRUState(NamedTuple):
    """State of `min_gru`."""

    h: Array  # [*B, H]


@exported
class MinGRUGates(NamedTuple):
    """Activations of the gates of `min_gru`, each `[*B, H]`."""

    z: Array
    n: Array


@factory
def min_gru(
    hidden_size: Size,
    activation: Activation = jax.nn.identity,
    *,
    update_bias: Bias = 0.0,
    w_x_init: Initializer = initializers.glorot_uniform(),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a minGRU cell: a GRU without its reset gate, whose gates do not see the state.

        z_t = σ(W_z x_t + b_z)
        n_t = act(W_n x_t + b_n)
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    Given x, h_t is linear in h_{t-1}, unit by unit, and a mean of n and h: it never grows.
    With `activation=jnp.tanh` it is the gated impulse linear recurrence (GILR).

    Args:
      hidden_size: H, the width of the state and of the output.
      activation: act, elementwise.
      update_bias: added to b_z at initialisation: a number, or an initialiser as
        `initializers.chrono(t_max)`. The higher, the longer the memory.
      w_x_init: initialiser of each gate's block of w_x, `[I, H]`.
      b_init: initialiser of each gate's b, `[H]`.
      use_bias: whether there is a b (then `update_bias` counts).

    Returns:
      The cell; state `MinGRUState(h)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if the size is not a positive int or the activation no function.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.min_gru(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), 3)
      >>> params.layers[0].cell.w_x.shape
      (3, 16)

    References:
      Feng et al. 2024, "Were RNNs all we needed?", section 3.1; GILR: Martin and Cundy 2018,
      "Parallelizing linear recurrent neural nets over sequence length". Deviations: z keeps
      the old state, as in `gru`, where theirs lets in the new (the weights of z have the
      opposite sign); n is not made positive, and nothing is done in log space, which the
      paper needs for its parallel form. There the logarithm of a product of gates grows with
      T, and its rounding error with it (1 % of h at T = 100,000), h cannot be negative, and
      a state that is exactly 0, as after a reset, is -inf.
    """

    def init(key: Array, input_size: int) -> MinGRUParams:
        k_x, k_b, k_z = jax.random.split(key, 3)
        b = None
        if use_bias:
            b_z = initializers.constant_or(update_bias)(k_z, (hidden_size,), jnp.float32)
            b = b_init(k_b, (2, hidden_size), jnp.float32).at[0].add(b_z).reshape(-1)
        return MinGRUParams(
            w_x=initializers.per_gate(w_x_init, k_x, 2, (input_size, hidden_size)), b=b
        )

    def initial_state(params: MinGRUParams, batch_shape: tuple[int, ...]) -> MinGRUState:
        return MinGRUState(h=zeros_state(params, batch_shape, hidden_size))

    def read(params: MinGRUParams, x: Array) -> tuple[Array, Array]:
        x_z, x_n = jnp.split(add_bias(x @ params.w_x, params.b), 2, axis=-1)
        return x_z, activation(x_n)

    def step(params: MinGRUParams, state: MinGRUState, x: Array) -> tuple[MinGRUState, Array]:
        x_z, n = read(params, x)
        # σ(-x) is 1 - σ(x) without its rounding: with a long memory that is what n comes in by.
        h = jax.nn.sigmoid(-x_z) * n + jax.nn.sigmoid(x_z) * state.h
        return MinGRUState(h), h

    def gates(params: MinGRUParams, state: MinGRUState, x_proj: Array, h_proj: None) -> MinGRUGates:
        del state, h_proj
        x_z, n = read(params, x_proj)
        return MinGRUGates(jax.nn.sigmoid(x_z), n)

    return step_cell(
        init, initial_state, step, hidden_size, gates=gates, output="h", state_map="affine"
    )
