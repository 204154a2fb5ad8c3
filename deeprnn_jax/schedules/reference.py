"""A plain `lax.scan`: the definition that every other schedule must equal.

Everything, the input's projection too, happens inside the loop, and derivatives
are whatever JAX makes of it: any order, forward mode too.
"""

from jax import lax

from deeprnn_jax.modifiers.lift import attach_noise
from deeprnn_jax.schedules.run import CellRun
from deeprnn_jax.sequences import Steps, enter_step, leave_step
from deeprnn_jax.types import Array, Cell, Noise, Params, State


def run_cell(
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
    """Run one cell over a sequence, step by step; see `schedules.run.RunCellFn`."""

    def body(carry: State, inputs: tuple) -> tuple[State, tuple]:
        x_t, noise_t, (mask_t, reset_t) = inputs
        before = enter_step(initial, carry, reset_t)
        x_proj = attach_noise(cell, cell.project_input(params, x_t), noise_t)
        after, y = cell.step(params, before, x_proj)
        after, y = leave_step(mask_t, before, after, y)
        return after, (y, after if want_states else None)

    final, (y, states) = lax.scan(body, state, (x, noise, steps), reverse=reverse)
    return CellRun(final, y, states)
