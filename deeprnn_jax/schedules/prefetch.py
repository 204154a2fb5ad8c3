"""A scan whose step finds its slices already read."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Below so many bytes a step XLA compiles the whole loop as one kernel, and there is
# nothing to gain. LSTM forward pass, ms, prefetched / not, 2 cores, jax 0.10.2:
# (B, T, H) = (1, 1024, 32), 512 bytes: 0.88 / 0.79; (4, 512, 64), 4 KiB: 2.16 / 3.24.
SMALL_SLICES = 1024


def scan_prefetched(
    body: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any, *, reverse: bool
) -> tuple[Any, Any]:
    """Do what `lax.scan` does, with each step's slices of xs read one step ahead.

    XLA on CPU fuses the read of a slice into the gates that use it, and that kernel is
    several times slower than the gates alone. Carried through the loop, the slice is a
    plain buffer. Forward pass of an LSTM against the reference schedule's, 2 cores,
    jax 0.10.2: 1.33 before, 1.14 with it at (L, B, T, H) = (2, 64, 64, 384); 1.91 and
    1.21 at (2, 32, 128, 256).

    Args:
      body: `(carry, x_t) -> (carry, y_t)`.
      init: the carry before the first step.
      xs: a tree of arrays `[T, ...]` with T of 1 or more.
      reverse: whether to go from the last step to the first.

    Returns:
      The last carry, and the stacked outputs `[T, ...]` in the order of time.
    """
    leaves = jax.tree.leaves(xs)
    num_steps = leaves[0].shape[0]
    if sum(leaf.nbytes for leaf in leaves) // num_steps <= SMALL_SLICES:
        return lax.scan(body, init, xs, reverse=reverse)
    ahead = -1 if reverse else 1

    def read(index: Any) -> Any:
        return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, index, keepdims=False), xs)

    def step(carry: tuple[Any, Any], index: Any) -> tuple[tuple[Any, Any], Any]:
        inner, x_t = carry
        inner, y_t = body(inner, x_t)
        return (inner, read(jnp.clip(index + ahead, 0, num_steps - 1))), y_t

    first = read(num_steps - 1 if reverse else 0)
    (final, _), ys = lax.scan(step, (init, first), jnp.arange(num_steps), reverse=reverse)
    return final, ys
