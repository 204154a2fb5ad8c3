"""Ways to run the same layers: same parameters, same numbers, another order of work.

`SCHEDULES` is the one list of them; `choose` gives the one to run by.
"""

import math
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


def choose(function: str, plan: Plan, name: Any, shape: tuple[Any, ...], rules: Rules) -> Schedule:
    """Give a schedule that can run the network, or raise ValueError.

    Args:
      function: the public function's name.
      plan: the network.
      name: what the caller asked for: one of `SCHEDULES`, "auto", or a schedule itself.
      shape: of x, `[T, *B, *image_shape, I]`; dimensions may be symbolic.
      rules: the platform's.
    """
    if isinstance(name, str) and name == "auto":
        width = max(cell.output_size for cell in plan.cells)
        # not measured for images, whose step is no small one
        gains = not plan.image_shape and rules.prefer_wavefront(
            len(plan.layers), math.prod(shape[1:-1]), width, shape[0]
        )
        return WAVEFRONT if gains and WAVEFRONT.refuse(plan) is None else LAYERWISE
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
