"""The simple recurrent network: one activation, one state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, zeros_state
from deeprnn_jax.checks import Activation, Flag, Initializer, Size
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class ElmanParams(NamedTuple):
    """Weights of `elman`."""

    w_x: Array  # [I, H]
    w_h: Array  # [H, H]
    b: Array | None  # [H]


@exported
class ElmanState(NamedTuple):
    """State of `elman`."""

    h: Array  # [*B, H]


@factory
def elman(
    hidden_size: Size,
    activation: Activation = jnp.tanh,
    *,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = initializers.orthogonal(),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make the Elman (simple, "vanilla") recurrent cell.

        h_t = act(W_x x_t + W_h h_{t-1} + b)

    Args:
      hidden_size: H, the width of the state and of the output.
      activation: act, elementwise: `jnp.tanh`, `jax.nn.relu`, or any other.
      w_x_init: initialiser of w_x `[I, H]`.
      w_h_init: initialiser of w_h `[H, H]`; `initializers.identity()` with
        `jax.nn.relu` makes the IRNN (Le 2015).
      b_init: initialiser of b `[H]`.
      use_bias: whether there is a b.

    Returns:
      The cell; state `ElmanState(h)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if the size is not a positive int or the activation no function.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.elman(8, activation=jax.nn.relu)
      >>> cell.init(jax.random.key(0), 3).w_x.shape
      (3, 8)

    References:
      Elman 1990, "Finding structure in time". The hidden layer's input is the
      previous hidden layer; the readout is `deep_rnn`'s `output_size`.
    """

    def init(key: Array, input_size: int) -> ElmanParams:
        k_x, k_h, k_b = jax.random.split(key, 3)
        return ElmanParams(
            w_x=w_x_init(k_x, (input_size, hidden_size), jnp.float32),
            w_h=w_h_init(k_h, (hidden_size, hidden_size), jnp.float32),
            b=b_init(k_b, (hidden_size,), jnp.float32) if use_bias else None,
        )

    def initial_state(params: ElmanParams, batch_shape: tuple[int, ...]) -> ElmanState:
        return ElmanState(h=zeros_state(params, batch_shape, hidden_size))

    def project_input(params: ElmanParams, x: Array) -> Array:
        return add_bias(x @ params.w_x, params.b)

    def project_state(params: ElmanParams, state: ElmanState) -> Array:
        return state.h @ params.w_h

    def update(
        params: ElmanParams, state: ElmanState, x_proj: Array, h_proj: Array
    ) -> tuple[ElmanState, Array]:
        del params, state
        h = activation(x_proj + h_proj)
        return ElmanState(h), h

    return split_cell(
        init,
        initial_state,
        project_input,
        project_state,
        update,
        hidden_size,
        output="h",
    )
