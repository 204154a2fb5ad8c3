"""What modifiers are made of: a cell seen through its parameters."""

from collections.abc import Callable
from typing import Any

from deeprnn_jax.types import Array, Cell, Noise, Params


def _get_cell(params: Any) -> Params:
    return params.cell


def _put_cell(params: Any, own: Params) -> Params:
    return params._replace(cell=own)


def lift_params(
    cell: Cell,
    inner: Callable[[Params], Params] = _get_cell,
    put: Callable[[Params, Params], Params] = _put_cell,
) -> Cell:
    """Make the cell whose functions see `inner(params)`.

    `init` stays the old cell's: the modifier knows how its own parameters are made. The
    facts that a cell declares are dropped: what the modifier keeps, it says.

    Args:
      cell: the cell to look into.
      inner: gives the cell's own parameters from the new ones; else their field `cell`.
      put: gives the new ones with others of the cell's own, `(params, own) -> params`.

    Returns:
      The cell with all its functions but `init` composed with `inner`.
    """
    project_state, gates, draw = cell.project_state, cell.gates, cell.draw

    def update(params: Params, *args: Any) -> tuple[Any, Array]:
        return cell.update(inner(params), *args)

    def draw_inner(params: Params, key: Array, shape: tuple[int, ...]) -> tuple[Params, Noise]:
        assert draw is not None
        own, noise = draw(inner(params), key, shape)
        return put(params, own), noise

    return cell._replace(
        initial_state=lambda params, batch: cell.initial_state(inner(params), batch),
        project_input=lambda params, x: cell.project_input(inner(params), x),
        project_state=project_state and (lambda params, state: project_state(inner(params), state)),
        update=update,
        gates=gates and (lambda params, *args: gates(inner(params), *args)),
        draw=draw and draw_inner,
    )


def draw_of(cell: Cell, params: Params, key: Array, shape: tuple[int, ...]) -> tuple[Params, Noise]:
    """Draw what a cell draws: nothing, if it draws nothing."""
    return (params, None) if cell.draw is None else cell.draw(params, key, shape)
