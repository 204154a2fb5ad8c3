"""Keeping little of a long scan: its carry every k steps, and the rest computed again.

Between forward and backward pass the inputs, the outputs and T/k carries are kept, and
what one chunk of k steps needs is there for one chunk at a time: with k = √T both grow
as √T. The numbers are those of the whole scan.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

# (f, init, xs, length, reverse, unroll) -> (carry, ys), as `lax.scan`
ScanFn = Callable[[Any, Any, Any, int, bool, Any], tuple[Any, Any]]


def scan_in_chunks(
    scan: ScanFn,
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int,
    reverse: bool,
    unroll: int | bool,
    every: int | None,
    over: ScanFn | None = None,
) -> tuple[Any, Any]:
    """Scan chunk by chunk, in a scan over chunks.

    Args:
      scan: what scans the steps of a chunk, and the chunks.
      f: the step, `(carry, x_t) -> (carry, y_t)`.
      init: the carry before the first step.
      xs: a tree of arrays `[T, ...]`.
      length: T.
      reverse: whether to go from the last step to the first.
      unroll: as in `lax.scan`.
      every: k; None, or T or more, for the whole at once.
      over: what scans the chunks, if not `scan`.

    Returns:
      The last carry, and the stacked outputs `[T, ...]` in the order of time.
    """
    if every is None or every >= length:
        return scan(f, init, xs, length, reverse, unroll)
    num, rest = divmod(length, every)
    # the chunk that is shorter comes last in the order of the scan
    begin = rest if reverse else 0
    end = begin + num * every
    whole = jax.tree.map(lambda leaf: leaf[begin:end].reshape(num, every, *leaf.shape[1:]), xs)

    def chunk(size: int, carry: Any, xs: Any) -> tuple[Any, Any]:
        return scan(f, carry, xs, size, reverse, unroll)

    # no barrier against XLA merging the two computations: the loop between them is one
    again = jax.checkpoint(partial(chunk, every), prevent_cse=False)
    carry, ys = (over or scan)(again, init, whole, num, reverse, 1)
    ys = jax.tree.map(lambda leaf: leaf.reshape(num * every, *leaf.shape[2:]), ys)
    if not rest:
        return carry, ys

    left_over = jax.tree.map(lambda leaf: leaf[:begin] if reverse else leaf[end:], xs)
    carry, last = jax.checkpoint(partial(chunk, rest))(carry, left_over)
    parts = (last, ys) if reverse else (ys, last)
    return carry, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
