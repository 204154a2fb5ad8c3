"""One step of a cell, with its flags: what every schedule runs."""

from typing import Any

from deeprnn_jax.checks import check_step_result
from deeprnn_jax.layers.layer import Lane
from deeprnn_jax.schedules.schedule import LayerStates
from deeprnn_jax.sequences import Steps, enter_step, leave_step
from deeprnn_jax.types import Array, Cell, Noise, State, given


def run_step(
    cell: Cell, lane: Lane, want_states: bool, state: State, inputs: tuple[Array, Noise, Steps]
) -> tuple[State, tuple[Array, LayerStates | None]]:
    """Do one step of a cell, in the form of a scan's.

    Args:
      cell: the cell.
      lane: its parameters, and the state after a reset.
      want_states: whether to give the state after the step, and its gates.
      state: the state that the step before ended with.
      inputs: this step's input `[*B, I]`, its noise or None, and its flags `[*B]`.

    Returns:
      The state that the step ends with, and its output with what was asked for.
    """
    x, noise, steps = inputs
    params = lane.params
    before = enter_step(lane.initial, state, steps.resets)
    x_proj = cell.project_input(params, x)
    h_proj = None if cell.project_state is None else cell.project_state(params, before)
    found: Any = cell.update(params, before, x_proj, h_proj, *given(noise))
    check_step_result(cell, before, found, x.shape[:-1])
    after, y = leave_step(steps.mask, before, *found)
    if not want_states:
        return after, (y, None)
    gates = None if cell.gates is None else cell.gates(params, before, x_proj, h_proj)
    return after, (y, LayerStates(after, gates))
