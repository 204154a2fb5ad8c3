"""Keeping little of a long scan: its carry every k steps, and the rest computed again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

RunFn = Callable[[Any, Any], tuple[Any, Any]]  # (carry, xs) -> (carry, ys), as a scan


def run_in_chunks(
    run: RunFn, carry: Any, xs: Any, every: int | None, *, reverse: bool
) -> tuple[Any, Any]:
    """Run a scan chunk by chunk, with each chunk's activations computed again for gradients.

    Between forward and backward pass the inputs, the outputs and T/k carries are kept, and
    what one chunk of k steps needs is there for one chunk at a time: with k = √T both grow
    as √T. The numbers are those of the whole scan.

    Args:
      run: does the scan over any number of steps, `(carry, xs) -> (carry, ys)`.
      carry: before the first step.
      xs: a tree of arrays `[T, ...]`.
      every: k, or None for the whole at once.
      reverse: whether `run` goes from the last step to the first.
    """
    num_steps = jax.tree.leaves(xs)[0].shape[0]
    if every is None or every >= num_steps:
        return run(carry, xs)
    count, rest = divmod(num_steps, every)
    # the chunk that is shorter comes last, in the order of the scan
    begin, end = (rest, num_steps) if reverse else (0, num_steps - rest)

    def cut(leaf: Any) -> Any:
        return leaf[begin:end].reshape(count, every, *leaf.shape[1:])

    def join(leaf: Any) -> Any:
        return leaf.reshape(count * every, *leaf.shape[2:])

    # no barrier against XLA merging the two computations: the loop between them is one
    again = jax.checkpoint(run, prevent_cse=False)
    carry, ys = lax.scan(again, carry, jax.tree.map(cut, xs), reverse=reverse)
    ys = jax.tree.map(join, ys)
    if not rest:
        return carry, ys
    left_over = slice(None, rest) if reverse else slice(end, None)
    carry, last = jax.checkpoint(run)(carry, jax.tree.map(lambda leaf: leaf[left_over], xs))
    parts = (last, ys) if reverse else (ys, last)
    return carry, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
