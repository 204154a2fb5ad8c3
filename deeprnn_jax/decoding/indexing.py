"""Reading and writing along the last axis, row by row, for any batch axes, symbolic ones too."""

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.types import Array


def places_in(shape: tuple[int, ...]) -> Array:
    """Give each entry's place along the last axis, int32 in this shape: 0, 1, 2 ..."""
    return lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)


def pick(values: Array, places: Array) -> Array:
    """Give `values[*B, places[*B, n]]`."""
    return jnp.take_along_axis(values, places, axis=-1)


def put(values: Array, places: Array, new: Array) -> Array:
    """Give `values` `[*B, N]` with `new[*B, m]` at `places[*B, m]`, dropped where past the end.

    `jnp.put_along_axis`, but that one is not exported where a batch axis is symbolic
    (jax 0.10.2: it makes the indices of the batch axes with NumPy).
    """

    def put_in_row(values: Array, places: Array, new: Array) -> Array:
        return values.at[places].set(new, mode="drop")

    for _ in range(values.ndim - 1):
        put_in_row = jax.vmap(put_in_row)
    return put_in_row(values, places, new)
