"""Layer by layer, each layer's gradients deferred; both directions in one loop."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.schedules.recurrence import run_recurrence
from deeprnn_jax.schedules.run import CellRun, Lane, step_cell
from deeprnn_jax.types import Cell


def run_lanes(
    lanes: Sequence[Lane], *, want_states: bool, checkpoint_every: int | None
) -> list[CellRun]:
    """Run cells side by side in one loop; see `schedules.run.RunLanesFn`.

    Lanes of different directions go through the same loop: what a reverse lane reads is
    turned round before, and its outputs after.
    """
    reverse = lanes[0].reverse
    turned = [lane.reverse != reverse for lane in lanes]
    final, outputs = run_recurrence(
        partial(_step, tuple(lane.cell for lane in lanes), want_states),
        [(lane.params, lane.initial) for lane in lanes],
        [lane.state for lane in lanes],
        [_turn(lane.x, turn) for lane, turn in zip(lanes, turned, strict=True)],
        [_turn((lane.noise, lane.steps), turn) for lane, turn in zip(lanes, turned, strict=True)],
        reverse=reverse,
        checkpoint_every=checkpoint_every,
    )
    return [
        CellRun(state, *_turn(output, turn))
        for state, output, turn in zip(final, outputs, turned, strict=True)
    ]


def _step(
    cells: tuple[Cell, ...], want_states: bool, params: list, carry: list, x: list, flags: list
) -> tuple[list, list]:
    """Do one step of every lane."""
    afters, outputs = [], []
    for cell, (cell_params, initial), state, x_t, (noise, steps) in zip(
        cells, params, carry, x, flags, strict=True
    ):
        after, y = step_cell(cell, cell_params, initial, state, x_t, noise, steps)
        afters.append(after)
        outputs.append((y, after if want_states else None))
    return afters, outputs


def _turn(tree: Any, turn: bool) -> Any:
    """Reverse time if asked to."""
    return jax.tree.map(lambda leaf: jnp.flip(leaf, axis=0), tree) if turn else tree
