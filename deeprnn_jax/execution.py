"""Running a plan: parameters, states and outputs of all its layers and the readout."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers, layers, network, stacking
from deeprnn_jax.cells.products import add_bias, dot
from deeprnn_jax.layers import LayerParams
from deeprnn_jax.modifiers.precision import cast_floating
from deeprnn_jax.schedules import layerwise, reference, rules, single, wavefront
from deeprnn_jax.schedules.run import RunLanesFn
from deeprnn_jax.schedules.stack import LayerTrace, run_stack
from deeprnn_jax.sequences import Steps, zero_where_masked
from deeprnn_jax.types import Array, State

RUN_LANES: dict[str, RunLanesFn] = {
    "reference": reference.run_lanes,
    "layerwise": layerwise.run_lanes,
    "single": single.run_lanes,  # for a sequence of one step, whatever was asked for
}
SCHEDULES = ("layerwise", "reference", "wavefront")


class Readout(NamedTuple):
    """The output layer y_t = W_y h_t^L + b_y."""

    w: Array  # [H, O]
    b: Array  # [O]


class DeepParams(NamedTuple):
    """Parameters of a deep network."""

    layers: tuple[LayerParams, ...]  # one entry a run of equal layers, leaves [L, ...]
    readout: Readout | None


DeepState = tuple[State, ...]  # one entry a run, leaves [L, *B, size] or [L, D, *B, size]


def choose_schedule(plan: network.Plan, schedule: str, shape: tuple[int, ...]) -> str:
    """Give the name of a schedule that can run the network, or raise ValueError.

    Args:
      plan: the network.
      schedule: what the caller asked for.
      shape: of x, `[T, *B, I]`.
    """
    if schedule == "auto":
        width = max(cell.output_size for cell in plan.cells)
        can = wavefront.explain_refusal(plan) is None
        num_rows = math.prod(shape[1:-1])
        gains = rules.prefer_wavefront(len(plan.cells), num_rows, width, shape[0])
        return "wavefront" if can and gains else "layerwise"
    if not isinstance(schedule, str) or schedule not in SCHEDULES:
        names = list(SCHEDULES)
        raise ValueError(f"apply: schedule must be 'auto' or one of {names}, got {schedule!r}")
    reason = wavefront.explain_refusal(plan) if schedule == "wavefront" else None
    if reason is not None:
        raise ValueError(
            f"apply: schedule='wavefront' cannot run this network: {reason}; "
            "use schedule='layerwise'"
        )
    return schedule


def init_params(plan: network.Plan, key: Array, input_size: int) -> DeepParams:
    """Draw all parameters, equal layers by vmap over their keys."""
    k_layers, k_readout = jax.random.split(key)
    sizes = network.input_sizes(plan, input_size)
    stacks = []
    for run in plan.runs:
        keys = _layer_keys(k_layers, run)
        size = sizes[run.start]
        draw = partial(layers.init_layer, run.layer, input_size=size)
        stacks.append(jax.vmap(draw)(keys))
    readout = None
    if plan.output_size is not None:
        w = initializers.glorot_uniform()(k_readout, (plan.width, plan.output_size))
        readout = Readout(w, jnp.zeros(plan.output_size))
    return cast_floating(DeepParams(tuple(stacks), readout), plan.precision.param)


def initial_state(
    plan: network.Plan, params: DeepParams, batch_shape: tuple[int, ...]
) -> DeepState:
    """Give the state before the first step of every layer."""
    states = []
    for run, run_params in zip(plan.runs, params.layers, strict=True):
        one = partial(run.layer.cell.initial_state, batch_shape=batch_shape)
        axes = 1 if plan.merge is None else 2  # layers, and directions
        for _ in range(axes):
            one = jax.vmap(one)
        states.append(one(run_params.cell))
    return tuple(states)


def run_plan(
    plan: network.Plan,
    params: DeepParams,
    x: Array,
    state: DeepState | None,
    steps: Steps,
    key: Array | None,
    *,
    schedule: str,
    want_trace: bool,
    checkpoint_every: int | None = None,
) -> tuple[DeepState, Array, list[LayerTrace] | None]:
    """Run all layers and the readout."""
    # A loop sums a weight's gradient in the weight's dtype: bfloat16 would stop growing.
    # The products still take their operands in `compute_dtype`.
    params = cast_floating(params, plan.precision.accumulate)
    start = initial_state(plan, params, x.shape[1:-1]) if state is None else state
    states: DeepState = cast_floating(start, plan.precision.state)
    x = zero_where_masked(x.astype(plan.precision.compute), steps.mask)

    keys = [None if key is None else _layer_keys(key, run) for run in plan.runs]
    if schedule == "wavefront" and x.shape[0] > 1:
        finals, y, traces = wavefront.run_network(
            plan,
            params.layers,
            x,
            states,
            steps,
            keys,
            want_trace=want_trace,
            checkpoint_every=checkpoint_every,
        )
    else:
        unroll = 0 if schedule == "reference" else rules.UNROLLED_LAYERS
        if x.shape[0] == 1:
            schedule, unroll = "single", rules.UNROLLED_LAYERS_OF_A_STEP
        finals, y, traces = _run_layers(
            RUN_LANES[schedule],
            plan,
            params,
            x,
            states,
            steps,
            keys,
            want_trace=want_trace,
            checkpoint_every=checkpoint_every,
            unroll=unroll,
        )
    if params.readout is not None:
        w = params.readout.w.astype(plan.precision.compute)
        y = dot(y, w)
        y = add_bias(y, params.readout.b.astype(y.dtype))
    y = zero_where_masked(y, steps.mask)
    return tuple(finals), y, None if traces is None else stacking.unstack(traces)


def _run_layers(
    run_lanes: RunLanesFn,
    plan: network.Plan,
    params: DeepParams,
    x: Array,
    states: DeepState,
    steps: Steps,
    keys: Sequence[Array | None],
    *,
    want_trace: bool,
    checkpoint_every: int | None,
    unroll: int,
) -> tuple[list[State], Array, list[LayerTrace | None] | None]:
    """Run one layer after the other."""
    runs = zip(plan.runs, params.layers, states, keys, strict=True)
    below = [x]  # what a dense layer reads
    y, finals, traces = x, [], []
    for run, run_params, run_state, key in runs:
        final, y, trace = run_stack(
            run_lanes,
            run.layer,
            run_params,
            jnp.concatenate(below, axis=-1) if plan.skip == "dense" else y,
            run_state,
            steps,
            key,
            jnp.arange(run.start, run.start + run.size) == len(plan.cells) - 1,
            want_trace=want_trace,
            checkpoint_every=checkpoint_every,
            unroll=unroll,
        )
        below.append(y)
        finals.append(final)
        traces.append(trace)
    return finals, y, traces if want_trace else None


def _layer_keys(key: Array, run: network.Run) -> Array:
    """Give each layer its own key, the same however layers are grouped."""
    indices = jnp.arange(run.start, run.start + run.size)
    return jax.vmap(partial(jax.random.fold_in, key))(indices)
