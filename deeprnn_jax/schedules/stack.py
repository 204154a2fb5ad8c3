"""Running a stack of equal layers one after the other, whatever runs each cell."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax import layers
from deeprnn_jax.layers import Layer, LayerParams
from deeprnn_jax.modifiers.lift import attach_noise
from deeprnn_jax.schedules.run import Lane, RunLanesFn
from deeprnn_jax.sequences import Steps, states_before
from deeprnn_jax.types import Array, Cell, Noise, Params, State


class LayerTrace(NamedTuple):
    """What happened inside a layer; with two directions, a leading axis D."""

    state: State  # after each step, leaves [T, *B, size]
    gates: Any  # the gates at each step, leaves [T, *B, H], or None; at masked steps of x = 0


class LayerRun(NamedTuple):
    """One layer over a sequence."""

    state: State  # after the last step, leaves [*B, size] or [D, *B, size]
    y: Array  # [T, *B, O]
    trace: LayerTrace | None


def run_layer(
    run_lanes: RunLanesFn,
    layer: Layer,
    params: LayerParams,
    x: Array,
    state: State,
    steps: Steps,
    key: Array | None,
    is_last: Any,
    *,
    want_trace: bool,
    checkpoint_every: int | None,
) -> LayerRun:
    """Run one layer over a sequence.

    Args:
      run_lanes: the schedule.
      layer: the settings.
      params: the layer's parameters.
      x: the input `[T, *B, I]`.
      state: the state before the first step, `[*B, size]` or `[D, *B, size]`.
      steps: the flags of every step.
      key: a random key, or None outside training.
      is_last: bool scalar, whether the network's last layer.
      want_trace: whether to give the states and gates of every step.
      checkpoint_every: see `recurrence.chunks`.
    """
    k_drop, *k_cells = [None] * 3 if key is None else split_layer_key(key)
    u = layers.normalise_input(layer, params, x)
    if layer.merge is None:
        lanes = [_make_lane(layer.cell, params.cell, u, state, steps, k_cells[0], False)]
    else:
        lanes = [
            _make_lane(
                layer.cell,
                _take(params.cell, d),
                u,
                _take(state, d),
                steps.reversed() if d else steps,
                k_cells[d],
                bool(d),
            )
            for d in (0, 1)
        ]
    runs = run_lanes(lanes, want_states=want_trace, checkpoint_every=checkpoint_every)
    finals = [run.state for run in runs]
    traces = [trace_lane(lane, run.states) for lane, run in zip(lanes, runs, strict=True)]
    outputs = [run.y.astype(layer.compute_dtype) for run in runs]
    if layer.merge is None:
        (final,), (trace,), (y,) = finals, traces, outputs
    else:
        final, trace, y = _join(*finals), _join(*traces), layer.merge(*outputs)
    keep = layers.drop_mask(layer, k_drop, y.shape, is_last)
    return LayerRun(final, layers.finish_output(layer, params, x, y, keep, is_last), trace)


def run_stack(
    run_lanes: RunLanesFn,
    layer: Layer,
    params: LayerParams,
    x: Array,
    state: State,
    steps: Steps,
    keys: Array | None,
    is_last: Array,
    *,
    want_trace: bool,
    checkpoint_every: int | None,
    unroll: int,
) -> LayerRun:
    """Run equal layers one after the other, as a loop that compiles one of them.

    Args:
      run_lanes: the schedule.
      layer: the settings of every layer of the stack.
      params: their parameters, stacked `[L, ...]`.
      x: the first layer's input `[T, *B, I]`.
      state: their states, stacked `[L, ...]`.
      steps: the flags of every step.
      keys: a random key a layer `[L]`, or None outside training.
      is_last: bool `[L]`.
      want_trace: whether to give the states and gates of every step.
      checkpoint_every: see `recurrence.chunks`.
      unroll: up to how many layers are written out instead, so that none of what they
        have or keep is copied into and out of a stack.

    Returns:
      The last layer's output; states and traces stacked `[L, ...]`.
    """

    def body(x: Array, per_layer: tuple) -> tuple[Array, tuple]:
        params, state, key, is_last = per_layer
        run = run_layer(
            run_lanes,
            layer,
            params,
            x,
            state,
            steps,
            key,
            is_last,
            want_trace=want_trace,
            checkpoint_every=checkpoint_every,
        )
        return run.y, (run.state, run.trace)

    per_layer = (params, state, keys, is_last)
    count = is_last.shape[0]
    if count == 1 or count <= unroll:  # one alone may be wider than its input
        y, found = x, []
        for index in range(count):
            y, one = body(y, _take(per_layer, index))
            found.append(one)
        final, trace = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    else:
        y, (final, trace) = lax.scan(body, x, per_layer)
    return LayerRun(final, y, trace)


def _make_lane(
    cell: Cell,
    params: Params,
    x: Array,
    state: State,
    steps: Steps,
    key: Array | None,
    reverse: bool,
) -> Lane:
    """Draw what the cell draws before the loop."""
    batch_shape, noise = x.shape[1:-1], None
    if key is not None and cell.is_stochastic:
        params, noise = draw(cell, params, key, x.shape[:-1])
    initial = cell.initial_state(params, batch_shape)
    return Lane(cell, params, x, state, initial, steps, noise, reverse)


def split_layer_key(key: Array) -> Array:
    """Give a layer's keys: for dropout of its output, and for each direction's cell."""
    return jax.random.split(key, 3)


def draw(cell: Cell, params: Params, key: Array, shape: tuple[int, ...]) -> tuple[Params, Noise]:
    """Give the parameters and the noise of a cell in training, for steps `[T, *B]`."""
    k_prepare, k_noise = jax.random.split(key)
    if cell.prepare is not None:
        params = cell.prepare(params, k_prepare, shape[1:])
    if cell.noise is None:
        return params, None
    # no gradient: every schedule takes noise as given
    return params, lax.stop_gradient(cell.noise(params, k_noise, shape))


def trace_lane(lane: Lane, states: State | None) -> LayerTrace | None:
    """Give what happened inside a cell, from the state after each step."""
    cell, params = lane.cell, lane.params
    if states is None or cell.gates is None:
        return None if states is None else LayerTrace(states, None)
    befores = states_before(
        lane.initial, lane.state, states, lane.steps.resets, reverse=lane.reverse
    )
    x_proj = attach_noise(cell, cell.project_input(params, lane.x), lane.noise)
    h_proj = cell.project_state(params, befores) if cell.project_state else None
    return LayerTrace(states, cell.gates(params, befores, x_proj, h_proj))


def _take(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _join(a: Any, b: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), a, b)
