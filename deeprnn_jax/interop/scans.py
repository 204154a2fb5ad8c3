"""Another library's loop over time, run as this library's recurrence."""

from collections.abc import Callable
from typing import Any

import jax

from deeprnn_jax.recurrence.primitive import swap_scans


def with_recurrences(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run what a function does by `jax.lax.scan` as `deeprnn_jax.recurrence.scan` does.

    Args:
      function: of arrays; it may change nothing outside itself.

    Returns:
      The function, with the same results.
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        config: Any = jax.config
        if config.jax_disable_jit:
            return function(*args, **kwargs)
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args, **kwargs)
        found = swap_scans(closed, jax.tree.leaves((args, kwargs)))
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return run
