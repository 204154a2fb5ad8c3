"""What modifiers are made of: a cell seen through its parameters or its state."""

from collections.abc import Callable

from deeprnn_jax.types import (
    Array,
    Cell,
    Noise,
    Noisy,
    Params,
    Projection,
    State,
)


def lift_params(cell: Cell, inner: Callable[[Params], Params]) -> Cell:
    """Make the cell whose functions see `inner(params)`.

    `init` and `prepare` stay the old cell's: they make parameters, and the
    modifier knows how its own are made.

    Args:
      cell: the cell to look into.
      inner: gives the cell's own parameters from the new ones.

    Returns:
      The cell with all its functions but those two composed with `inner`.
    """
    project_state, update, gates = cell.project_state, cell.update, cell.gates
    noise = cell.noise
    return cell._replace(
        initial_state=lambda params, batch: cell.initial_state(inner(params), batch),
        project_input=lambda params, x: cell.project_input(inner(params), x),
        project_state=project_state and (lambda params, state: project_state(inner(params), state)),
        update=update and (lambda params, state, x, h: update(inner(params), state, x, h)),
        step=lambda params, state, x: cell.step(inner(params), state, x),
        gates=gates and (lambda params, state, x, h: gates(inner(params), state, x, h)),
        noise=noise and (lambda params, key, shape: noise(inner(params), key, shape)),
    )


def recompose_step(cell: Cell) -> Cell:
    """Make `step` anew from the cell's (modified) split, where it has one."""
    project_state, update = cell.project_state, cell.update
    if project_state is None or update is None:
        return cell

    def step(params: Params, state: State, x_proj: Projection) -> tuple[State, Array]:
        return update(params, state, x_proj, project_state(params, state))

    return cell._replace(step=step)


def attach_noise(cell: Cell, x_proj: Projection, noise: Noise) -> Projection:
    """Put the step's noise beside the projection if the cell asks for it."""
    return x_proj if cell.noise is None else Noisy(x_proj, noise)


def modified_settings(cell: Cell, **settings: object) -> tuple[tuple[str, object], ...]:
    """Give a modified cell's settings; none where those of the cell are unknown."""
    if not cell.settings:
        return ()
    return (("cell", (cell.name, cell.settings)), *settings.items())
