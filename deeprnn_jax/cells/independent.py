"""The independently recurrent network: each unit sees its own past alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, scale_units, zeros_state
from deeprnn_jax.checks import Activation, Flag, Initializer, Size
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class IndependentParams(NamedTuple):
    """Weights of `independent`."""

    w_x: Array  # [I, H]
    w_h: Array  # [H], the diagonal of a recurrent matrix
    b: Array | None  # [H]


@exported
class IndependentState(NamedTuple):
    """State of `independent`."""

    h: Array  # [*B, H]


@factory
def independent(
    hidden_size: Size,
    activation: Activation = jax.nn.relu,
    *,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = jax.nn.initializers.uniform(1.0),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make an IndRNN cell.

        h_t = act(W_x x_t + w_h ⊙ h_{t-1} + b)

    Args:
      hidden_size: H, the width of the state and of the output.
      activation: act, elementwise.
      w_x_init: initialiser of w_x `[I, H]`.
      w_h_init: initialiser of w_h `[H]`; U(0, 1) by default. Over T steps a unit
        keeps its gradient while |w_h| is at most 2^(1/T).
      b_init: initialiser of b `[H]`.
      use_bias: whether there is a b.

    Returns:
      The cell; state `IndependentState(h)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if the size is not a positive int or the activation no function.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> drnn.independent(8).init(jax.random.key(0), 3).w_h.shape
      (8,)

    References:
      Li et al. 2018, "Independently recurrent neural network (IndRNN)", eq. 2.
    """

    def init(key: Array, input_size: int) -> IndependentParams:
        k_x, k_h, k_b = jax.random.split(key, 3)
        return IndependentParams(
            w_x=w_x_init(k_x, (input_size, hidden_size), jnp.float32),
            w_h=w_h_init(k_h, (hidden_size,), jnp.float32),
            b=b_init(k_b, (hidden_size,), jnp.float32) if use_bias else None,
        )

    def initial_state(params: IndependentParams, batch_shape: tuple[int, ...]) -> IndependentState:
        return IndependentState(h=zeros_state(params, batch_shape, hidden_size))

    def project_input(params: IndependentParams, x: Array) -> Array:
        return add_bias(x @ params.w_x, params.b)

    def project_state(params: IndependentParams, state: IndependentState) -> Array:
        return scale_units(params.w_h, state.h)

    def update(
        params: IndependentParams, state: IndependentState, x_proj: Array, h_proj: Array
    ) -> tuple[IndependentState, Array]:
        del params, state
        h = activation(x_proj + h_proj)
        return IndependentState(h), h

    return split_cell(
        init,
        initial_state,
        project_input,
        project_state,
        update,
        hidden_size,
        output="h",
        state_map="elementwise",
    )
