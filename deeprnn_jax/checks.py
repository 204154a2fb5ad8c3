"""Errors for public arguments: function, argument, expected, got, remedy.

chex's assertions raise AssertionError with the caller's names lost; these say
what the user can do. They look at shapes, dtypes and static values alone, so
they run while tracing and cost nothing in the compiled program.
"""

from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from deeprnn_jax.types import Cell


def is_number(value: Any) -> bool:
    """Tell whether `value` is a real number, which True and False are not taken for."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_cell(function: str, cell: Any) -> None:
    """Raise ValueError unless `cell` is a cell."""
    if not isinstance(cell, Cell):
        raise ValueError(
            f"{function}: its first argument must be a cell, got {type(cell).__name__}; "
            "for example drnn.lstm(256)"
        )


def check_size(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is a positive int."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{function}: {argument} must be an int of 1 or more, got {value!r}")


def check_rate(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is a probability below 1."""
    if not is_number(value) or not 0 <= float(value) < 1:
        raise ValueError(f"{function}: {argument} must be a probability in [0, 1), got {value!r}")


def check_callable(function: str, argument: str, value: Any, example: str) -> None:
    """Raise ValueError unless `value` can be called."""
    if not callable(value):
        raise ValueError(
            f"{function}: {argument} must be a function, got {value!r}; for example {example}"
        )


def check_bools(function: str, **flags: Any) -> None:
    """Raise ValueError unless all are True or False: "no" and 2 would count as True."""
    for argument, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{function}: {argument} must be True or False, got {value!r}")


def check_initializers(function: str, **initializers: Any) -> None:
    """Raise ValueError unless all are functions `(key, shape, dtype) -> array`."""
    for argument, value in initializers.items():
        check_callable(function, argument, value, "drnn.initializers.orthogonal()")


def check_bias(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is a number or an initialiser."""
    if not callable(value) and not is_number(value):
        raise ValueError(
            f"{function}: {argument} must be a number or an initialiser, got {value!r}; for "
            "example 1.0 or drnn.initializers.chrono(100)"
        )


def check_floating_dtype(function: str, argument: str, value: Any) -> Any:
    """Give `value` as a dtype, or raise ValueError unless it is a floating-point one."""
    try:
        dtype = None if value is None else jnp.dtype(value)  # dtype(None) is float64
    except TypeError:
        dtype = None
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"{function}: {argument} must be a floating-point dtype, got {value!r}; for "
            "example jnp.bfloat16"
        )
    return dtype


def check_key(function: str, key: Any) -> None:
    """Raise ValueError unless `key` is one random key, typed or raw."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not hasattr(key, "shape"):
        found = repr(key)
    elif jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if key.shape == ():
            return
        found = f"an array of keys of shape {key.shape}"
    else:
        if dtype == jnp.uint32 and len(key.shape) == 1:
            return
        found = f"{dtype} of shape {key.shape}"
    raise ValueError(
        f"{function}: key must be one random key, got {found}; use jax.random.key(seed)"
    )


def check_floating(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is a floating-point array."""
    if not hasattr(value, "dtype"):
        raise ValueError(
            f"{function}: {argument} must be an array, got {type(value).__name__}; use jnp.asarray"
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(
            f"{function}: {argument} must be floating point, got {value.dtype}; "
            "embed or one-hot encode tokens first, or cast with .astype(jnp.float32)"
        )


def check_flags(
    function: str, argument: str, value: Any, shape: tuple[int, ...], meaning: str
) -> None:
    """Raise ValueError unless `value` is bool `[T, *B]`."""
    dtype, got = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype != jnp.bool_:
        found = type(value).__name__ if dtype is None else dtype
        raise ValueError(
            f"{function}: {argument} must be boolean, {meaning}, got {found}; "
            f"compare first, as in {argument} != 0"
        )
    if got != shape:
        raise ValueError(
            f"{function}: {argument} must be [T, *B] = {shape}, got {got}; is it batch-major?"
        )


def check_lengths(
    function: str, lengths: Any, num_steps: int, batch_shape: tuple[int, ...]
) -> None:
    """Raise ValueError unless `lengths` is int `[*B]`, in [0, T] where static."""
    dtype, shape = getattr(lengths, "dtype", None), getattr(lengths, "shape", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer):
        found = type(lengths).__name__ if dtype is None else dtype
        raise ValueError(f"{function}: lengths must be an integer array, got {found}")
    if shape != batch_shape:
        raise ValueError(
            f"{function}: lengths must be [*B] = {batch_shape}, the batch axes of x, got {shape}"
        )
    if isinstance(lengths, Tracer):
        return
    values = np.asarray(lengths)
    if values.size and (values.min() < 0 or values.max() > num_steps):
        raise ValueError(
            f"{function}: lengths must be in [0, T={num_steps}], got values from "
            f"{values.min()} to {values.max()}"
        )


def describe_shapes(tree: Any) -> str:
    """Write a tree's leaves as `path [shape]`, the first few of them."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    shown = [f"{jax.tree_util.keystr(path)} {list(np.shape(leaf))}" for path, leaf in leaves[:6]]
    return ", ".join(shown) + (f", ... ({len(leaves)} arrays)" if len(leaves) > 6 else "")


def same_shapes(expected: Any, got: Any) -> bool:
    """Tell whether two trees have one structure and, leaf by leaf, one shape."""
    if jax.tree.structure(expected) != jax.tree.structure(got):
        return False
    pairs = zip(jax.tree.leaves(expected), jax.tree.leaves(got), strict=True)
    return all(np.shape(a) == np.shape(b) for a, b in pairs)
