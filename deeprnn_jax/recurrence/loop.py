"""A `lax.scan` with less traffic through memory, for XLA on CPU."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from deeprnn_jax.types import Array

Arrays = Sequence[Array]
lax_scan = lax.scan  # as it is now: whoever replaces `jax.lax.scan` gets to the engine by it


def run_loop(
    body: Callable[[Arrays, Arrays], tuple[Arrays, Arrays]],
    init: Arrays,
    xs: Arrays,
    shapes: Sequence[Any],
    *,
    length: int,
    reverse: bool,
    prefetch: bool,
    overwrite: Sequence[bool],
    may_overwrite: Sequence[bool],
    latest: Array | None,
) -> tuple[list[Array], list[Array]]:
    """Do what `lax.scan` does, for plain numbers.

    - `lax.scan` stacks its outputs in zeros, which XLA makes at the start of the whole
      program: the backward loop's stacks are there while the forward loops run, and no
      memory is used twice. Here the zeros are made of a value that is there only just
      before the loop.
    - An output as large as an input that is overwritten takes its place: step t writes
      where step t has read. XLA copies the whole stack at every step unless the slice is
      read one step before, and from the stack that has just been written.
    - A slice that is prefetched, read one step before and carried through the loop, is a
      plain buffer to the step. XLA else fuses the read into what uses it, which for the
      gates of a forward pass is several times slower.

    Args:
      body: `(carry, x_t) -> (carry, y_t)`.
      init: the carry before the first step.
      xs: arrays `[T, ...]`.
      shapes: of each y_t.
      length: T, 1 or more.
      reverse: whether to go from the last step to the first.
      prefetch: whether to read all slices one step before.
      overwrite: which of xs nobody reads after. Wrong here costs a copy, never a number.
      may_overwrite: which outputs may take such a place.
      latest: a floating array that is there just before the loop, not long before.

    Returns:
      The last carry, and the stacked outputs `[T, ...]` in the order of time.
    """
    places = _places(xs, overwrite, shapes, may_overwrite)
    prefetched = [prefetch or place in places for place in range(len(xs))]

    def read(place: int, index: Any, stacks: Arrays) -> Array:
        stack = stacks[places.index(place)] if place in places else xs[place]
        return lax.dynamic_index_in_dim(stack, index, keepdims=False)

    def step(count: Any, loop_carry: tuple) -> tuple:
        carry, held, stacks = loop_carry
        index = length - 1 - count if reverse else count
        waiting = iter(held)
        x_t = [
            next(waiting) if is_held else read(place, index, stacks)
            for place, is_held in enumerate(prefetched)
        ]
        carry, y_t = body(carry, x_t)
        stacks = [
            lax.dynamic_update_index_in_dim(stack, y, index, 0)
            for stack, y in zip(stacks, y_t, strict=True)
        ]
        coming = jnp.clip(index + (-1 if reverse else 1), 0, length - 1)
        held = [read(place, coming, stacks) for place, is_held in enumerate(prefetched) if is_held]
        return list(carry), held, stacks

    stacks = [
        _zeros(latest, number, (length, *shape.shape), shape.dtype) if place is None else xs[place]
        for number, (shape, place) in enumerate(zip(shapes, places, strict=True))
    ]
    first = length - 1 if reverse else 0
    held = [leaf[first] for leaf, is_held in zip(xs, prefetched, strict=True) if is_held]
    final, _, stacks = lax.fori_loop(0, length, step, (list(init), held, stacks))
    return final, stacks


def _places(
    xs: Arrays, overwrite: Sequence[bool], shapes: Sequence[Any], may_overwrite: Sequence[bool]
) -> tuple[int | None, ...]:
    """Give for each output the input whose place it takes, or None."""
    free = [place for place, one in enumerate(overwrite) if one]
    found = []
    for shape, may in zip(shapes, may_overwrite, strict=True):
        same = [
            place
            for place in free
            if may and xs[place].shape[1:] == shape.shape and xs[place].dtype == shape.dtype
        ]
        found.append(same[0] if same else None)
        if same:
            free.remove(same[0])
    return tuple(found)


def _zeros(latest: Array | None, number: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """Give zeros that XLA does not make before a value is there."""
    size: Any = 0 if latest is None else latest.size  # symbolic, in `jax.export`
    if latest is None or not isinstance(size, int) or size == 0:
        return jnp.zeros(shape, dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        return jnp.zeros(shape, dtype)
    # Each from other elements: of the same ones, XLA would make a single stack and copy it.
    # One of each row of a batch, which may lie over devices: a single one all would gather.
    latest = latest if latest.ndim > 1 else latest[:, None]
    step, unit = number // latest.shape[-1] % len(latest), number % latest.shape[-1]
    elements = latest[step, ..., unit : unit + 1]
    if elements.shape[:-1] != shape[1:-1]:
        elements = elements.ravel()[0]
    return jnp.broadcast_to((elements * 0).astype(dtype), shape)


def shift(first: Array, afters: Array, *, reverse: bool) -> Array:
    """Give what every step began with `[T, ...]`, from what each ended with."""
    if reverse:
        return jnp.concatenate([afters[1:], first[None]])
    return jnp.concatenate([first[None], afters[:-1]])
