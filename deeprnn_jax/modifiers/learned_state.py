"""An initial state that is learned."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import check_cell
from deeprnn_jax.modifiers.lift import lift_params, modified_settings
from deeprnn_jax.types import Array, Cell, Params, State


class LearnedStateParams(NamedTuple):
    """Parameters of `learned_initial_state`."""

    cell: Params
    initial: State  # the cell's state without batch axes, leaves [size]


def learned_initial_state(cell: Cell) -> Cell:
    """Make the state before the first step, and after a reset, a parameter.

    All rows of a batch begin with the same state; at initialisation it is the
    cell's own, zeros.

    Args:
      cell: any cell.

    Returns:
      The cell; parameters `LearnedStateParams(cell, initial)`.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.learned_initial_state(drnn.gru(8))
      >>> cell.init(jax.random.key(0), 3).initial.h.shape
      (8,)
    """
    check_cell("learned_initial_state", cell)

    def init(key: Array, input_size: int) -> LearnedStateParams:
        params = cell.init(key, input_size)
        return LearnedStateParams(params, cell.initial_state(params, ()))

    def prepare(
        params: LearnedStateParams, key: Array, batch_shape: tuple[int, ...]
    ) -> LearnedStateParams:
        assert cell.prepare is not None
        return params._replace(cell=cell.prepare(params.cell, key, batch_shape))

    def initial_state(params: LearnedStateParams, batch_shape: tuple[int, ...]) -> State:
        like = cell.initial_state(params.cell, batch_shape)
        return jax.tree.map(
            lambda learned, zero: jnp.broadcast_to(learned.astype(zero.dtype), zero.shape),
            params.initial,
            like,
        )

    return lift_params(cell, lambda params: params.cell)._replace(
        name=f"learned_initial_state({cell.name})",
        settings=modified_settings(cell),
        init=init,
        prepare=prepare if cell.prepare else None,
        initial_state=initial_state,
    )
