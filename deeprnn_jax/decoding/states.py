"""Where a state's batch axes are, so that a search can copy and drop hypotheses.

A search keeps K hypotheses a row: their axis stands right after the batch axes, in the
tokens `[*B, K]` and in each array of the state. `state_axes` tells at which axis of each
array the batch axes begin, in the form of `jax.vmap`'s `in_axes`: an int, or a tree of
ints over the first levels of the state. None marks what all hypotheses share, which is
left as it is.

    0            leaves [*B, ...]        a deep network's state, an attention context
    1            leaves [L, *B, ...]     a deep network's, made with `stack_layers=True`
    (1, 0)       a pair of both
    (0, None)    a pair of the first and what all hypotheses share
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.checks import describe_shapes
from deeprnn_jax.decoding.steps import DecoderState
from deeprnn_jax.types import Array

StateAxes = Any  # an int, None, or a tree of them that is a prefix of the state


def check_state_axes(
    function: str, state: DecoderState, axes: StateAxes, batch_shape: tuple[int, ...]
) -> None:
    """Raise ValueError unless every array has the batch axes where it says."""

    def check(axis: Any, leaf: Any) -> None:
        shape = np.shape(leaf)
        if isinstance(axis, bool) or not isinstance(axis, int | np.integer) or axis < 0:
            raise ValueError(
                f"{function}: state_axes must be an int of 0 or more, None, or a tree of "
                f"them, got {axis!r}"
            )
        if shape[axis : axis + len(batch_shape)] != batch_shape or len(shape) < axis:
            raise ValueError(
                f"{function}: state must have the batch axes {batch_shape} of start_token from "
                f"axis {axis} on, got shape {shape}; state_axes says where they begin: 1 in a "
                "deep network's that is stacked, [L, *B, H]; None for what all hypotheses share"
            )

    try:
        _map(check, axes, state)
    except ValueError as error:
        if str(error).startswith(f"{function}:"):
            raise
        raise ValueError(
            f"{function}: state_axes must be an int, or a tree of ints over the first levels of "
            f"the state, got {axes!r} for {describe_shapes(state)}"
        ) from error


def repeat_state(
    state: DecoderState, axes: StateAxes, batch_ndim: int, beam_size: int
) -> DecoderState:
    """Give the state with K copies a row, on a new axis after the batch axes."""

    def repeat(axis: int, leaf: Any) -> Array:
        leaf = jnp.expand_dims(jnp.asarray(leaf), axis + batch_ndim)
        shape = list(leaf.shape)
        shape[axis + batch_ndim] = beam_size
        return jnp.broadcast_to(leaf, shape)

    return _map(repeat, axes, state)


def take_state(state: DecoderState, axes: StateAxes, parents: Array) -> DecoderState:
    """Give the state whose hypothesis k is the given one's `parents[*B, k]`."""

    def gather(axis: int, leaf: Array) -> Array:
        def gather_in_row(leaf: Array, parents: Array) -> Array:
            return jnp.take(leaf, parents, axis=axis, mode="clip")

        for _ in range(parents.ndim - 1):
            gather_in_row = jax.vmap(gather_in_row, in_axes=(axis, 0), out_axes=axis)
        return gather_in_row(leaf, parents)

    return _map(gather, axes, state)


def where_state(flags: Array, axes: StateAxes, yes: DecoderState, no: DecoderState) -> DecoderState:
    """Choose between two states, hypothesis by hypothesis, by bool `[*B, K]`."""

    def choose(axis: int, a: Array, b: Array) -> Array:
        shape = (*(1,) * axis, *flags.shape, *(1,) * (a.ndim - axis - flags.ndim))
        return jnp.where(flags.reshape(shape), a, b)

    return _map(choose, axes, yes, no)


def _map(function: Callable[..., Any], axes: StateAxes, state: Any, *states: Any) -> Any:
    """Map `function(axis, leaf, ...)` over a state; what has no axis stays the first's."""

    def over_part(axis: Any, part: Any, *parts: Any) -> Any:
        return part if axis is None else jax.tree.map(partial(function, axis), part, *parts)

    return jax.tree.map(over_part, axes, state, *states, is_leaf=lambda axis: axis is None)
