"""A plain `lax.scan`: the definition that every other schedule must equal.

Everything, the input's projection too, happens inside the loop, and derivatives
are whatever JAX makes of it.
"""

from collections.abc import Sequence

from deeprnn_jax.recurrence.chunks import scan_in_chunks
from deeprnn_jax.recurrence.loop import lax_scan
from deeprnn_jax.schedules.run import CellRun, Lane, step_cell
from deeprnn_jax.types import State


def run_lanes(
    lanes: Sequence[Lane], *, want_states: bool, checkpoint_every: int | None
) -> list[CellRun]:
    """Run cells step by step, one after the other; see `schedules.run.RunLanesFn`."""
    return [_run_lane(lane, want_states, checkpoint_every) for lane in lanes]


def _run_lane(lane: Lane, want_states: bool, checkpoint_every: int | None) -> CellRun:
    def body(carry: State, inputs: tuple) -> tuple[State, tuple]:
        after, y = step_cell(lane.cell, lane.params, lane.initial, carry, *inputs)
        return after, (y, after if want_states else None)

    final, (y, states) = scan_in_chunks(
        lax_scan,
        body,
        lane.state,
        (lane.x, lane.noise, lane.steps),
        lane.x.shape[0],
        lane.reverse,
        1,
        checkpoint_every,
    )
    return CellRun(final, y, states)
