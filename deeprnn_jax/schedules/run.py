"""What a schedule is given and what it gives back."""

from typing import NamedTuple, Protocol

from deeprnn_jax.sequences import Steps
from deeprnn_jax.types import Array, Cell, Noise, Params, State


class CellRun(NamedTuple):
    """One cell over one sequence, in one direction."""

    state: State  # after the last step, leaves [*B, size]
    y: Array  # [T, *B, H], zero at masked steps
    states: State | None  # after each step, leaves [T, *B, size], if asked for


class RunCellFn(Protocol):
    """Runs a cell over a sequence x [T, *B, I]."""

    def __call__(
        self,
        cell: Cell,
        params: Params,
        x: Array,
        state: State,
        initial: State,
        steps: Steps,
        noise: Noise,
        *,
        reverse: bool,
        want_states: bool,
    ) -> CellRun:
        """Run the cell.

        Args:
          cell: the cell.
          params: its parameters, with what is drawn once a sequence.
          x: the input `[T, *B, I]`, zero at masked steps.
          state: the state before the first step, leaves `[*B, size]`.
          initial: the state after a reset, likewise.
          steps: flags of this direction, `[T, *B]`.
          noise: what is drawn for every step, leaves `[T, *B, ...]`, or None.
          reverse: whether to run from the last step to the first; outputs stay in
            the order of time.
          want_states: whether to give the state after each step.
        """
        ...
