"""Ways to run the same layers: same parameters, same numbers, another order of work.

`SCHEDULES` is the one list of them; `choose` gives the one to run by.
"""

import math
from collections.abc import Callable
from typing import Any

from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.schedules.layerwise import LAYERWISE
from deeprnn_jax.schedules.parallel import PARALLEL, parallel
from deeprnn_jax.schedules.reference import REFERENCE
from deeprnn_jax.schedules.rules import Rules
from deeprnn_jax.schedules.schedule import Schedule
from deeprnn_jax.schedules.wavefront import PIPELINE, WAVEFRONT, pipeline

__all__ = ["SCHEDULES", "Schedule", "choose", "parallel", "pipeline"]

SCHEDULES: dict[str, Schedule] = {
    schedule.name: schedule for schedule in (REFERENCE, LAYERWISE, WAVEFRONT, PIPELINE, PARALLEL)
}


def choose(
    function: str,
    plan: Plan,
    name: Any,
    shape: tuple[Any, ...],
    rules: Rules,
    largest_field: Callable[[], int],
) -> Schedule:
    """Give a schedule that can run the network, or raise ValueError.

    Args:
      function: the public function's name.
      plan: the network.
      name: what the caller asked for: one of `SCHEDULES`, "auto", or a schedule itself.
      shape: of x, `[T, *B, *image_shape, I]`; dimensions may be symbolic.
      rules: the platform's.
      largest_field: gives how many numbers the largest array of a state has for a row.
    """
    return named(function, plan, name) or _choose_itself(plan, shape, rules, largest_field)


def named(function: str, plan: Plan, name: Any) -> Schedule | None:
    """Give the schedule that a caller names, None of "auto", or raise ValueError."""
    if isinstance(name, str) and name == "auto":
        return None
    chosen = SCHEDULES.get(name) if isinstance(name, str) else name
    if not isinstance(chosen, Schedule):
        raise ValueError(
            f"{function}: schedule must be 'auto', one of {list(SCHEDULES)}, or of "
            f"schedules.pipeline or schedules.parallel, got {name!r}"
        )
    reason = chosen.refuse(plan)
    if reason is not None:
        raise ValueError(f"{function}: schedule={chosen.name!r} cannot run this network: {reason}")
    return chosen


def _choose_itself(
    plan: Plan, shape: tuple[Any, ...], rules: Rules, largest_field: Callable[[], int]
) -> Schedule:
    """Give the schedule that is the soonest, as far as that was measured: "auto"."""
    if plan.image_shape:  # not measured for images, whose step is no small one
        return LAYERWISE
    length, rows = shape[0], math.prod(shape[1:-1])
    if not isinstance(length, int) or not isinstance(rows, int):  # symbolic
        return LAYERWISE
    width = max(cell.output_size for cell in plan.cells)
    if rules.prefer_wavefront(len(plan.layers), rows, width, length):
        return WAVEFRONT if WAVEFRONT.refuse(plan) is None else LAYERWISE
    # A state that is rounded between steps is another recurrence, which only a loop runs.
    is_wide = plan.precision.state == plan.precision.accumulate
    is_affine = all(cell.state_map == "affine" for cell in plan.cells)
    if not is_wide or not is_affine or not rules.prefer_parallel(rows, width, length):
        return LAYERWISE
    return PARALLEL if rules.prefer_parallel(rows, largest_field(), length) else LAYERWISE
