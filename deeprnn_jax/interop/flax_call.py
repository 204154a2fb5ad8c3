"""A network called as Flax calls its own RNN, and its parameters by name.

Shared by `linen.DeepRNN` and `nnx.DeepRNN`. Flax wants parameters as nested
dictionaries; here they are

    layer_0, layer_1, ...    a layer: cell (w_x, w_h, b ...), norm, highway
    readout                  w, b

with the names of each cell's own parameters below. Of a network with `stack_layers=True`
each array has a leading axis, and `layers_1_to_3` are three equal layers.
"""

from collections.abc import Mapping, Set
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen.recurrent import flip_sequences
from flax.traverse_util import unflatten_dict

from deeprnn_jax.checks import check_floating, check_lengths
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.parameters import DeepParams, DeepState, params_shapes
from deeprnn_jax.types import Array

Names = tuple[str, ...]  # of one array, from the outermost dictionary inwards
Form = Any  # of parameters: what `jax.tree.structure` gives


def call_network(
    rnn: DeepRNN,
    params: DeepParams,
    inputs: Array,
    *,
    initial_carry: DeepState | None,
    seq_lengths: Array | None,
    time_major: bool,
    reverse: bool,
    keep_order: bool,
    key: Array | None,
    schedule: str,
    checkpoint_every: int | str | None,
) -> tuple[DeepState, Array]:
    """Run a network over inputs in Flax's conventions.

    Args:
      rnn: the network.
      params: its parameters.
      inputs: `[*B, T, F]`, or `[T, *B, F]` if time_major.
      initial_carry: the network's state; None: its initial one.
      seq_lengths: int `[*B]`, the real steps of each row, or None.
      time_major: whether time is the first axis, of outputs too.
      reverse: whether each row's real steps are read from the last to the first.
      keep_order: whether outputs of a reverse run go back to the order of inputs.
      key: for dropout and the like; None: no randomness.
      schedule: as in `DeepRNN.apply`.
      checkpoint_every: as in `DeepRNN.apply`.

    Returns:
      The state after the last real step, and y `[*B, T, H]` or `[T, *B, H]`.

    Raises:
      ValueError: if an argument does not fit.
    """
    check_floating("DeepRNN", "inputs", inputs)
    if inputs.ndim < 2:
        form = "[T, *B, F]" if time_major else "[*B, T, F]"
        raise ValueError(f"DeepRNN: inputs must be {form}, got shape {inputs.shape}")
    x = inputs if time_major else jnp.moveaxis(inputs, -2, 0)
    if seq_lengths is not None:
        check_lengths("DeepRNN", seq_lengths, x.shape[0], x.shape[1:-1])
    flip = partial(
        flip_sequences, seq_lengths=seq_lengths, num_batch_dims=x.ndim - 2, time_major=True
    )
    state, y = rnn.apply(
        params,
        flip(x) if reverse else x,
        initial_carry,
        lengths=seq_lengths,
        key=key,
        schedule=schedule,
        checkpoint_every=checkpoint_every,
    )
    if reverse and keep_order:
        y = flip(y)
    return state, y if time_major else jnp.moveaxis(y, 0, -2)


def check_network(rnn: Any) -> None:
    """Raise ValueError unless `rnn` is a network."""
    if not isinstance(rnn, DeepRNN):
        raise ValueError(
            f"DeepRNN: rnn must be a network, got {type(rnn).__name__}; for example "
            "drnn.deep_rnn(drnn.lstm(64), num_layers=2)"
        )


def name_params(rnn: DeepRNN, params: DeepParams) -> dict[str, Any]:
    """Give parameters as nested dictionaries, by name.

    Args:
      rnn: the network.
      params: its parameters.

    Returns:
      Dictionaries of arrays, as the module's docstring shows them.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=3)
      >>> tree = name_params(rnn, rnn.init(jax.random.key(0), input_size=4))
      >>> tree["layer_2"]["cell"]["w_x"].shape
      (8, 24)
    """
    return unflatten_dict(dict(zip(_names(rnn, params), jax.tree.leaves(params), strict=True)))


def unname_params(rnn: DeepRNN, tree: Mapping[str, Any], input_size: int) -> DeepParams:
    """Give a network's parameters from nested dictionaries: `name_params`'s inverse.

    Args:
      rnn: the network.
      tree: dictionaries of arrays.
      input_size: I, the width of x.

    Returns:
      The parameters.

    Raises:
      ValueError: if a name is missing, or is not of this network.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=3)
      >>> params = rnn.init(jax.random.key(0), input_size=4)
      >>> unname_params(rnn, name_params(rnn, params), 4).layers[2].cell.w_x.shape
      (8, 24)
    """
    # Only `init` knows of which types a cell's parameters are. Nothing is kept here; jit,
    # which keeps init's own trace, makes it 1 ms a call for 4 layers instead of 16.
    return fill(rnn, jax.tree.structure(params_shapes(rnn.plan, input_size)), tree)


def fill(rnn: DeepRNN, form: Form, tree: Mapping[str, Any]) -> DeepParams:
    """Give a network's parameters from nested dictionaries, their form being known.

    Args:
      rnn: the network.
      form: of its parameters.
      tree: dictionaries of arrays.

    Raises:
      ValueError: if a name is missing, or is not of this network.
    """
    wanted = _names(rnn, jax.tree.unflatten(form, range(form.num_leaves)))
    found = _flatten(tree)
    if set(wanted) != found.keys():
        raise ValueError(
            "DeepRNN: parameters must have the names that name_params gives, but "
            f"{_some(set(wanted) - found.keys())} missing, and "
            f"{_some(found.keys() - set(wanted))} too much; are they of another network?"
        )
    return jax.tree.unflatten(form, [found[names] for names in wanted])


def _some(names: Set[Names]) -> str:
    """Give the first of some names and how many others there are, as what is said of them."""
    first, *others = sorted(map("/".join, names)) or ["nothing"]
    return f"{first} and {len(others)} more are" if others else f"{first} is"


def _names(rnn: DeepRNN, params: DeepParams) -> list[Names]:
    """Give the names of each array, in the order of `jax.tree.leaves(params)`."""
    plan = rnn.plan
    entries = [f"layer_{index}" for index in range(len(plan.layers))]
    if plan.stack_layers:
        entries = [
            f"layer_{start}" if size == 1 else f"layers_{start}_to_{start + size - 1}"
            for start, size in plan.groups
        ]
    parts = [*zip(entries, params.layers, strict=True), ("readout", params.readout)]
    return [(entry, *names) for entry, tree in parts for names in _flatten(tree)]


def _flatten(tree: Any) -> dict[Names, Any]:
    """Give each leaf by the names of the keys, fields and indices on the way to it."""
    return {
        tuple(jax.tree_util.keystr((key,), simple=True) for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
