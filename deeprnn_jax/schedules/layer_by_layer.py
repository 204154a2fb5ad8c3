"""One layer after the other, each over the whole sequence, whatever scans it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.arguments import steps_shape
from deeprnn_jax.layers import layer as layers
from deeprnn_jax.layers.entries import apart, held_apart, held_together, join, take, together
from deeprnn_jax.layers.layer import Lane, Layer
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.schedules.schedule import Options, Ran, layer_key
from deeprnn_jax.schedules.steps import run_step
from deeprnn_jax.sequences import Steps
from deeprnn_jax.types import Array, State

ScanFn = Callable[..., tuple[Any, Any]]  # (f, init, xs) -> (carry, ys), as `lax.scan`


def run_layers(
    scan_of: Callable[[int | None], ScanFn],
    plan: Plan,
    params: tuple[Any, ...],
    x: Array,
    state: tuple[State, ...],
    steps: Steps,
    key: Array | None,
    options: Options,
) -> Ran:
    """Run one layer after the other; see `schedule.RunFn` for what it takes and gives.

    Many equal layers are run as a loop, so that one of them is compiled. `scan_of` gives
    what scans a layer, for a `checkpoint_every`.
    """
    num_steps, last = x.shape[0], len(plan.layers) - 1
    scan = _scan_once if num_steps == 1 else scan_of(options.checkpoint_every)
    below, finals, states = [x], [], []
    for number, (start, size) in enumerate(plan.groups):
        run = partial(run_layer, scan, plan.layers[start], steps, key, options.want_states)
        if size <= options.rules.unrolled_layers(num_steps):
            each = zip(apart(plan, params, number), apart(plan, state, number), strict=True)
            found = []
            for index, one in enumerate(each, start):
                x = jnp.concatenate(below, axis=-1) if plan.is_dense else below[-1]
                y, inside = run(x, (*one, index, index == last))
                below.append(y)
                found.append(inside)
            finals += held_apart(plan, [final for final, _ in found])
            states += [one for _, one in found]
        else:
            index = jnp.arange(start, start + size)
            stacks = together(plan, params, number), together(plan, state, number)
            y, (final, seen) = lax.scan(run, below[-1], (*stacks, index, index == last))
            below.append(y)
            finals += held_together(plan, final, size)
            states += [take(seen, place) for place in range(size)]
    return Ran(tuple(finals), below[-1], states if options.want_states else None)


def run_layer(
    scan: ScanFn,
    layer: Layer,
    steps: Steps,
    key: Array | None,
    want_states: bool,
    x: Array,
    per_layer: tuple[Any, ...],
) -> tuple[Array, tuple[State, Any]]:
    """Run one layer over a sequence, in the form of a scan's step over layers.

    Args:
      scan: what scans the layer's cell.
      layer: the settings.
      steps: the flags of every step.
      key: the network's random key, or None outside training.
      want_states: whether to give the states and gates of every step.
      x: the input `[T, *B, I]`.
      per_layer: the layer's parameters, its state before the first step, its index, and
        whether it is the last one.

    Returns:
      The output `[T, *B, O]`, the last state, and states and gates, or None.
    """
    params, state, index, is_last = per_layer
    shape = steps_shape(x, layer.cell.image_shape)
    lanes, dropout = layers.draw(layer, params, layer_key(key, index), shape, is_last)
    u = layers.enter(layer, params, x)
    if layer.merge is None:
        (lane,) = lanes
        step = partial(run_step, layer.cell, lane, want_states)
        final, (y, states) = scan(step, state, (u, lane.noise, steps))
        ys = [y]
    else:
        final, ys, states = _run_both(scan, layer, lanes, u, state, steps, want_states)
    return layers.leave(layer, params, x, ys, dropout), (final, states)


def _run_both(
    scan: ScanFn,
    layer: Layer,
    lanes: list[Lane],
    u: Array,
    state: State,
    steps: Steps,
    want_states: bool,
) -> tuple[State, list[Array], Any]:
    """Run both directions of a layer in one loop; the reverse one reads time turned round."""

    def step(carry: list[State], inputs: list[tuple]) -> tuple[list[State], list[tuple]]:
        found = [
            run_step(layer.cell, lane, want_states, *one)
            for lane, *one in zip(lanes, carry, inputs, strict=True)
        ]
        return [after for after, _ in found], [outputs for _, outputs in found]

    forward = u, lanes[0].noise, steps
    reverse = _turn((u, lanes[1].noise, steps.reversed()))
    final, outputs = scan(step, [take(state, 0), take(state, 1)], [forward, reverse])
    ys, states = zip(outputs[0], _turn(outputs[1]), strict=True)
    return join(final), list(ys), join(states) if want_states else None


def _turn(tree: Any) -> Any:
    """Reverse time."""
    return jax.tree.map(lambda leaf: jnp.flip(leaf, axis=0), tree)


def _scan_once(step: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any) -> tuple[Any, Any]:
    """Scan a sequence of one step, without a loop."""
    final, y = step(init, take(xs, 0))
    return final, jax.tree.map(lambda leaf: leaf[None], y)
