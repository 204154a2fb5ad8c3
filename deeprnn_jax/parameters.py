"""A network's parameters and its first state."""

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.layers import layer as layers
from deeprnn_jax.layers.entries import as_held, join, take
from deeprnn_jax.layers.layer import Layer, LayerParams
from deeprnn_jax.layers.plan import Plan, input_sizes
from deeprnn_jax.precision import cast_floating, with_precision
from deeprnn_jax.random_keys import fold_in_each, map_keys
from deeprnn_jax.types import Array, State, exported


@exported
class Readout(NamedTuple):
    """The output layer y_t = W_y h_t^L + b_y."""

    w: Array  # [H, O]
    b: Array  # [O]


@exported
class DeepParams(NamedTuple):
    """Parameters of a deep network."""

    layers: tuple[LayerParams, ...]  # one entry a layer; a group of equal ones if stacked
    readout: Readout | None = None


DeepState = tuple[State, ...]  # one entry a layer, leaves [*B, ...] or [D, *B, ...]; likewise


def init_params(plan: Plan, key: Array, input_size: int) -> DeepParams:
    """Draw all parameters; neighbouring layers of equal shapes together, each by its own key."""
    k_layers, k_readout, k_highways = jax.random.split(key, 3)
    sizes = input_sizes(plan, input_size)
    alike = [
        layer._replace(input_size=size) for layer, size in zip(plan.layers, sizes, strict=True)
    ]
    found: list[LayerParams] = []
    for layer, group in itertools.groupby(alike):

        def draw(k_cell: Array, k_highway: Array, layer: Layer = layer) -> LayerParams:
            return layers.init_layer(layer, k_cell, k_highway)

        indices = jnp.arange(len(found), len(found) + len(list(group)))
        stacked = map_keys(draw, *(fold_in_each(one, indices) for one in (k_layers, k_highways)))
        found += [take(stacked, index) for index in range(len(indices))]
    entries = as_held(plan, found)
    readout = None
    if plan.output_size is not None:
        w = initializers.glorot_uniform()(k_readout, (plan.width, plan.output_size))
        readout = Readout(w, jnp.zeros(plan.output_size))
    return cast_floating(DeepParams(entries, readout), plan.precision.param)


def check_params(function: str, plan: Plan, params: Any) -> None:
    """Raise ValueError unless params have what the plan says: the rest shows when they are used.

    What a cell's own parameters are only its `init` knows, which is not called for this.

    Args:
      function: the public function's name.
      plan: the network.
      params: what the caller gave.
    """

    def refuse(
        path: str, expected: Any, found: Any, remedy: str = "use this network's init"
    ) -> None:
        raise ValueError(
            f"{function}: params are not of this network: params{path} must be {expected}, got "
            f"{found}; {remedy}"
        )

    num_entries = len(plan.groups if plan.stack_layers else plan.layers)
    if not isinstance(params, DeepParams):
        refuse("", "DeepParams", type(params).__name__)
    if not isinstance(params.layers, tuple) or len(params.layers) != num_entries:
        kind = type(params.layers).__name__
        found = f"{len(params.layers)} entries" if kind == "tuple" else f"a {kind}"
        held = "one a group of equal layers" if plan.stack_layers else "one a layer"
        remedy = f"use this network's init, or rnn.{'' if plan.stack_layers else 'un'}stack"
        refuse(".layers", f"a tuple of {num_entries}, {held}", found, remedy)
    for number, entry in enumerate(params.layers):
        path = f".layers[{number}]"
        layer = plan.layers[plan.groups[number].start if plan.stack_layers else number]
        if not isinstance(entry, LayerParams):
            refuse(path, "LayerParams", type(entry).__name__)
        for name, has in (("norm", layer.norm), ("highway", layer.skip == "highway")):
            part = getattr(entry, name)
            if has != (part is not None):
                kind = type(part).__name__ if part is not None else None
                refuse(f"{path}.{name}", f"a {name}'s parameters" if has else None, kind)
    if not isinstance(params.readout, Readout | None):
        refuse(".readout", "a Readout", type(params.readout).__name__)
    shape = None if plan.output_size is None else (plan.width, plan.output_size)
    found = None if params.readout is None else jnp.shape(params.readout.w)
    if shape != found:
        refuse(".readout.w" if shape and found else ".readout", shape, found)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            found = type(leaf).__name__ if dtype is None else dtype
            raise ValueError(
                f"{function}: every array of params must be floating point, got {found} for "
                f"params{jax.tree_util.keystr(path)}; a table that is not learned belongs into "
                "the cell's factory"
            )


def initial_state(plan: Plan, params: DeepParams, batch_shape: tuple[int, ...]) -> DeepState:
    """Give the state before the first step of every layer."""
    states = []
    for number, (start, size) in enumerate(plan.groups):
        first = partial(_first_state, plan, plan.layers[start], batch_shape)
        if plan.stack_layers:
            states.append(jax.vmap(first, axis_size=size)(params.layers[number]))
        else:
            states += map(first, params.layers[start : start + size])
    return tuple(states)


def _first_state(
    plan: Plan, layer: Layer, batch_shape: tuple[int, ...], params: LayerParams
) -> State:
    """Give a layer's state before the first step."""
    cell = with_precision(layer.cell, plan.precision)
    if layer.merge is None:
        return cell.initial_state(params.cell, batch_shape)
    return join([cell.initial_state(take(params.cell, d), batch_shape) for d in (0, 1)])


# One for all networks: those made alike share what is compiled.
compiled_init = jax.jit(init_params, static_argnums=(0, 2))
compiled_initial_state = jax.jit(initial_state, static_argnums=(0, 2))


def largest_field(plan: Plan, params: DeepParams) -> int:
    """Give how many numbers the largest array of a state has for a row: H, or a matrix's K x V."""
    shapes = compiled_initial_state.eval_shape(plan, params, ())
    return max(leaf.size for leaf in jax.tree.leaves(shapes))


def params_shapes(plan: Plan, input_size: int) -> DeepParams:
    """Give the shapes of a network's parameters: `init` is traced once for those made alike."""
    return compiled_init.eval_shape(plan.without_dropout(), jax.random.key(0), input_size)
