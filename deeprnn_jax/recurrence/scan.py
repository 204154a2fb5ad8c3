"""`lax.scan`, trained faster."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.recurrence.primitive import swap_scans

_scan = lax.scan  # as it is now: whoever replaces `jax.lax.scan` gets to this module by it


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    *,
    checkpoint_every: int | None = None,
) -> tuple[Any, Any]:
    """Scan a function over leading axes, carrying state: `jax.lax.scan`'s call and results."""
    if jax.config.jax_disable_jit:
        return _scan(f, init, xs, length, reverse, unroll)

    def plain(init: Any, xs: Any) -> tuple[Any, Any]:
        return _scan(f, init, xs, length, reverse, unroll)

    if checkpoint_every is not None:
        return _scan_in_chunks(f, init, xs, length, reverse, unroll, checkpoint_every)
    closed, shapes = jax.make_jaxpr(plain, return_shape=True)(init, xs)
    found = swap_scans(closed, jax.tree.leaves((init, xs)))
    return jax.tree.unflatten(jax.tree.structure(shapes), found)


def _scan_in_chunks(f, init, xs, length, reverse, unroll, every):
    """Keep the carry every so many steps, and compute what is between again."""
    length = length if length is not None else jax.tree.leaves(xs)[0].shape[0]
    num, rest = divmod(length, every)
    if num == 0 or (num == 1 and rest == 0):
        return scan(f, init, xs, length, reverse, unroll)
    begin = rest if reverse else 0
    end = begin + num * every
    whole = jax.tree.map(
        lambda leaf: leaf[begin:end].reshape(num, every, *leaf.shape[1:]), xs
    )
    left_over = jax.tree.map(lambda leaf: leaf[:begin] if reverse else leaf[end:], xs)

    def chunk(carry, xs):
        return scan(f, carry, xs, every, reverse, unroll)

    # no barrier against XLA merging the two computations: the loop between them is one
    again = jax.checkpoint(chunk, prevent_cse=False)
    carry, ys = scan(again, init, whole, num, reverse)
    ys = jax.tree.map(lambda leaf: leaf.reshape(num * every, *leaf.shape[2:]), ys)
    if rest:
        carry, last = jax.checkpoint(
            lambda c, x: scan(f, c, x, rest, reverse, unroll), prevent_cse=False
        )(carry, left_over)
        parts = (last, ys) if reverse else (ys, last)
        ys = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return carry, ys
