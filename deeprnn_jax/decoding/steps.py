"""What a decoder reads from: a step from one token to the logits of the next.

    (state, token [*B]) -> (state, logits [*B, V])

The state is any pytree of arrays, a deep network's or an attention decoder's.
"""

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import check_callable, difference
from deeprnn_jax.types import Array

DecoderState = Any  # a pytree of arrays


class TokenStepFn(Protocol):
    """Reads one token a row and gives the logits of the next, for any leading axes."""

    def __call__(self, state: DecoderState, token: Array, /) -> tuple[DecoderState, Array]: ...


def settle_state(
    function: str, argument: str, step_fn: TokenStepFn, state: DecoderState, tokens: Array
) -> tuple[DecoderState, jax.ShapeDtypeStruct]:
    """Give the state in the dtypes that the step keeps it in, and the form of its logits.

    Args:
      function: the public function's name.
      argument: what it calls the step.
      step_fn: the step; it is traced, not run.
      state: what the first step begins with.
      tokens: int32, of the axes that the step is to be called with.

    Returns:
      The state, whose floating-point leaves have the step's dtypes; the shape
      and dtype of the logits.

    Raises:
      ValueError: if the step is no function, gives no pair, gives logits of another
        shape or dtype, or gives a state of another structure, shape or kind.
    """
    check_callable(function, argument, step_fn, "lambda state, token: (state, logits)")
    state = jax.tree.map(jnp.asarray, state)
    out = jax.eval_shape(step_fn, state, tokens)
    if not isinstance(out, tuple) or len(out) != 2:
        raise ValueError(
            f"{function}: {argument} must return a pair (state, logits), got {type(out).__name__}"
        )
    after, logits = out
    shape, dtype = getattr(logits, "shape", None), getattr(logits, "dtype", None)
    is_float = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
    if not is_float or not shape or shape[:-1] != tokens.shape or shape[-1] < 1:
        raise ValueError(
            f"{function}: {argument} must return floating-point logits [*B, V] with the axes "
            f"{tokens.shape} of its tokens, got {dtype} of shape {shape}; it is called with "
            "tokens and state of those axes, and must keep them all"
        )
    said = difference("state", state, after)
    if said is not None:
        raise ValueError(
            f"{function}: {argument} must return a state like the one it was given: {said}"
        )
    state = jax.tree.map(lambda a, b: _cast(function, argument, a, b), state, after)
    return state, logits


def _cast(function: str, argument: str, leaf: Array, after: jax.ShapeDtypeStruct) -> Array:
    if leaf.dtype == after.dtype:
        return leaf
    if not all(jnp.issubdtype(dtype, jnp.floating) for dtype in (leaf.dtype, after.dtype)):
        raise ValueError(
            f"{function}: {argument} turns a state of {leaf.dtype} into {after.dtype}; a loop's "
            "state keeps its dtype: cast it in the step"
        )
    return leaf.astype(after.dtype)
