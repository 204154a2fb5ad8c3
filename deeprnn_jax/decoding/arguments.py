"""What several decoders take: tokens, an index of the logits, a number or one a row."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from deeprnn_jax.checks import is_number
from deeprnn_jax.internals import Tracer
from deeprnn_jax.types import Array


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


def is_real(value: Any) -> bool:
    """Tell whether `value` is a real number, or an array of them, traced or not."""
    dtype = getattr(value, "dtype", None)
    return is_number(value) or (
        dtype is not None
        and (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer))
    )


def is_known(value: Any) -> bool:
    """Tell whether the numbers themselves can be looked at: a traced array's come later."""
    return not isinstance(value, Tracer)


def describe(value: Any) -> str:
    """Write a number as it is, an array as its dtype and shape."""
    dtype = getattr(value, "dtype", None)
    return repr(value) if dtype is None else f"{dtype} of shape {np.shape(value)}"


def as_per_row(
    function: str, argument: str, value: Any, batch_shape: tuple[int, ...], dtype: Any
) -> Array:
    """Give a number, the same for all rows or one a row, as `[*B]`.

    Raises:
      ValueError: if it is neither, or is known not to be finite.
    """
    if not is_real(value) or np.shape(value) not in ((), batch_shape):
        raise ValueError(
            f"{function}: {argument} must be a number or an array [*B] = {batch_shape}, one a "
            f"row, got {describe(value)}"
        )
    if is_known(value) and not np.isfinite(np.asarray(value)).all():
        raise ValueError(f"{function}: {argument} must be finite, got {value!r}; 0 turns it off")
    return jnp.broadcast_to(jnp.asarray(value, dtype), batch_shape)
