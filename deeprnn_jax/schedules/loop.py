"""A scan that takes little memory: stacks made when they are needed, or over what is read."""

from collections.abc import Callable, Sequence
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
    spent: Any = None,
) -> tuple[Any, Any]:
    """Do what `lax.scan` does, with less traffic through memory.

    `lax.scan` stacks its outputs in zeros, which XLA on CPU makes at the start of the whole
    program: the backward loop's stacks are there while the forward loops run, and no memory
    is used twice. Here the stacks come of a value, `since`, and so not before it is known.
    An output that is as large as an input which is `spent` takes that input's place: step t
    writes where step t has read.

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
      spent: a tree of bools as xs: which of its arrays nobody reads after the loop. Wrong
        here costs a copy, and never a number. None: none.

    Returns:
      The last carry, and the stacked outputs `[T, ...]` in the order of time.
    """
    body = jax.jit(body, inline=True)  # its trace is kept: it is asked for shapes, then run
    given = jax.tree.leaves(xs)
    in_place = reads_ahead(sum(leaf.size * leaf.dtype.itemsize // num_steps for leaf in given))
    is_spent = [in_place and one for one in jax.tree.leaves(spent)] or [False] * len(given)
    shapes = jax.eval_shape(body, operands, init, jax.tree.map(lambda leaf: leaf[0], xs))[1]
    over = _match(given, is_spent, jax.tree.leaves(shapes))
    aheads = tuple((ahead and in_place) or place in over for place in range(len(given)))
    run = jax.custom_jvp(partial(_run_loop, body, num_steps, reverse, shapes, aheads, over))

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


def _match(
    given: Sequence[Array], is_spent: Sequence[bool], outputs: Sequence[Any]
) -> tuple[int | None, ...]:
    """Give for each output the spent array that it takes the place of, or None."""
    free = [place for place, one in enumerate(is_spent) if one]
    over = []
    for output in outputs:
        same = [
            place
            for place in free
            if given[place].shape[1:] == output.shape and given[place].dtype == output.dtype
        ]
        over.append(same[0] if same else None)
        if same:
            free.remove(same[0])
    return tuple(over)


def _run_loop(
    body: BodyFn,
    num_steps: int,
    reverse: bool,
    shapes: Any,
    aheads: tuple[bool, ...],
    over: tuple[int | None, ...],
    operands: Any,
    init: Any,
    xs: Any,
    since: Array,
) -> tuple[Any, Any]:
    given, structure = jax.tree.flatten(xs)

    def read(place: int, index: Any, stacks: list[Array]) -> Array:
        # of the stack that takes its place: XLA copies where one is read and one is written
        leaf = stacks[over.index(place)] if place in over else given[place]
        return lax.dynamic_index_in_dim(leaf, index, keepdims=False)

    def step(count: Any, carry: tuple) -> tuple:
        inner, held, stacks = carry
        index = num_steps - 1 - count if reverse else count
        waiting = iter(held)
        x_t = [
            next(waiting) if ahead else read(place, index, stacks)
            for place, ahead in enumerate(aheads)
        ]
        inner, y_t = body(operands, inner, jax.tree.unflatten(structure, x_t))
        stacks = [
            lax.dynamic_update_index_in_dim(stack, y, index, 0)
            for stack, y in zip(stacks, jax.tree.leaves(y_t), strict=True)
        ]
        coming = jnp.clip(index + (-1 if reverse else 1), 0, num_steps - 1)
        held = [read(place, coming, stacks) for place, ahead in enumerate(aheads) if ahead]
        return inner, held, stacks

    stacks = [
        _zeros(since, number, (num_steps, *leaf.shape), leaf.dtype)
        if place is None
        else given[place]
        for number, (leaf, place) in enumerate(zip(jax.tree.leaves(shapes), over, strict=True))
    ]
    begin = -1 if reverse else 0
    held = [leaf[begin] for leaf, ahead in zip(given, aheads, strict=True) if ahead]
    final, _, stacks = lax.fori_loop(0, num_steps, step, (init, held, stacks))
    ys = jax.tree.unflatten(jax.tree.structure(shapes), stacks)
    return put_batch_first((final, ys), (operands, init, xs, since))


def _zeros(since: Array, number: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """Give zeros that XLA does not make before `since`: the loop's stack of that number."""
    if since.size == 0:
        return jnp.zeros(shape, dtype)
    # Each from another element: of one, XLA would make a single stack and copy it.
    element = since.ravel()[number % since.size]
    return jnp.broadcast_to((element * 0).astype(dtype), shape)


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
    numbers = [leaf for leaf in jax.tree.leaves(given) if _is_number(leaf)]
    token = sum(jnp.sum(lax.stop_gradient(leaf)).astype(float) for leaf in numbers)

    def settle(leaf: Array) -> Array:
        # the rule of reshape puts a new axis first; of a reshape to the same shape is none
        leaf = lax.squeeze(lax.reshape(leaf, (1, *leaf.shape)), (0,))
        # never the token, and XLA sees it; but the output has its axes
        return jnp.where(jnp.zeros((), bool), jnp.asarray(token).astype(leaf.dtype), leaf)

    return jax.tree.map(settle, tree)


def _is_number(leaf: Any) -> bool:
    """Tell numbers and flags from typed random keys, which cannot be added."""
    return jnp.issubdtype(leaf.dtype, jnp.number) or leaf.dtype == bool
