"""A scan for XLA on CPU: reads ahead, and stacks that are made when they are needed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.schedules.rules import reads_ahead
from deeprnn_jax.types import Array

BodyFn = Callable[[Any, Any, Any], tuple[Any, Any]]


def run_loop(
    body: BodyFn,
    operands: Any,
    init: Any,
    xs: Any,
    *,
    num_steps: int,
    since: Array,
    reverse: bool,
    ahead: bool = False,
) -> tuple[Any, Any]:
    """Do what `lax.scan` does, with less traffic through memory.

    `lax.scan` stacks its outputs in zeros, which XLA on CPU makes at the start of the whole
    program: the backward loop's stacks are there while the forward loops run, and no memory
    is used twice. Here the stacks come of a value, `since`, and so not before it is known.

    Derivatives of this are those of `lax.scan`, both forward and reverse mode.

    Args:
      body: `(operands, carry, x_t) -> (carry, y_t)`, y_t of floating arrays.
      operands: what is the same at every step.
      init: the carry before the first step.
      xs: a tree of arrays `[T, ...]`; it may be empty.
      num_steps: T, 1 or more.
      since: a floating array that is there just before the loop, not long before.
      reverse: whether to go from the last step to the first.
      ahead: whether to read each step's slices one step ahead, where that is worth it.
        XLA on CPU fuses the read of a slice into what uses it, which for the gates of a
        forward pass is several times slower; carried through the loop, it is a plain buffer.

    Returns:
      The last carry, and the stacked outputs `[T, ...]` in the order of time.
    """
    ahead = ahead and reads_ahead(xs)
    run = jax.custom_jvp(partial(_run_loop, body, num_steps, reverse, ahead))

    def derive(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
        found = jax.jvp(partial(_scan, body, num_steps, reverse), primals, tangents)
        return put_batch_first(found[0], primals), put_batch_first(found[1], primals)

    run.defjvp(derive)
    return run(operands, init, xs, since)


def _scan(
    body: BodyFn,
    num_steps: int,
    reverse: bool,
    operands: Any,
    init: Any,
    xs: Any,
    since: Array,
) -> tuple[Any, Any]:
    del since
    return lax.scan(partial(body, operands), init, xs, length=num_steps, reverse=reverse)


def _run_loop(
    body: BodyFn,
    num_steps: int,
    reverse: bool,
    ahead: bool,
    operands: Any,
    init: Any,
    xs: Any,
    since: Array,
) -> tuple[Any, Any]:
    def read(index: Any) -> Any:
        return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, index, keepdims=False), xs)

    def step(count: Any, carry: tuple) -> tuple:
        inner, held, stacks = carry
        index = num_steps - 1 - count if reverse else count
        inner, y_t = body(operands, inner, held if ahead else read(index))
        stacks = jax.tree.map(
            lambda stack, y: lax.dynamic_update_index_in_dim(stack, y, index, 0), stacks, y_t
        )
        if ahead:
            held = read(jnp.clip(index + (-1 if reverse else 1), 0, num_steps - 1))
        return inner, held, stacks

    first = jax.tree.map(lambda leaf: leaf[-1 if reverse else 0], xs)
    shapes = jax.eval_shape(partial(body, operands), init, first)[1]
    leaves, structure = jax.tree.flatten(shapes)
    # Each from another element: of one, XLA would make a single stack and copy it.
    elements = since.ravel()
    stacks = [
        jnp.broadcast_to(
            (elements[place % elements.size] * 0).astype(leaf.dtype), (num_steps, *leaf.shape)
        )
        for place, leaf in enumerate(leaves)
    ]
    carry = (init, first if ahead else None, jax.tree.unflatten(structure, stacks))
    final, _, ys = lax.fori_loop(0, num_steps, step, carry)
    return put_batch_first((final, ys), (operands, init, xs, since))


def put_batch_first(tree: Any, given: Any) -> Any:
    """Give the arrays with an axis that `jax.vmap` adds, and in front.

    A function with a derivative of its own must, under vmap, have its new axes where the
    function has them that gives the derivative: JAX takes the one's outputs for the
    other's. Where a scan or a loop leaves them, and whether an output that does not need
    all inputs has them, depends on how it is written.

    Args:
      tree: the function's outputs.
      given: all its inputs; if one has the axis, all outputs get it.
    """
    token = sum(jnp.sum(lax.stop_gradient(leaf)).astype(float) for leaf in jax.tree.leaves(given))

    def settle(leaf: Array) -> Array:
        # the rule of reshape puts a new axis first; of a reshape to the same shape is none
        leaf = lax.squeeze(lax.reshape(leaf, (1, *leaf.shape)), (0,))
        # never the token, and XLA sees it; but the output has its axes
        return jnp.where(jnp.zeros((), bool), jnp.asarray(token).astype(leaf.dtype), leaf)

    return jax.tree.map(settle, tree)
