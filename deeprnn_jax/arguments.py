"""Checks of what a network is called with: shapes, dtypes and static values.

All of them run while tracing and say what to do; in the form that `checks` gives.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from deeprnn_jax import checks
from deeprnn_jax.types import Array


def explain_params(
    function: str, params: Any, input_size: int, expected_of: Callable[[int], Any]
) -> str | None:
    """Say in which params are not this network's for inputs of that size; None if they are.

    Args:
      function: the public function's name.
      params: what the caller gave.
      input_size: the width of the caller's x.
      expected_of: gives the shapes of the parameters for an input size.
    """
    expected = expected_of(input_size)
    said = checks.difference("params", expected, params)
    if said is None:
        return None
    other = _other_input_size(expected, params, input_size, expected_of)
    if other is not None:
        return (
            f"{function}: x must end in I={other} features, as the parameters were "
            f"initialised for, got {input_size}; is it batch-major or transposed?"
        )
    return f"{function}: params are not of this network: {said}; use this network's init"


def _other_input_size(
    expected: Any, params: Any, input_size: int, expected_of: Callable[[int], Any]
) -> int | None:
    """Find the input size that params were made for, from the first shape that differs."""
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(params), strict=False):
        if np.shape(a) == np.shape(b):
            continue
        if len(np.shape(a)) != len(np.shape(b)):
            return None
        pairs = zip(np.shape(a), np.shape(b), strict=True)
        size_a, size_b = next((i, j) for i, j in pairs if i != j)
        # dense layers read I + the sizes below: the difference is the same
        other = input_size + size_b - size_a
        fits = other > 0 and checks.same_shapes(expected_of(other), params)
        return other if fits else None
    return None


def check_state(function: str, state: Any, expected: Any) -> None:
    """Raise ValueError unless the state has the expected structure, shapes and dtypes."""
    said = checks.difference("state", expected, state, dtypes=True)
    if said is not None:
        raise ValueError(
            f"{function}: state is not of this network and batch: {said}; use "
            "initial_state(params, batch_shape), or what apply gave"
        )


def steps_shape(x: Any, image_shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Give `(T, *B)` of x `[T, *B, *image_shape, I]`; `*B` of one step of it."""
    return x.shape[: x.ndim - len(image_shape) - 1]


def is_of_images(x: Any, image_shape: tuple[int, ...]) -> bool:
    """Tell whether x has features, and an image's axes before them."""
    steps = x.ndim - len(image_shape) - 1
    return steps >= 0 and x.shape[steps:-1] == image_shape


def _axes(*names: str, image_shape: tuple[int, ...]) -> str:
    """Write the axes of x."""
    return f"[{', '.join([*names, *map(str, image_shape), 'I'])}]"


def check_sequence(function: str, x: Any, image_shape: tuple[int, ...] = ()) -> None:
    """Raise ValueError unless x is a floating-point `[T, *B, *image_shape, I]`, T at least 1."""
    checks.check_floating(function, "x", x)
    if not is_of_images(x, image_shape) or not steps_shape(x, image_shape):
        raise ValueError(
            f"{function}: x must be {_axes('T', '*B', image_shape=image_shape)}, got shape "
            f"{x.shape}; use step for one step"
        )
    if x.shape[0] == 0:
        raise ValueError(
            f"{function}: x has no steps, got shape {x.shape}; T must be 1 or more "
            "(rows of length 0 go in `lengths`)"
        )


def check_step(
    function: str,
    state: Any,
    x_t: Any,
    is_bidirectional: bool,
    image_shape: tuple[int, ...] = (),
) -> None:
    """Raise ValueError unless a causal network has a state, and x_t `[*B, *image_shape, I]`."""
    if is_bidirectional:
        raise ValueError(
            f"{function}: a bidirectional network reads the whole sequence first and has no "
            "single step; use apply"
        )
    checks.check_floating(function, "x_t", x_t)
    if state is None:
        raise ValueError(f"{function}: state must be what initial_state gives, got None")
    if not is_of_images(x_t, image_shape):
        found = f"shape {x_t.shape}" if x_t.ndim else "a scalar"
        raise ValueError(
            f"{function}: x_t must be {_axes('*B', image_shape=image_shape)}, got {found}"
        )


def check_flags_of_steps(
    function: str,
    x: Array,
    lengths: Any,
    mask: Any,
    resets: Any,
    image_shape: tuple[int, ...] = (),
) -> None:
    """Raise ValueError unless lengths, mask and resets fit x `[T, *B, *image_shape, I]`."""
    num_steps, *batch_shape = steps = steps_shape(x, image_shape)
    if lengths is not None:
        checks.check_lengths(function, lengths, num_steps, tuple(batch_shape))
    if mask is not None:
        checks.check_flags(function, "mask", mask, steps, "True = a real step")
    if resets is not None:
        checks.check_flags(function, "resets", resets, steps, "True = a new sequence starts here")


def choose_key(function: str, key: Any, train: bool | None, is_random: bool) -> Any:
    """Give the key to train with, or None; raise ValueError where it is missing.

    Args:
      function: the public function's name.
      key: what the caller gave, or None.
      train: True, False, or None for "if there is a key".
      is_random: whether training this network draws anything.
    """
    if train is not None and not isinstance(train, bool):
        raise ValueError(f"{function}: train must be True, False or None, got {train!r}")
    if key is not None:
        checks.check_key(function, key)
    if train and key is None and is_random:
        raise ValueError(
            f"{function}: train=True needs a key, for this network draws dropout or the "
            "like; give key=jax.random.key(seed), a new one each call"
        )
    return key if train in (None, True) and is_random else None


def batch_shape_of(
    function: str, batch_shape: Any, argument: str = "batch_shape"
) -> tuple[int, ...]:
    """Give batch axes as a tuple, from a tuple or one int."""
    is_one = isinstance(batch_shape, int | np.integer) or jax.export.is_symbolic_dim(batch_shape)
    shape: Any = (batch_shape,) if is_one else batch_shape
    if not isinstance(shape, tuple | list) or not all(map(_is_dimension, shape)):
        raise ValueError(
            f"{function}: {argument} must be an int or a tuple of ints, got {batch_shape!r}"
        )
    return tuple(int(n) if isinstance(n, np.integer) else n for n in shape)


def _is_dimension(n: Any) -> bool:
    """Tell whether n is a size of an axis: a whole number, or a symbol of `jax.export`."""
    if jax.export.is_symbolic_dim(n):
        return True
    return isinstance(n, int | np.integer) and not isinstance(n, bool) and bool(n >= 0)


def as_arrays(*values: Any) -> tuple[Any, ...]:
    """Make JAX arrays of NumPy arrays; leave None and all else for the checks."""
    return tuple(jnp.asarray(v) if isinstance(v, np.ndarray) else v for v in values)


def choose_checkpoints(function: str, every: Any, num_steps: int) -> int | None:
    """Give `checkpoint_every` as a number of steps or None, or raise ValueError.

    Args:
      function: the public function's name.
      every: what the caller gave: an int, "sqrt" or None.
      num_steps: of the loop that is cut. "sqrt" is a divisor of it near its root, if there
        is one within a factor of two, else the root, rounded up.
    """
    if every is None:
        return None
    if not isinstance(num_steps, int):
        raise ValueError(
            f"{function}: checkpoint_every must be None where the number of steps is a symbol, "
            f"{num_steps}, got {every!r}; export for a known number of steps"
        )
    if isinstance(every, str) and every == "sqrt":
        root = math.isqrt(num_steps - 1) + 1
        near = [k for k in range(root // 2 + 1, 2 * root) if num_steps % k == 0]
        # chunks of equal length need no copy of the outputs to be joined
        return min(near, key=lambda k: abs(k - root), default=root)
    if isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1:
        raise ValueError(
            f"{function}: checkpoint_every must be an int of 1 or more, 'sqrt' or None, "
            f"got {every!r}"
        )
    return int(every)
