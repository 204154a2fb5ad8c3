"""Errors for public arguments: function, argument, expected, got, remedy.

chex's assertions raise AssertionError with the caller's names lost; these say
what the user can do. They look at shapes, dtypes and static values alone, so
they run while tracing and cost nothing in the compiled program.
"""

from collections.abc import Callable
from numbers import Real
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.types import Array, Cell


def is_number(value: Any) -> bool:
    """Tell whether `value` is a real number, which True and False are not taken for."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_cell(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is a cell."""
    if not isinstance(value, Cell):
        raise ValueError(
            f"{function}: {argument} must be a cell, got {type(value).__name__}; for example "
            "drnn.lstm(256)"
        )


def is_int(value: Any, at_least: int = 1) -> bool:
    """Tell whether `value` is an int of so much or more, which True is not taken for."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return bool(value >= at_least)


def check_size(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is a positive int."""
    if not is_int(value):
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


def check_flag(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless True or False: "no" and 2 would count as True."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{function}: {argument} must be True or False, got {value!r}")


def check_bools(function: str, **flags: Any) -> None:
    """Raise ValueError unless all are True or False."""
    for argument, value in flags.items():
        check_flag(function, argument, value)


def check_activation(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is a function, of arrays."""
    check_callable(function, argument, value, "jnp.tanh")


def check_initializer(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is a function `(key, shape, dtype) -> array`."""
    check_callable(function, argument, value, "drnn.initializers.orthogonal()")


def check_bias(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is a number or an initialiser."""
    if not callable(value) and not is_number(value):
        raise ValueError(
            f"{function}: {argument} must be a number or an initialiser, got {value!r}; for "
            "example 1.0 or drnn.initializers.chrono(100)"
        )


def one_of(*choices: Any) -> Callable[[str, str, Any], None]:
    """Make the check of an argument that must be one of a few values, for an annotation."""
    names = [repr(choice) for choice in choices]
    expected = f"{', '.join(names[:-1])} or {names[-1]}"

    def check(function: str, argument: str, value: Any) -> None:
        # by repr: an array would be compared element by element
        if repr(value) not in names:
            raise ValueError(f"{function}: {argument} must be {expected}, got {value!r}")

    return check


# What `factories.factory` looks for in annotations.
Size = Annotated[int, check_size]
Rate = Annotated[float, check_rate]
Flag = Annotated[bool, check_flag]
Activation = Annotated[Callable[[Array], Array], check_activation]
Initializer = Annotated[Callable[..., Array], check_initializer]
Bias = Annotated[float | Callable[..., Array], check_bias]
CellArgument = Annotated[Cell, check_cell]


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
    """Raise ValueError unless `lengths` is int `[*B]`, in [0, T] where NumPy's.

    A JAX array's values are not looked at: that would wait for the device.
    """
    dtype, shape = getattr(lengths, "dtype", None), getattr(lengths, "shape", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer):
        found = type(lengths).__name__ if dtype is None else dtype
        raise ValueError(f"{function}: lengths must be an integer array, got {found}")
    if shape != batch_shape:
        raise ValueError(
            f"{function}: lengths must be [*B] = {batch_shape}, the batch axes of x, got {shape}"
        )
    if not isinstance(lengths, np.ndarray):
        return
    if lengths.size and (lengths.min() < 0 or lengths.max() > num_steps):
        raise ValueError(
            f"{function}: lengths must be in [0, T={num_steps}], got values from "
            f"{lengths.min()} to {lengths.max()}"
        )


def describe_shapes(tree: Any) -> str:
    """Write a tree's leaves as `path [shape]`, the first few of them."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    shown = [f"{jax.tree_util.keystr(path)} {list(np.shape(leaf))}" for path, leaf in leaves[:6]]
    return ", ".join(shown) + (f", ... ({len(leaves)} arrays)" if len(leaves) > 6 else "")


def same_shapes(expected: Any, got: Any) -> bool:
    """Tell whether two trees have one structure and, leaf by leaf, one shape."""
    return difference("", expected, got) is None


def difference(path: str, expected: Any, got: Any, dtypes: bool = False) -> str | None:
    """Say where two trees first differ, or None where they have one structure and shapes.

    Args:
      path: what the trees are called.
      expected: a tree of arrays, or of their shapes.
      got: what the caller gave.
      dtypes: whether to compare dtypes as well.

    Returns:
      "path must be ..., got ..."; for differences that can be seen, such as a list in the
      place of a tuple, in the words of Python's types.
    """
    inside, found = _children(expected), _children(got)
    if inside is None and found is None:
        return _leaf_difference(path, expected, got, dtypes)
    if type(expected) is not type(got):
        names = [
            _type_name(one, is_same_name=_looks_same(expected, got)) for one in (expected, got)
        ]
        return f"{path} must be {names[0]}, got {names[1]}"
    inside, found = inside or {}, found or {}
    if list(inside) != list(found):
        return f"{path} must have {_names(inside)}, got {_names(found)}"
    for key, one in inside.items():
        said = difference(f"{path}{key}", one, found[key], dtypes)
        if said is not None:
            return said
    return None


def _children(tree: Any) -> dict[str, Any] | None:
    """Give what a tree holds, by the way to it; None for a leaf."""
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda one: one is not tree)
    if pairs and pairs[0][0] == ():
        return None
    return {jax.tree_util.keystr(path): one for path, one in pairs}


def _leaf_difference(path: str, expected: Any, got: Any, dtypes: bool) -> str | None:
    if np.shape(expected) != np.shape(got):
        return f"{path} must be of shape {np.shape(expected)}, got {np.shape(got)}"
    if not dtypes:
        return None
    if not hasattr(got, "dtype"):
        return f"{path} must be an array, got {type(got).__name__}"
    # a NumPy array of 64 bits is one of 32 to JAX, unless told otherwise
    wanted, dtype = (
        jax.dtypes.canonicalize_dtype(one.dtype, allow_extended_dtype=True)
        for one in (expected, got)
    )
    return None if wanted == dtype else f"{path} must be {wanted}, got {dtype}"


def _looks_same(expected: Any, got: Any) -> bool:
    return type(expected).__name__ == type(got).__name__


def _type_name(tree: Any, is_same_name: bool) -> str:
    if tree is None:
        return "None"
    if _children(tree) is None:
        return f"an array {list(np.shape(tree))}"
    kind = type(tree)
    return f"a {kind.__module__}.{kind.__qualname__}" if is_same_name else f"a {kind.__name__}"


def _names(inside: dict[str, Any]) -> str:
    return ", ".join(inside) or "nothing"


def check_initial_state(cell: Cell, state: Any, batch_shape: tuple[int, ...]) -> None:
    """Raise ValueError unless all of a cell's first state begins with the batch axes."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not hasattr(leaf, "shape") or leaf.shape[: len(batch_shape)] != batch_shape:
            raise ValueError(
                f"initial_state of cell {cell.name!r}: each array must begin with batch_shape="
                f"{batch_shape}, got {np.shape(leaf)} for state{jax.tree_util.keystr(path)}; "
                "as in jnp.zeros((*batch_shape, hidden_size))"
            )


def check_drawn(cell: Cell, found: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a cell's draw gave `(params, noise)` for steps `(T, *B)`."""
    where = f"draw of cell {cell.name!r}"
    if not isinstance(found, tuple) or hasattr(found, "_fields") or len(found) != 2:
        raise ValueError(f"{where}: must give (params, noise), got {type(found).__name__}")
    for path, leaf in jax.tree_util.tree_leaves_with_path(found[1]):
        if np.shape(leaf)[: len(shape)] != shape:
            raise ValueError(
                f"{where}: each array of the noise must begin with shape={shape}, which is "
                f"(T, *B), got {np.shape(leaf)} for noise{jax.tree_util.keystr(path)}; what is "
                "drawn once a sequence goes into the params"
            )


def check_step_result(cell: Cell, before: Any, found: Any, axes: tuple[int, ...]) -> None:
    """Raise ValueError unless a cell's update gave `(state, y)` as it must.

    Args:
      cell: the cell.
      before: the state that the step began with.
      found: what `update` gave.
      axes: of the step's input, but for its features.
    """
    where = f"update of cell {cell.name!r}" if cell.project_state else f"step of cell {cell.name!r}"
    if not isinstance(found, tuple) or hasattr(found, "_fields") or len(found) != 2:
        kind = f"a tuple of {len(found)}" if type(found) is tuple else type(found).__name__
        raise ValueError(f"{where}: must give (state, y), got {kind}")
    after, y = found
    said = difference("state", before, after, dtypes=True)
    if said is not None:
        swapped = difference("", before, y, dtypes=True) is None
        remedy = "is y before the state?" if swapped else "a step keeps the state as it finds it"
        raise ValueError(f"{where}: {said}; {remedy}")
    shape = (*axes, cell.output_size)
    form = f"[{'*B, *image_shape' if cell.image_shape else '*B'}, output_size] = {shape}"
    if getattr(y, "shape", None) != shape:
        raise ValueError(
            f"{where}: y must be {form}, got {getattr(y, 'shape', y)}; "
            "output_size is what the cell was made with"
        )
    if cell.output and getattr(getattr(after, cell.output, None), "shape", None) != shape:
        raise ValueError(
            f"{where}: output={cell.output!r} says that y is that field of the state, which is "
            f"not {form}; give the field that it is, or False"
        )
