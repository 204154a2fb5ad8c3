"""Layer by layer, each layer's gradients deferred; both directions in one loop."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.recurrence import scan
from deeprnn_jax.schedules.run import CellRun, Lane, step_cell
from deeprnn_jax.types import State


def run_lanes(
    lanes: Sequence[Lane], *, want_states: bool, checkpoint_every: int | None
) -> list[CellRun]:
    """Run cells side by side in one loop; see `schedules.run.RunLanesFn`.

    Lanes of different directions go through the same loop: what a reverse lane reads is
    turned round before, and its outputs after.
    """
    reverse = lanes[0].reverse
    turned = [lane.reverse != reverse for lane in lanes]
    inputs = [(lane.x, lane.noise, lane.steps) for lane in lanes]
    final, outputs = scan(
        partial(_step, lanes, want_states),
        [lane.state for lane in lanes],
        [_turn(one, turn) for one, turn in zip(inputs, turned, strict=True)],
        reverse=reverse,
        checkpoint_every=checkpoint_every,
    )
    return [
        CellRun(state, *_turn(output, turn))
        for state, output, turn in zip(final, outputs, turned, strict=True)
    ]


def _step(
    lanes: Sequence[Lane], want_states: bool, carry: list[State], inputs: list
) -> tuple[list[State], list]:
    """Do one step of every lane."""
    afters, outputs = [], []
    for lane, state, (x_t, noise, steps) in zip(lanes, carry, inputs, strict=True):
        after, y = step_cell(lane.cell, lane.params, lane.initial, state, x_t, noise, steps)
        afters.append(after)
        outputs.append((y, after if want_states else None))
    return afters, outputs


def _turn(tree: Any, turn: bool) -> Any:
    """Reverse time if asked to."""
    return jax.tree.map(lambda leaf: jnp.flip(leaf, axis=0), tree) if turn else tree
