"""What a schedule is given and what it gives back."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from deeprnn_jax.modifiers.lift import attach_noise
from deeprnn_jax.sequences import Steps, enter_step, leave_step
from deeprnn_jax.types import Array, Cell, Noise, Params, State


def step_cell(
    cell: Cell, params: Params, initial: State, state: State, x: Array, noise: Noise, steps: Steps
) -> tuple[State, Array]:
    """Do one step of a cell, with the step's flags; what every schedule runs.

    Args:
      cell: the cell.
      params: its parameters, with what is drawn once a sequence.
      initial: the state after a reset.
      state: the state that the step before ended with.
      x: this step's input `[*B, I]`.
      noise: what is drawn for this step, or None.
      steps: this step's flags `[*B]`.

    Returns:
      The state that the step ends with, and its output.
    """
    before = enter_step(initial, state, steps.resets)
    x_proj = attach_noise(cell, cell.project_input(params, x), noise)
    return leave_step(steps.mask, before, *cell.step(params, before, x_proj))


class Lane(NamedTuple):
    """One cell over one sequence, in one direction."""

    cell: Cell
    params: Params  # with what is drawn once a sequence
    x: Array  # [T, *B, I], zero at masked steps
    state: State  # before the first step, leaves [*B, size]
    initial: State  # after a reset, likewise
    steps: Steps  # flags of this direction, [T, *B]
    noise: Noise  # what is drawn for every step, leaves [T, *B, ...], or None
    reverse: bool  # from the last step to the first; outputs stay in the order of time


class CellRun(NamedTuple):
    """What a cell makes of a sequence."""

    state: State  # after the last step, leaves [*B, size]
    y: Array  # [T, *B, H], zero at masked steps
    states: State | None  # after each step, leaves [T, *B, size], if asked for


class RunLanesFn(Protocol):
    """Runs cells that do not need each other, as the directions of a layer."""

    def __call__(
        self, lanes: Sequence[Lane], *, want_states: bool, checkpoint_every: int | None
    ) -> list[CellRun]:
        """Run the lanes.

        Args:
          lanes: of equal length.
          want_states: whether to give the state after each step.
          checkpoint_every: see `recurrence.chunks`.
        """
        ...
