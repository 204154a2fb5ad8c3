"""What a decoder reads from: a step from one token to the logits of the next.

    (state, token [*B]) -> (state, logits [*B, V])

The state is any pytree of arrays, a deep network's or an attention decoder's.
"""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from deeprnn_jax.cells.products import accumulation_dtype
from deeprnn_jax.checks import check_callable, describe_shapes, is_number, same_shapes
from deeprnn_jax.types import Array

DecoderState = Any  # a pytree of arrays


class TokenStepFn(Protocol):
    """Reads one token a row and gives the logits of the next, for any leading axes."""

    def __call__(self, state: DecoderState, token: Array, /) -> tuple[DecoderState, Array]: ...


def widen(x: Array) -> Array:
    """Give x in float32, or in its own dtype where that is wider."""
    return x.astype(accumulation_dtype(x.dtype))


def log_softmax(logits: Array) -> Array:
    """Give log-probabilities in float32 or wider, with -inf in place of NaN.

    A row with NaN or +inf among its logits, or with nothing but -inf, is -inf throughout:
    such a model gives no probability to anything.
    """
    return without_nan(jax.nn.log_softmax(widen(logits), axis=-1))


def without_nan(log_probs: Array) -> Array:
    """Give -inf, what cannot be, for NaN, which would win every comparison for the best."""
    return jnp.where(jnp.isnan(log_probs), -jnp.inf, log_probs)


def places_in(shape: tuple[int, ...]) -> Array:
    """Give each entry's place along the last axis, int32 in this shape: 0, 1, 2 ..."""
    return lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)


def as_tokens(function: str, argument: str, value: Any) -> Array:
    """Give tokens as int32 `[*B]`, from an int or an integer array."""
    dtype = getattr(value, "dtype", None)
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not is_int and (dtype is None or not jnp.issubdtype(dtype, jnp.integer)):
        found = repr(value) if dtype is None else dtype
        raise ValueError(
            f"{function}: {argument} must be an int or an integer array [*B], got {found}; for "
            "example jnp.full(batch_size, 1)"
        )
    return jnp.asarray(value, jnp.int32)


def check_index(function: str, argument: str, value: Any, size: int) -> None:
    """Raise ValueError unless `value` is an int in [0, V)."""
    is_int = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_int or not 0 <= value < size:
        raise ValueError(
            f"{function}: {argument} must be an int in [0, V={size}), an index of the logits, "
            f"got {value!r}"
        )


def as_per_row(
    function: str, argument: str, value: Any, batch_shape: tuple[int, ...], dtype: Any
) -> Array:
    """Give a number, the same for all rows or one a row, as `[*B]`.

    Raises:
      ValueError: if it is neither, or is known not to be finite.
    """
    found = getattr(value, "dtype", None)
    is_real = is_number(value) or (
        found is not None
        and (jnp.issubdtype(found, jnp.floating) or jnp.issubdtype(found, jnp.integer))
    )
    if not is_real or np.shape(value) not in ((), batch_shape):
        got = repr(value) if found is None else f"{found} of shape {np.shape(value)}"
        raise ValueError(
            f"{function}: {argument} must be a number or an array [*B] = {batch_shape}, one a "
            f"row, got {got}"
        )
    if not isinstance(value, Tracer) and not np.isfinite(np.asarray(value)).all():
        raise ValueError(f"{function}: {argument} must be finite, got {value!r}; 0 turns it off")
    return jnp.broadcast_to(jnp.asarray(value, dtype), batch_shape)


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
    if not same_shapes(state, after):
        raise ValueError(
            f"{function}: {argument} must return a state like the one it was given: expected "
            f"{describe_shapes(state)}; got {describe_shapes(after)}"
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
