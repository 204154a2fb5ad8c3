"""A sequence of one step, without a loop."""

from collections.abc import Sequence

import jax

from deeprnn_jax.modifiers.lift import attach_noise
from deeprnn_jax.schedules.run import CellRun, Lane
from deeprnn_jax.sequences import enter_step, leave_step


def run_lanes(
    lanes: Sequence[Lane], *, want_states: bool, checkpoint_every: int | None
) -> list[CellRun]:
    """Run cells for their only step; see `schedules.run.RunLanesFn`."""
    del checkpoint_every
    return [_run_lane(lane, want_states) for lane in lanes]


def _run_lane(lane: Lane, want_states: bool) -> CellRun:
    x, noise, (mask, reset) = jax.tree.map(
        lambda leaf: leaf[0], (lane.x, lane.noise, tuple(lane.steps))
    )
    before = enter_step(lane.initial, lane.state, reset)
    x_proj = attach_noise(lane.cell, lane.cell.project_input(lane.params, x), noise)
    after, y = leave_step(mask, before, *lane.cell.step(lane.params, before, x_proj))
    states = jax.tree.map(lambda leaf: leaf[None], after) if want_states else None
    return CellRun(after, y[None], states)
