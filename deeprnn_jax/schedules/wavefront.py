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

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import layers
from deeprnn_jax.layers import LayerParams
from deeprnn_jax.network import Plan, Run
from deeprnn_jax.recurrence import scan
from deeprnn_jax.schedules.run import Lane, step_cell
from deeprnn_jax.schedules.stack import LayerTrace, draw, split_layer_key, trace_lane
from deeprnn_jax.sequences import Steps
from deeprnn_jax.types import Array, Noise, State


class RunParams(NamedTuple):
    """A run of equal layers: parameters, and the state after a reset; leaves [L, ...]."""

    layers: LayerParams
    initial: State


class RunCarry(NamedTuple):
    """A run of equal layers between two steps; leaves [L, *B, size]."""

    state: State
    y: Array  # what each layer gave at the last step


class RunFlags(NamedTuple):
    """What a run of equal layers reads at every step; leaves [S, L, *B, ...]."""

    steps: Steps
    noise: Noise
    keep: Array | None  # what dropout keeps


def explain_refusal(plan: Plan) -> str | None:
    """Say why a network cannot go by diagonals, or None if it can."""
    if plan.merge is not None:
        return "a bidirectional layer reads a sequence from both ends"
    if plan.skip == "dense":
        return "with skip='dense' a layer reads all layers below, at other steps"
    return None


def run_network(
    plan: Plan,
    params: Sequence[LayerParams],
    x: Array,
    states: Sequence[State],
    steps: Steps,
    keys: Sequence[Array | None],
    *,
    want_trace: bool,
    checkpoint_every: int | None,
) -> tuple[list[State], Array, list[LayerTrace] | None]:
    """Run all layers.

    Args:
      plan: the network; `explain_refusal` has nothing against it.
      params: one entry a run of equal layers, leaves `[L, ...]`.
      x: the input `[T, *B, I]`, zero at masked steps.
      states: the states before the first step, likewise.
      steps: the flags of every step, `[T, *B]`.
      keys: a random key for each layer of a run `[L]`, or None outside training.
      want_trace: whether to give the states and gates of every step.
      checkpoint_every: see `recurrence.chunks`.

    Returns:
      The states after the last step, the last layer's output `[T, *B, O]`, and for each
      run of layers what happened inside, or None.
    """
    num_steps, batch_shape = x.shape[0], x.shape[1:-1]
    num_layers = len(plan.cells)
    run_params, carries, flags = [], [], []
    for run, stack, state, key in zip(plan.runs, params, states, keys, strict=True):
        noise = keep = None
        if key is not None:
            stack, noise, keep = jax.vmap(
                partial(_draw, run, num_layers=num_layers, shape=x.shape[:-1])
            )(stack, key, jnp.arange(run.start, run.start + run.size))
        initial = jax.vmap(partial(run.layer.cell.initial_state, batch_shape=batch_shape))(
            stack.cell
        )
        run_params.append(RunParams(stack, initial))
        width = run.layer.cell.output_size
        zeros = jnp.zeros((run.size, *batch_shape, width), run.layer.compute_dtype)
        carries.append(RunCarry(state, zeros))
        skew = partial(_skew, start=run.start, num_layers=num_layers)
        active = jnp.ones(x.shape[:-1], bool) if steps.mask is None else steps.mask
        same = partial(_repeat, times=run.size)
        mask = skew(same(active))
        resets = None if steps.resets is None else skew(same(steps.resets))
        flags.append(RunFlags(Steps(mask, resets), *jax.tree.map(skew, (noise, keep))))

    pad = [(0, num_layers - 1)] + [(0, 0)] * (x.ndim - 1)
    final, (y, states_after, inputs) = scan(
        partial(_step, plan, want_trace, run_params),
        carries,
        (jnp.pad(x, pad), flags),
        checkpoint_every=checkpoint_every,
    )
    y = y[num_layers - 1 :]
    finals = [carry.state for carry in final]
    if not want_trace:
        return finals, y, None
    traces = []
    noises = [one.noise for one in flags]
    for run, one, state, *skewed in zip(
        plan.runs, run_params, states, states_after, inputs, noises, strict=True
    ):
        unskew = partial(_unskew, start=run.start, num_steps=num_steps)
        after, u, noise = jax.tree.map(unskew, tuple(skewed))
        traces.append(jax.vmap(partial(_trace, run, steps))(one, u, state, noise, after))
    return finals, y, traces


def _draw(
    run: Run,
    params: LayerParams,
    key: Array,
    index: Array,
    *,
    num_layers: int,
    shape: tuple[int, ...],
) -> tuple[LayerParams, Noise, Array | None]:
    """Draw what one layer draws before the loop, as `stack.run_layer` does."""
    layer = run.layer
    k_drop, k_cell, _ = split_layer_key(key)
    noise = None
    if layer.cell.is_stochastic:
        cell, noise = draw(layer.cell, params.cell, k_cell, shape)
        params = params._replace(cell=cell)
    is_last = index == num_layers - 1
    return params, noise, layers.drop_mask(layer, k_drop, (*shape, layer.cell.output_size), is_last)


def _step(
    plan: Plan,
    want_trace: bool,
    params: list[RunParams],
    carry: list[RunCarry],
    per_step: tuple[Array, list[RunFlags]],
) -> tuple[list[RunCarry], tuple]:
    """Do one step of every layer, each at its own time."""
    x, flags = per_step
    below, carries, inputs = x, [], []
    for run, one, before, flag in zip(plan.runs, params, carry, flags, strict=True):
        is_last = jnp.arange(run.start, run.start + run.size) == len(plan.cells) - 1
        step = partial(_step_layer, run)
        if run.size == 1:  # a plain product, not a batch of one
            alone = jax.tree.map(lambda leaf: leaf[0], (one, before.state, flag, is_last))
            found = step(alone[0], alone[1], below, alone[2], alone[3])
            state, y, u = jax.tree.map(lambda leaf: leaf[None], found)
        else:
            read = jnp.concatenate([below[None], before.y[:-1]])
            state, y, u = jax.vmap(step)(one, before.state, read, flag, is_last)
        below = before.y[-1]  # of the step before: the next layer is one time behind
        carries.append(RunCarry(state, y))
        inputs.append(u)
    seen = ([one.state for one in carries], inputs) if want_trace else (None, None)
    return carries, (carries[-1].y[-1], *seen)


def _step_layer(
    run: Run, params: RunParams, state: State, x: Array, flags: RunFlags, is_last: Array
) -> tuple[State, Array, Array]:
    """Do one step of one layer; give its state, its output, and what its cell read."""
    layer, own = run.layer, params.layers
    u = layers.normalise_input(layer, own, x)
    after, y = step_cell(layer.cell, own.cell, params.initial, state, u, flags.noise, flags.steps)
    y = y.astype(layer.compute_dtype)
    return after, layers.finish_output(layer, own, x, y, flags.keep, is_last), u


def _trace(
    run: Run, steps: Steps, params: RunParams, u: Array, state: State, noise: Noise, after: State
) -> LayerTrace:
    lane = Lane(run.layer.cell, params.layers.cell, u, state, params.initial, steps, noise, False)
    trace = trace_lane(lane, after)
    assert trace is not None
    return trace


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
