"""Running a plan: all its layers by a schedule, and the readout."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax import lax

from deeprnn_jax.arguments import check_state, steps_shape
from deeprnn_jax.cells.units import add_bias
from deeprnn_jax.internals import Tracer
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.meshes import explicit_mesh, vary_as, with_automatic_axes
from deeprnn_jax.parameters import DeepParams, DeepState, initial_state
from deeprnn_jax.precision import cast_floating, multiply, multiplying, with_precision
from deeprnn_jax.schedules.schedule import Options, Ran, Schedule
from deeprnn_jax.sequences import Steps, zero_where_masked
from deeprnn_jax.types import Array

_ZERO = np.float32(0)


def run(
    plan: Plan,
    params: DeepParams,
    x: Array,
    state: DeepState | None,
    steps: Steps,
    key: Array | None,
    *,
    function: str,
    schedule: Schedule,
    options: Options,
) -> Ran:
    """Run all layers and the readout.

    Args:
      plan: the network.
      params: its parameters.
      x: the input `[T, *B, *image_shape, I]`.
      state: before the first step, or None.
      steps: the flags of every step.
      key: a random key, or None outside training.
      function: the public function's name.
      schedule: which runs the layers.
      options: how.
    """
    arrays = params, x, state, steps, key
    if explicit_mesh(arrays) is not None:
        again = partial(run, plan, function=function, schedule=schedule, options=options)
        return with_automatic_axes(again, *arrays, image_shape=plan.image_shape)
    # A loop sums a weight's gradient in the weight's dtype: bfloat16 would stop growing.
    # The products still take their operands in `compute_dtype`.
    params = cast_floating(params, plan.precision.accumulate)
    start = initial_state(plan, params, steps_shape(x, plan.image_shape)[1:])
    if state is not None:
        check_state(function, state, start)
        start = state
    # Said to vary before the loops, so that weights' gradients are summed over devices after them.
    params, x, start, steps = vary_as((params, x, start, steps), arrays)
    x = zero_where_masked(x.astype(plan.precision.compute), steps.mask)
    with multiplying(plan.precision.products):
        ran = schedule.run(_precise(plan), params.layers, x, start, steps, key, options)
        y = ran.y
        if params.readout is not None:
            y = multiply(y, params.readout.w, plan.precision.compute)
            y = add_bias(y, params.readout.b.astype(y.dtype))
    return ran._replace(y=zero_where_masked(y, steps.mask))


def _precise(plan: Plan) -> Plan:
    """Give the plan with cells of the network's dtypes, equal ones still equal."""
    found: dict[Any, Any] = {}
    for cell in plan.cells:
        found.setdefault(cell, with_precision(cell, plan.precision))
    return plan.with_cells([found[cell] for cell in plan.cells])


# One for all networks: those made alike share what is compiled.
compiled_run = jax.jit(run, static_argnums=0, static_argnames=("function", "schedule", "options"))


def is_staged() -> bool:
    """Tell whether somebody is tracing a program, as `jit` does: in it there is no second jit.

    JAX then makes even what is done to a constant a part of the program. `grad` and `vmap` alone
    do not: what they call is compiled, and found again at the next call.
    """
    return isinstance(lax.stop_gradient(_ZERO), Tracer)  # of all that can be done, the soonest
