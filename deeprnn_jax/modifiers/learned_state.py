"""An initial state that is learned."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import CellArgument
from deeprnn_jax.factories import factory
from deeprnn_jax.modifiers.lift import lift_params
from deeprnn_jax.types import Array, Cell, Params, State, exported


@exported
class LearnedStateParams(NamedTuple):
    """Parameters of `learned_initial_state`."""

    cell: Params
    initial: State  # the cell's state without batch axes, leaves [size]


@factory
def learned_initial_state(cell: CellArgument) -> Cell:
    """Make the state before the first step, and after a reset, a parameter.

    All rows of a batch begin with the same state; at initialisation it is the
    cell's own, zeros.

    Args:
      cell: any cell.

    Returns:
      The cell; parameters `LearnedStateParams(cell, initial)`.

    Raises:
      ValueError: from `init`, if an array of the state is not floating point.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.learned_initial_state(drnn.gru(8))
      >>> cell.init(jax.random.key(0), 3).initial.h.shape
      (8,)
    """

    def init(key: Array, input_size: int) -> LearnedStateParams:
        params = cell.init(key, input_size)
        initial = cell.initial_state(params, ())
        for path, leaf in jax.tree_util.tree_leaves_with_path(initial):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise ValueError(
                    "learned_initial_state: all of the state must be floating point to be "
                    f"learned, got {leaf.dtype} for state{jax.tree_util.keystr(path)} of cell "
                    f"{cell.name!r}"
                )
        return LearnedStateParams(params, initial)

    def initial_state(params: LearnedStateParams, batch_shape: tuple[int, ...]) -> State:
        like = cell.initial_state(params.cell, batch_shape)
        return jax.tree.map(
            lambda learned, zero: jnp.broadcast_to(learned.astype(zero.dtype), zero.shape),
            params.initial,
            like,
        )

    lifted = lift_params(cell)
    return lifted._replace(
        init=init, initial_state=initial_state, output=cell.output, state_map=cell.state_map
    )
