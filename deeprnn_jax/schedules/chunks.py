"""Keeping little of a long scan: its carry every k steps, and the rest computed again.

Between forward and backward pass the inputs, the outputs and T/k carries are kept, and
what one chunk of k steps needs is there for one chunk at a time: with k = √T both grow
as √T. The numbers are those of the whole scan.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.schedules.loop import put_batch_first, run_loop
from deeprnn_jax.schedules.operations import first_floating

RunFn = Callable[[Any, Any], tuple[Any, Any]]  # (carry, xs) -> (carry, ys), as a scan
RecurFn = Callable[[Any, Any, Any, Any], tuple[Any, Any]]  # (params, carry, xs, flags) -> same


class Chunks(NamedTuple):
    """How T steps are cut: `num` chunks of `size` steps, and `rest` steps left over.

    The chunk that is shorter comes last in the order of the scan.
    """

    num: int
    size: int
    rest: int
    reverse: bool

    def cut(self, tree: Any) -> tuple[Any, Any]:
        """Give arrays `[T, ...]` as `[num, size, ...]` and `[rest, ...]`."""
        begin = self.rest if self.reverse else 0
        end = begin + self.num * self.size
        left_over = slice(None, begin) if self.reverse else slice(end, None)

        def whole(leaf: Any) -> Any:
            return leaf[begin:end].reshape(self.num, self.size, *leaf.shape[1:])

        return jax.tree.map(whole, tree), jax.tree.map(lambda leaf: leaf[left_over], tree)

    def join(self, whole: Any, rest: Any) -> Any:
        """Do the reverse."""
        whole = jax.tree.map(
            lambda leaf: leaf.reshape(self.num * self.size, *leaf.shape[2:]), whole
        )
        if not self.rest:
            return whole
        parts = (rest, whole) if self.reverse else (whole, rest)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def choose_chunks(tree: Any, every: int, *, reverse: bool) -> Chunks:
    """Give how arrays `[T, ...]` are cut every so many steps, of which there are T at least."""
    num, rest = divmod(jax.tree.leaves(tree)[0].shape[0], every)
    return Chunks(num, every, rest, reverse)


def run_in_chunks(
    run: RunFn, carry: Any, xs: Any, every: int | None, *, reverse: bool
) -> tuple[Any, Any]:
    """Run a scan chunk by chunk, with any derivative.

    Args:
      run: does the scan over any number of steps, `(carry, xs) -> (carry, ys)`.
      carry: before the first step.
      xs: a tree of arrays `[T, ...]`.
      every: k, or None for the whole at once.
      reverse: whether `run` goes from the last step to the first.

    Returns:
      The last carry, and the stacked outputs `[T, ...]` in the order of time.
    """
    if every is None or every >= jax.tree.leaves(xs)[0].shape[0]:
        return run(carry, xs)
    chunks = choose_chunks(xs, every, reverse=reverse)
    whole, rest = chunks.cut(xs)
    # no barrier against XLA merging the two computations: the loop between them is one
    again = jax.checkpoint(run, prevent_cse=False)
    carry, ys = lax.scan(again, carry, whole, reverse=reverse)
    last = None
    if chunks.rest:
        carry, last = jax.checkpoint(run)(carry, rest)
    return carry, chunks.join(ys, last)


class _Residuals(NamedTuple):
    params: Any
    xs: Any
    flags: Any
    carries: Any  # before each chunk, [num, ...]
    last: Any  # before the steps left over


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def recur_in_chunks(
    recur: RecurFn, every: int, reverse: bool, params: Any, carry: Any, xs: Any, flags: Any
) -> tuple[Any, Any]:
    """Run a recurrence; its gradients go chunk by chunk.

    What the loop over chunks is for: the cotangents of the inputs take the place of
    those of the outputs, where they are as large, as those of one layer of many are.

    Args:
      recur: `(params, carry, xs, flags) -> (carry, ys)`, over any number of steps.
      every: k, less than T.
      reverse: whether `recur` goes from the last step to the first.
      params: a tree of floating arrays.
      carry: a tree of floating arrays.
      xs: a tree of floating arrays `[T, ...]`.
      flags: a tree of arrays `[T, ...]` that have no gradient.
    """
    del every, reverse
    return recur(params, carry, xs, flags)


def _forward(
    recur: RecurFn, every: int, reverse: bool, params: Any, carry: Any, xs: Any, flags: Any
) -> tuple[tuple[Any, Any], _Residuals]:
    chunks = choose_chunks(xs, every, reverse=reverse)
    whole, rest = chunks.cut((xs, flags))

    def body(params: Any, carry: Any, inputs: tuple) -> tuple[Any, tuple]:
        after, ys = recur(params, carry, *inputs)
        return after, (ys, carry)

    last, (ys, carries) = run_loop(
        body,
        params,
        carry,
        whole,
        num_steps=chunks.num,
        since=first_floating((xs, carry)),
        reverse=reverse,
    )
    after, left_over = recur(params, last, *rest) if chunks.rest else (last, None)
    found = put_batch_first((after, chunks.join(ys, left_over)), (params, carry, xs, flags))
    return found, _Residuals(params, xs, flags, carries, last)


def _backward(
    recur: RecurFn, every: int, reverse: bool, residuals: _Residuals, cotangents: tuple
) -> tuple[Any, ...]:
    params, xs, flags, carries, last = residuals
    d_carry, d_ys = cotangents
    chunks = choose_chunks(xs, every, reverse=reverse)
    (xs, flags, d_ys), rest = chunks.cut((xs, flags, d_ys))

    def pull(params: Any, carry: Any, inputs: tuple, d_carry: Any) -> tuple[Any, Any, Any]:
        xs, flags, d_ys = inputs
        _, pull_back = jax.vjp(lambda p, c, x: recur(p, c, x, flags), params, carry, xs)
        return pull_back((d_carry, d_ys))

    d_params, d_left_over = jax.tree.map(jnp.zeros_like, params), None
    if chunks.rest:
        d_params, d_carry, d_left_over = pull(params, last, rest, d_carry)

    def body(params: Any, sums: tuple, per_chunk: tuple) -> tuple[tuple, Any]:
        d_params, d_carry = sums
        inputs, carry = per_chunk
        more, d_carry, d_xs = pull(params, carry, inputs, d_carry)
        return (jax.tree.map(jnp.add, d_params, more), d_carry), d_xs

    per_chunk = ((xs, flags, d_ys), carries)
    spent = ((_all(False, xs), _all(False, flags), _all(True, d_ys)), _all(False, carries))
    (d_params, d_carry), d_xs = run_loop(
        body,
        params,
        (d_params, d_carry),
        per_chunk,
        num_steps=chunks.num,
        since=first_floating((d_ys, d_carry)),
        reverse=not reverse,
        spent=spent,
    )
    return d_params, d_carry, chunks.join(d_xs, d_left_over), None


recur_in_chunks.defvjp(_forward, _backward)


def _all(flag: bool, tree: Any) -> Any:
    return jax.tree.map(lambda _: flag, tree)
