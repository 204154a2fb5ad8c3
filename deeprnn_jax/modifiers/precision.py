"""Where numbers are narrow and where they are wide, as two modifiers.

Products take operands in `compute_dtype`; sums, gates and (unless asked
otherwise) states are float32, or wider where the operands are. The casts are
inside the cell's functions, so the gradient of a float32 weight is summed over
time in float32 whatever the products use.
"""

from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.cells.products import accumulation_dtype
from deeprnn_jax.modifiers.lift import lift_params
from deeprnn_jax.types import Array, Cell, Params, Projection, State


def cast_floating(tree: Any, dtype: Any) -> Any:
    """Cast the floating-point leaves; leave integers and flags as they are."""

    def cast(leaf: Array) -> Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)


def compute_in(cell: Cell, dtype: Any) -> Cell:
    """Give the cell its matrices in `dtype` and its vectors in the sums' dtype.

    Args:
      cell: a cell whose products are `dot(x, w)`, in w's dtype.
      dtype: the dtype of the products' operands.

    Returns:
      The cell, for parameters of any floating dtype.
    """
    wide = accumulation_dtype(dtype)

    def cast(params: Params) -> Params:
        return jax.tree.map(
            lambda leaf: cast_floating(leaf, dtype if leaf.ndim >= 2 else wide), params
        )

    return lift_params(cell, cast)


def store_state_in(cell: Cell, dtype: Any, wide: Any) -> Cell:
    """Keep the state in `dtype` between steps and in `wide` within a step.

    Args:
      cell: any cell.
      dtype: the dtype of the state that the schedule carries.
      wide: the dtype in which the gates are computed.

    Returns:
      The cell.
    """
    project_state, update, gates = cell.project_state, cell.update, cell.gates

    def up(state: State) -> State:
        return cast_floating(state, wide)

    def down(result: tuple[State, Array]) -> tuple[State, Array]:
        return cast_floating(result[0], dtype), result[1]

    def initial_state(params: Params, batch_shape: tuple[int, ...]) -> State:
        return cast_floating(cell.initial_state(params, batch_shape), dtype)

    def step(params: Params, state: State, x_proj: Projection) -> tuple[State, Array]:
        return down(cell.step(params, up(state), x_proj))

    return cell._replace(
        initial_state=initial_state,
        project_state=project_state and (lambda params, state: project_state(params, up(state))),
        update=update and (lambda params, state, x, h: down(update(params, up(state), x, h))),
        step=step,
        gates=gates and (lambda params, state, x, h: gates(params, up(state), x, h)),
    )
