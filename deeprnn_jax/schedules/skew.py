"""Rows of time by layer, laid out by diagonal and back: moves of data alone."""

import jax.numpy as jnp

from deeprnn_jax.types import Array


def repeat(flag: Array, times: int) -> Array:
    """Give each of L layers the flags of every step: `[T, ...]` to `[L, T, ...]`."""
    return jnp.broadcast_to(flag, (times, *flag.shape))


def cut_blocks(rows: Array, size: int) -> Array:
    """Cut time into blocks: `[L, T, ...]` to `[L, N, K, ...]`, zeros after the last step."""
    if size == 1:
        return rows
    num = -(-rows.shape[1] // size)
    rest = [(0, 0)] * (rows.ndim - 2)
    rows = jnp.pad(rows, [(0, 0), (0, num * size - rows.shape[1]), *rest])
    return rows.reshape(len(rows), num, size, *rows.shape[2:])


def join_blocks(rows: Array, size: int, num_steps: int) -> Array:
    """Join blocks: `[L, N, K, ...]` to `[L, T, ...]`; `cut_blocks`'s inverse."""
    if size == 1:
        return rows
    return rows.reshape(len(rows), rows.shape[1] * size, *rows.shape[3:])[:, :num_steps]


def skew(rows: Array, *, start: int, num_layers: int) -> Array:
    """Give each layer's row its delay: `[L, T, ...]` to `[S, L, ...]`, S = T + L - 1.

    Args:
      rows: one row a layer of a run.
      start: the index of the run's first layer.
      num_layers: of the network.
    """
    count, num_steps = rows.shape[:2]
    num_diagonals = num_steps + num_layers - 1
    rest = [(0, 0)] * (rows.ndim - 2)
    # Each row is one longer than the diagonals are many, so that laid end to end and cut
    # anew, each begins one later than the row before it.
    rows = jnp.pad(rows, [(0, 0), (start, num_diagonals + 1 - start - num_steps), *rest])
    flat = rows.reshape(count * (num_diagonals + 1), *rows.shape[2:])
    skewed = flat[: count * num_diagonals].reshape(count, num_diagonals, *rows.shape[2:])
    return jnp.moveaxis(skewed, 0, 1)


def unskew(rows: Array, *, start: int, num_steps: int) -> Array:
    """Take the delay back: `[S, L, ...]` to `[L, T, ...]`."""
    layer = jnp.arange(rows.shape[1])[:, None]
    return rows[start + layer + jnp.arange(num_steps)[None], layer]
