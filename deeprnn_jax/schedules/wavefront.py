"""All layers at once, on the diagonals of the grid of layers and time.

    step s      layer l does time t = s - l, for all l in one vmapped step
    steps       T + L - 1 in one loop, in place of T in each of L loops

What layer l reads at step s is what layer l - 1 gave at step s - 1. So a whole network is
one recurrence, whose carry is every layer's state and last output, and `recurrence` runs
it and its gradients. At the ragged ends a layer that has nothing to do yet, or no more,
takes a masked step, for which its cell is run on zeros: a cell whose derivative is not
finite there cannot go by diagonals. Neighbouring layers that are equal go through the
step as one.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.layers import layer as layers
from deeprnn_jax.layers.entries import held_together, take, together
from deeprnn_jax.layers.layer import Dropout, Lane, Layer, LayerParams
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.meshes import vary_as
from deeprnn_jax.random_keys import fold_in_each, map_keys
from deeprnn_jax.recurrence import scan
from deeprnn_jax.schedules.layerwise import LAYERWISE
from deeprnn_jax.schedules.schedule import Options, Ran, Schedule
from deeprnn_jax.schedules.steps import run_step
from deeprnn_jax.sequences import Steps
from deeprnn_jax.types import Array, Noise, State


class GroupParams(NamedTuple):
    """A group of equal layers: what every step reads alike; leaves [L, ...]."""

    layers: LayerParams
    lane: Lane  # without its noise


class GroupInputs(NamedTuple):
    """What a group of equal layers reads at every step; leaves [S, L, *B, ...]."""

    steps: Steps
    noise: Noise
    dropout: Dropout | None


class GroupCarry(NamedTuple):
    """A group of equal layers between two steps; leaves [L, *B, ...]."""

    state: State
    y: Array  # what each layer gave at the last step


def _refuse(plan: Plan) -> str | None:
    """Say why a network cannot go by diagonals, or None if it can."""
    if plan.merge is not None:
        return "a bidirectional layer reads a sequence from both ends; use schedule='layerwise'"
    if plan.is_dense:
        return (
            "with skip='dense' a layer reads all layers below, at other steps; use "
            "schedule='layerwise'"
        )
    return None


def _num_steps(plan: Plan, length: int) -> int:
    return length + len(plan.layers) - 1


def run_diagonals(
    plan: Plan,
    params: tuple[Any, ...],
    x: Array,
    state: tuple[State, ...],
    steps: Steps,
    key: Array | None,
    options: Options,
) -> Ran:
    """Run all layers at once; see `schedule.RunFn`."""
    if x.shape[0] == 1:  # as many diagonals as layers
        return LAYERWISE.run(plan, params, x, state, steps, key, options)
    num_layers = len(plan.layers)
    ready = [
        _ready(plan, number, together(plan, params, number), steps, key, x.shape[:-1])
        for number in range(len(plan.groups))
    ]
    carry = []
    for number, (start, size) in enumerate(plan.groups):
        width = plan.layers[start].cell.output_size
        zeros = jnp.zeros((size, *x.shape[1:-1], width), plan.precision.compute)
        zeros = vary_as(zeros, (params, x, state, steps))
        carry.append(GroupCarry(together(plan, state, number), zeros))

    pad = [(0, num_layers - 1)] + [(0, 0)] * (x.ndim - 1)
    carry, (y, states) = scan(
        partial(_step, plan, options.want_states, [group for group, _ in ready]),
        carry,
        (jnp.pad(x, pad), [inputs for _, inputs in ready]),
        checkpoint_every=options.checkpoint_every,
    )
    finals, found = [], []
    for (start, size), group, seen in zip(plan.groups, carry, states, strict=True):
        unskewed = jax.tree.map(partial(_unskew, start=start, num_steps=x.shape[0]), seen)
        finals += held_together(plan, group.state, size)
        found += [take(unskewed, place) for place in range(size)]
    y = y[num_layers - 1 :]
    return Ran(tuple(finals), y, found if options.want_states else None)


def _ready(
    plan: Plan,
    number: int,
    params: LayerParams,
    steps: Steps,
    key: Array | None,
    shape: tuple[int, ...],
) -> tuple[GroupParams, GroupInputs]:
    """Draw what a group's layers draw, and give each layer's row of inputs its delay."""
    start, size = plan.groups[number]
    last = len(plan.layers) - 1
    indices = jnp.arange(start, start + size)

    def draw(key: Any, params: LayerParams, index: Array) -> tuple[Lane, Any]:
        is_last = start == last if size == 1 else index == last
        (lane,), dropout = layers.draw(plan.layers[start], params, key, shape, is_last)
        return lane, dropout

    if key is None:
        lane, dropout = jax.vmap(partial(draw, None))(params, indices)
    else:
        lane, dropout = map_keys(draw, fold_in_each(key, indices), params, indices)
    dropout = jax.tree.map(  # one mask a sequence: the same at all times
        lambda leaf: jnp.broadcast_to(leaf, (size, shape[0], *leaf.shape[2:])), dropout
    )
    skew = partial(_skew, start=start, num_layers=len(plan.layers))
    active = jnp.ones(shape, bool) if steps.mask is None else steps.mask
    resets = steps.resets
    flags = Steps(
        skew(_repeat(active, size)), None if resets is None else skew(_repeat(resets, size))
    )
    inputs = GroupInputs(flags, *jax.tree.map(skew, (lane.noise, dropout)))
    return GroupParams(params, lane._replace(noise=None)), inputs


def _step(
    plan: Plan,
    want_states: bool,
    params: list[GroupParams],
    carry: list[GroupCarry],
    per_step: tuple[Array, list[GroupInputs]],
) -> tuple[list[GroupCarry], tuple]:
    """Do one step of every layer, each at its own time."""
    x, inputs = per_step
    below, carries, seen = x, [], []
    for group, one, before, read in zip(plan.groups, params, carry, inputs, strict=True):
        step = partial(_step_layer, plan.layers[group.start], want_states)
        if group.size == 1:  # a plain product, not a batch of one
            alone = take((one, before.state, read), 0)
            found = step(alone[0], alone[1], below, alone[2])
            state, y, states = jax.tree.map(lambda leaf: leaf[None], found)
        else:
            rows = jnp.concatenate([below[None], before.y[:-1]])
            state, y, states = jax.vmap(step)(one, before.state, rows, read)
        below = before.y[-1]  # of the step before: the next layer is one time behind
        carries.append(GroupCarry(state, y))
        seen.append(states)
    return carries, (carries[-1].y[-1], seen)


def _step_layer(
    layer: Layer, want_states: bool, params: GroupParams, state: State, x: Array, read: GroupInputs
) -> tuple[State, Array, Any]:
    """Do one step of one layer: its state, its output, and what was asked for."""
    u = layers.enter(layer, params.layers, x)
    inputs = (u, read.noise, read.steps)
    after, (y, states) = run_step(layer.cell, params.lane, want_states, state, inputs)
    return after, layers.leave(layer, params.layers, x, [y], read.dropout), states


def _repeat(flag: Array, times: int) -> Array:
    return jnp.broadcast_to(flag, (times, *flag.shape))


def _skew(rows: Array, *, start: int, num_layers: int) -> Array:
    """Give each layer's row its delay: `[L, T, ...]` to `[S, L, ...]`, S = T + L - 1.

    Args:
      rows: one row a layer of a run.
      start: the index of the run's first layer.
      num_layers: of the network.
    """
    count, num_steps = rows.shape[:2]
    num_diagonals = num_steps + num_layers - 1
    rest = [(0, 0)] * (rows.ndim - 2)
    # Each row is one longer than the diagonals are many, so that laid end to end and cut
    # anew, each begins one later than the row before it.
    rows = jnp.pad(rows, [(0, 0), (start, num_diagonals + 1 - start - num_steps), *rest])
    flat = rows.reshape(count * (num_diagonals + 1), *rows.shape[2:])
    skewed = flat[: count * num_diagonals].reshape(count, num_diagonals, *rows.shape[2:])
    return jnp.moveaxis(skewed, 0, 1)


def _unskew(rows: Array, *, start: int, num_steps: int) -> Array:
    """Take the delay back: `[S, L, ...]` to `[L, T, ...]`."""
    layer = jnp.arange(rows.shape[1])[:, None]
    return rows[start + layer + jnp.arange(num_steps)[None], layer]


WAVEFRONT = Schedule("wavefront", run_diagonals, _refuse, _num_steps)
