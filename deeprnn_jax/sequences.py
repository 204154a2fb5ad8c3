"""What ragged, packed and chunked sequences mean, in one place.

- A masked step does nothing at all: the state stays, the output is zero, what x
  holds there is never looked at.
- A reset at step t makes the state the initial one before step t. In the reverse
  direction the same boundary, between t-1 and t, is crossed the other way.
- `lengths` is the mask t < length. The reverse direction goes through the padding
  first, where nothing happens, and so starts at each row's own last step.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.types import Array, State


class Steps(NamedTuple):
    """Flags of every step in the order of time; None where there are none."""

    mask: Array | None  # bool [T, *B], True = real
    resets: Array | None  # bool [T, *B], True = a new sequence starts here

    def reversed(self) -> "Steps":
        """Give the flags that the reverse direction meets, still in time's order."""
        if self.resets is None:
            return self
        # Going from a step down to the real step below it crosses that step's reset,
        # which lies further ahead where masked steps are between the two.
        ahead, last = self.resets, jnp.zeros_like(self.resets[:1])
        if self.mask is not None:
            ahead = _resets_ahead(self.mask, self.resets)
        resets = jnp.concatenate([ahead[1:], last])
        return self._replace(resets=resets if self.mask is None else resets & self.mask)


def _resets_ahead(mask: Array, resets: Array) -> Array:
    """Tell whether the first real step from each step on, itself included, is a reset."""
    time = jnp.arange(mask.shape[0]).reshape(-1, *(1,) * (mask.ndim - 1))
    # odd where there is a reset; past the last real step, even
    code = jnp.where(mask, 2 * time + resets.astype(time.dtype), 2 * mask.shape[0])
    return lax.cummin(code, reverse=True) % 2 == 1


def make_steps(
    lengths: Array | None, mask: Array | None, resets: Array | None, num_steps: int
) -> Steps:
    """Join lengths, mask and resets into the flags of every step.

    Args:
      lengths: int `[*B]`, or None.
      mask: bool `[T, *B]`, or None; with lengths, a step is real if both say so.
      resets: bool `[T, *B]`, or None; a reset at a masked step does nothing.
      num_steps: T.

    Returns:
      The flags; `resets` only where the step is real.
    """
    if lengths is not None:
        # not in the lengths' own dtype, in which T may not fit: uint8, say
        time = jnp.arange(num_steps).reshape(num_steps, *(1,) * lengths.ndim)
        inside = time < lengths[None].astype(time.dtype)
        mask = inside if mask is None else mask & inside
    if resets is not None and mask is not None:
        resets = resets & mask
    return Steps(mask, resets)


def where_flag(flag: Array, yes: Any, no: Any) -> Any:
    """Select between two trees by a flag over their leading axes."""

    def select(a: Array, b: Array) -> Array:
        ndim = max(a.ndim, b.ndim)
        a, b = (lax.broadcast_to_rank(leaf, ndim) for leaf in (a, b))
        return jnp.where(flag.reshape(flag.shape + (1,) * (ndim - flag.ndim)), a, b)

    return jax.tree.map(select, yes, no)


def zero_where_masked(x: Array, mask: Array | None) -> Array:
    """Give x with zeros at masked steps, even where it was NaN."""
    return x if mask is None else where_flag(mask, x, jnp.zeros_like(x))


def enter_step(initial: State, state: State, reset: Array | None) -> State:
    """Give the state that a step begins with."""
    return state if reset is None else where_flag(reset, initial, state)


def leave_step(mask: Array | None, before: State, after: State, y: Array) -> tuple[State, Array]:
    """Give the state that a step ends with, and its output."""
    if mask is None:
        return after, y
    return where_flag(mask, after, before), zero_where_masked(y, mask)
