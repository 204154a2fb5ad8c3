"""Stop on the first number that is not finite, and say where it arose."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def finite_flags(**trees: Any) -> dict[str, Any]:
    """Tell for every leaf whether all of it is finite; traceable under jit.

    Args:
      **trees: named pytrees of arrays, in the order in which they are computed, for
        example `loss=...`, `gradients=...`, `parameters=...`.

    Returns:
      The same trees with a scalar bool for each leaf. They are small, so that a loop
      can leave them on the device and look at them every few steps.
    """
    return jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), dict(trees))


def check_finite(step: int, flags: Mapping[str, Any], order: tuple[str, ...]) -> None:
    """Raise if a flag of `finite_flags` is False.

    Args:
      step: the step the flags belong to, for the message.
      flags: what `finite_flags` returned.
      order: the names of its trees in the order of computation (jit sorts the keys of
        a dictionary), so that the message names the first cause.

    Raises:
      FloatingPointError: names the step and every leaf of the first bad tree.
    """
    for name in order:
        leaves = jax.tree_util.tree_leaves_with_path(flags[name])
        bad = [name + jax.tree_util.keystr(path) for path, ok in leaves if not np.all(ok)]
        if bad:
            raise FloatingPointError(
                f"check_finite: step {step}: not finite: {', '.join(bad)}; lower the "
                "learning rate or the clipping norm, or look at the data"
            )
