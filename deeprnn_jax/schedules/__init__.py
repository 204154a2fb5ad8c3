"""Ways to run the same layers: same parameters, same numbers, another order of work.

`SCHEDULES` is the one list of them; `choose` gives the one to run by.
"""

import math
from typing import Any

from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.schedules.layerwise import LAYERWISE
from deeprnn_jax.schedules.reference import REFERENCE
from deeprnn_jax.schedules.rules import Rules
from deeprnn_jax.schedules.schedule import Schedule
from deeprnn_jax.schedules.wavefront import WAVEFRONT

SCHEDULES: dict[str, Schedule] = {
    schedule.name: schedule for schedule in (REFERENCE, LAYERWISE, WAVEFRONT)
}


def choose(function: str, plan: Plan, name: Any, shape: tuple[Any, ...], rules: Rules) -> Schedule:
    """Give a schedule that can run the network, or raise ValueError.

    Args:
      function: the public function's name.
      plan: the network.
      name: what the caller asked for: one of `SCHEDULES`, or "auto".
      shape: of x, `[T, *B, I]`; dimensions may be symbolic.
      rules: the platform's.
    """
    if isinstance(name, str) and name == "auto":
        width = max(cell.output_size for cell in plan.cells)
        gains = rules.prefer_wavefront(len(plan.layers), math.prod(shape[1:-1]), width, shape[0])
        return WAVEFRONT if gains and WAVEFRONT.refuse(plan) is None else LAYERWISE
    if not isinstance(name, str) or name not in SCHEDULES:
        raise ValueError(
            f"{function}: schedule must be 'auto' or one of {list(SCHEDULES)}, got {name!r}"
        )
    reason = SCHEDULES[name].refuse(plan)
    if reason is not None:
        raise ValueError(f"{function}: schedule={name!r} cannot run this network: {reason}")
    return SCHEDULES[name]
