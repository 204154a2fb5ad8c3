"""A sequence of one step, without a loop."""

from collections.abc import Sequence

import jax

from deeprnn_jax.schedules.run import CellRun, Lane, step_cell


def run_lanes(
    lanes: Sequence[Lane], *, want_states: bool, checkpoint_every: int | None
) -> list[CellRun]:
    """Run cells for their only step; see `schedules.run.RunLanesFn`."""
    del checkpoint_every
    return [_run_lane(lane, want_states) for lane in lanes]


def _run_lane(lane: Lane, want_states: bool) -> CellRun:
    inputs = jax.tree.map(lambda leaf: leaf[0], (lane.x, lane.noise, lane.steps))
    after, y = step_cell(lane.cell, lane.params, lane.initial, lane.state, *inputs)
    states = jax.tree.map(lambda leaf: leaf[None], after) if want_states else None
    return CellRun(after, y[None], states)
