"""All layers at once, on the diagonals of the grid of layers and blocks of time.

    step s      layer l does block n = s - l, of K time steps, for all l in one vmapped step
    steps       T/K + L - 1 in one loop, in place of T in each of L loops

What layer l reads at step s is what layer l - 1 gave at step s - 1. So a whole network is
one recurrence, whose carry is every layer's state and last output, and `recurrence` runs
it and its gradients. At the ragged ends a layer that has nothing to do yet, or no more,
takes masked steps, for which its cell is run on zeros: a cell whose derivative is not
finite there cannot go by diagonals. Neighbouring layers that are equal go through the
step as one; over the devices of a mesh, each does its own of them (`stages`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.arguments import steps_shape
from deeprnn_jax.layers import layer as layers
from deeprnn_jax.layers.entries import held_together, take, together
from deeprnn_jax.layers.layer import Dropout, Lane, Layer, LayerParams
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.meshes import vary_as
from deeprnn_jax.random_keys import fold_in_each, map_keys
from deeprnn_jax.recurrence import scan
from deeprnn_jax.schedules.layer_by_layer import ScanFn
from deeprnn_jax.schedules.layerwise import LAYERWISE
from deeprnn_jax.schedules.schedule import Options, Ran
from deeprnn_jax.schedules.skew import cut_blocks, join_blocks, repeat, skew, unskew
from deeprnn_jax.schedules.stages import ALONE, Ring, Stages, run_stages
from deeprnn_jax.schedules.steps import run_step
from deeprnn_jax.sequences import Steps
from deeprnn_jax.types import Array, Noise, State


class GroupParams(NamedTuple):
    """A group of equal layers: what every step reads alike; leaves [L, ...]."""

    layers: LayerParams
    lane: Lane  # without its noise


class GroupInputs(NamedTuple):
    """What a group of equal layers reads at every step; leaves [S, L, *B, ...].

    With blocks an axis of K time steps stands before `*B`, here and in `GroupCarry.y`.
    """

    steps: Steps
    noise: Noise
    dropout: Dropout | None


class GroupCarry(NamedTuple):
    """A group of equal layers between two steps; leaves [L, *B, ...]."""

    state: State
    y: Array  # what each layer gave at the last step


def refuse(plan: Plan) -> str | None:
    """Say why a network cannot go by diagonals, or None if it can."""
    if plan.merge is not None:
        return "a bidirectional layer reads a sequence from both ends; use schedule='layerwise'"
    if plan.is_dense:
        return (
            "with skip='dense' a layer reads all layers below, at other steps; use "
            "schedule='layerwise'"
        )
    return None


@dataclass(frozen=True)
class NumDiagonals:
    """Gives the steps of the loop, for a sequence of T."""

    block_size: int | None

    def __call__(self, plan: Plan, length: int) -> int:
        """Count the blocks, and the diagonals at the end."""
        return -(-length // _block_size(self.block_size, plan, length)) + len(plan.layers) - 1


@dataclass(frozen=True)
class Diagonals:
    """Runs all layers at once; see `schedule.RunFn`. Equal if made alike.

    Attributes:
      block_size: K, or None for what `_block_size` finds.
      stages: the devices over which stacked layers lie, or None.
    """

    block_size: int | None
    stages: Stages | None

    def __call__(
        self,
        plan: Plan,
        params: tuple[Any, ...],
        x: Array,
        state: tuple[State, ...],
        steps: Steps,
        key: Array | None,
        options: Options,
    ) -> Ran:
        """Run them."""
        num_steps, num_layers = x.shape[0], len(plan.layers)
        if num_steps == 1:  # as many diagonals as layers
            return LAYERWISE.run(plan, params, x, state, steps, key, options)
        size = _block_size(self.block_size, plan, num_steps)
        cut, shape = partial(cut_blocks, size=size), steps_shape(x, plan.image_shape)
        ready = [
            _ready(plan, number, together(plan, params, number), steps, key, shape, cut)
            for number in range(len(plan.groups))
        ]
        carry = []
        for number, group in enumerate(plan.groups):
            width = plan.layers[group.start].cell.output_size
            block = x.shape[1:-1] if size == 1 else (size, *x.shape[1:-1])
            zeros = jnp.zeros((group.size, *block, width), plan.precision.compute)
            zeros = vary_as(zeros, x)
            carry.append(GroupCarry(together(plan, state, number), zeros))

        run = _once if size == 1 else scan
        blocks = cut(x[None])[0]
        pad = [(0, num_layers - 1)] + [(0, 0)] * (blocks.ndim - 1)

        def loop(
            ring: Ring, x: Array, groups: list[GroupParams], carry: Any, inputs: list[GroupInputs]
        ) -> Any:
            step = partial(_step, ring, run, plan, options.want_states, groups)
            every = options.checkpoint_every
            # whole: in parts the layers would run one after the other
            carry, (y, states) = scan(step, carry, (x, inputs), checkpoint_every=every, _whole=True)
            return carry, (y[num_layers - 1 :], states)

        groups, inputs = zip(*ready, strict=True)
        operands = jnp.pad(blocks, pad), list(groups), carry, list(inputs)
        if self.stages is None:
            carry, (y, states) = loop(ALONE, *operands)
        else:
            carry, (y, states) = run_stages(self.stages, plan, loop, *operands)

        joined = partial(join_blocks, size=size, num_steps=num_steps)
        finals, found = [], []
        for group, after, seen in zip(plan.groups, carry, states, strict=True):
            back = partial(unskew, start=group.start, num_steps=blocks.shape[0])
            finals += held_together(plan, after.state, group.size)
            of_layers = jax.tree.map(lambda rows, back=back: joined(back(rows)), seen)
            found += [take(of_layers, place) for place in range(group.size)]
        y = joined(y[None])[0]
        return Ran(tuple(finals), y, found if options.want_states else None)


def _block_size(block_size: int | None, plan: Plan, num_steps: Any) -> int:
    """Give K: as asked for, or what is best if handing a block on costs as much as a step.

    The time (T/K + L - 1) (K + 1) is least at K = √(T / (L - 1)).
    """
    if not isinstance(num_steps, int):  # symbolic, in `jax.export`
        return 1
    if block_size is not None:
        return min(block_size, num_steps)
    return max(1, round(math.sqrt(num_steps / max(1, len(plan.layers) - 1))))


def _ready(
    plan: Plan,
    number: int,
    params: LayerParams,
    steps: Steps,
    key: Array | None,
    shape: tuple[int, ...],
    cut: Callable[[Array], Array],
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

    def lay(rows: Array) -> Array:
        return skew(cut(rows), start=start, num_layers=len(plan.layers))

    active = jnp.ones(shape, bool) if steps.mask is None else steps.mask
    resets = steps.resets
    flags = Steps(lay(repeat(active, size)), None if resets is None else lay(repeat(resets, size)))
    inputs = GroupInputs(flags, *jax.tree.map(lay, (lane.noise, dropout)))
    return GroupParams(params, lane._replace(noise=None)), inputs


def _step(
    ring: Ring,
    run: ScanFn,
    plan: Plan,
    want_states: bool,
    params: list[GroupParams],
    carry: list[GroupCarry],
    per_step: tuple[Array, list[GroupInputs]],
) -> tuple[list[GroupCarry], tuple]:
    """Do one block of every layer, each at its own time."""
    x, inputs = per_step
    below, carries, seen = x, [], []
    for group, one, before, read in zip(plan.groups, params, carry, inputs, strict=True):
        step = partial(_step_layer, run, plan.layers[group.start], want_states)
        # what the layers gave at the step before: each is one behind the layer below it
        arrived = before.y[-1] if group.size == 1 else ring.pass_on(before.y[-1])
        if len(before.y) == 1:  # a plain product, not a batch of one
            first = below if group.size == 1 else ring.first(below, arrived)
            alone = take((one, before.state, read), 0)
            found = step(alone[0], alone[1], first, alone[2])
            state, y, states = jax.tree.map(lambda leaf: leaf[None], found)
        else:
            rows = jnp.concatenate([ring.first(below, arrived)[None], before.y[:-1]])
            state, y, states = jax.vmap(step)(one, before.state, rows, read)
        below = arrived
        carries.append(GroupCarry(state, y))
        seen.append(states)
    return carries, (carries[-1].y[-1], seen)


def _step_layer(
    run: ScanFn,
    layer: Layer,
    want_states: bool,
    params: GroupParams,
    state: State,
    x: Array,
    read: GroupInputs,
) -> tuple[State, Array, Any]:
    """Do one block of one layer: its state, its output, and what was asked for."""
    u = layers.enter(layer, params.layers, x)
    step = partial(run_step, layer.cell, params.lane, want_states)
    after, (y, states) = run(step, state, (u, read.noise, read.steps))
    return after, layers.leave(layer, params.layers, x, [y], read.dropout), states


def _once(step: Callable[[Any, Any], tuple[Any, Any]], state: State, inputs: Any) -> Any:
    """Do a block of one time step, which has no axis for it."""
    return step(state, inputs)
