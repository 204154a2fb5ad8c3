"""A network's parameters by name: one naming for files, for Flax and for optimisers.

    layer_0/cell/w_x, layer_1/norm/scale, ...    a layer: cell, norm, highway
    layers_1_to_3/cell/w_x                       three equal layers, stacked `[3, ...]`
    readout/w, readout/b

A cell's own parameters are named by the fields, keys and indices that lead to them.
"""

from collections.abc import Mapping, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.arguments import as_arrays
from deeprnn_jax.checks import difference
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.parameters import DeepParams, check_params, params_shapes
from deeprnn_jax.types import Array

Form = Any  # of parameters: what `jax.tree.structure` gives
_TWO_BYTES = np.dtype("V2")  # as what `np.load` gives of bfloat16, which it does not know


def to_dict(plan: Plan, params: DeepParams) -> dict[str, Array]:
    """Give each array of parameters by its name."""
    check_params("to_dict", plan, params)
    return _by_name("to_dict", plan, params)


def from_dict(plan: Plan, arrays: Mapping[str, Any], input_size: int) -> DeepParams:
    """Give parameters from arrays by name, of the shapes and dtypes that `init` gives."""
    if not isinstance(arrays, Mapping):
        raise ValueError(
            f"from_dict: arrays must be a dictionary by name, got {type(arrays).__name__}; give "
            "what to_dict gave"
        )
    arrays = dict(arrays)  # what np.load gives reads a file whenever it is asked
    shapes = params_shapes(plan, input_size)
    wanted = _by_name("from_dict", plan, shapes)
    for name, shape in wanted.items():
        if shape.dtype == jnp.bfloat16 and getattr(arrays.get(name), "dtype", None) == _TWO_BYTES:
            arrays[name] = arrays[name].view(jnp.bfloat16)
    params = fill("from_dict", plan, jax.tree.structure(shapes), arrays)
    said = difference("arrays", wanted, arrays, dtypes=True)
    if said is not None:
        raise ValueError(
            f"from_dict: {said}; use the network that wrote them, with the input_size of then, "
            f"not {input_size}"
        )
    return params


def fill(function: str, plan: Plan, form: Form, arrays: Mapping[str, Any]) -> DeepParams:
    """Give parameters of a known form from arrays by name; shapes are not looked at.

    Args:
      function: the public function's name.
      plan: the network.
      form: of its parameters.
      arrays: by name, in any order.

    Raises:
      ValueError: if a name is missing, or is not of this network.
    """
    names = list(_by_name(function, plan, jax.tree.unflatten(form, range(form.num_leaves))))
    missing, others = set(names) - arrays.keys(), arrays.keys() - set(names)
    if missing or others:
        raise ValueError(
            f"{function}: arrays must have the names that to_dict gives, got {_some(missing)} "
            f"missing and {_some(others)} too much; are they of another network?"
        )
    return jax.tree.unflatten(form, as_arrays(*(arrays[name] for name in names)))


def _some(names: Set[str]) -> str:
    """Give the first of some names, and how many there are besides."""
    first, *others = sorted(names) or ["nothing"]
    return f"{first} and {len(others)} more" if others else first


def _by_name(function: str, plan: Plan, params: DeepParams) -> dict[str, Any]:
    """Give each leaf by its name, in the order of `jax.tree.leaves(params)`."""
    entries = [f"layer_{index}" for index in range(len(plan.layers))]
    if plan.stack_layers:
        entries = [
            f"layer_{start}" if size == 1 else f"layers_{start}_to_{start + size - 1}"
            for start, size in plan.groups
        ]
    parts = [*zip(entries, params.layers, strict=True), ("readout", params.readout)]
    return {
        "/".join([entry, *(_word(function, key) for key in path)]): leaf
        for entry, tree in parts
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _word(function: str, key: Any) -> str:
    """Give a field, key or index as a part of a name."""
    word = jax.tree_util.keystr((key,), simple=True)
    if "/" in word:
        raise ValueError(
            f"{function}: names of a cell's parameters must be without '/', got {word!r}; it "
            "joins the parts of a name, so nest dictionaries in its place"
        )
    return word
