"""A network called as Flax calls its own RNN, and its parameters by name.

Shared by `linen.DeepRNN` and `nnx.DeepRNN`. Flax wants parameters as nested
dictionaries; here they are

    layer_0          the first layer: cell (w_x, w_h, b ...), norm, highway
    layers_1_to_3    equal layers, stacked: each array has a leading axis of 3
    readout          w, b

with the names of `DeepParams` and of each cell's own parameters below.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen.recurrent import flip_sequences

from deeprnn_jax.checks import check_floating, check_lengths
from deeprnn_jax.deep import DeepParams, DeepRNN, DeepState
from deeprnn_jax.types import Array


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
      schedule: as in `deep_rnn`.
      checkpoint_every: as in `deep_rnn`.

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
      >>> tree["layers_1_to_2"]["cell"]["w_x"].shape
      (2, 8, 24)
    """
    tree = dict(zip(_run_names(rnn), map(_to_names, params.layers), strict=True))
    if params.readout is not None:
        tree["readout"] = _to_names(params.readout)
    return tree


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
    """
    like = _params_like(rnn.init, input_size)
    parts = dict(zip(_run_names(rnn), like.layers, strict=True)) | {"readout": like.readout}
    filled = _from_names(parts, tree, "")
    readout = filled.pop("readout", None)
    return DeepParams(tuple(filled.values()), readout)


@lru_cache(maxsize=64)
def _params_like(init: Any, input_size: int) -> DeepParams:
    return jax.eval_shape(lambda: init(jax.random.key(0), input_size))


def _run_names(rnn: DeepRNN) -> list[str]:
    names = []
    for run in rnn.plan.runs:
        last = run.start + run.size - 1
        names.append(f"layer_{last}" if run.size == 1 else f"layers_{run.start}_to_{last}")
    return names


def _to_names(tree: Any) -> Any:
    if hasattr(tree, "_fields"):
        return {name: _to_names(v) for name, v in tree._asdict().items() if v is not None}
    return tree


def _from_names(like: Any, tree: Any, path: str) -> Any:
    """Give `tree` in the form of `like`: a NamedTuple, or a dictionary of such."""
    entries = like._asdict() if hasattr(like, "_fields") else like
    if not isinstance(entries, dict):
        return tree
    wanted = {name: one for name, one in entries.items() if one is not None}
    if not isinstance(tree, Mapping) or set(wanted) != set(tree):
        found = sorted(tree) if isinstance(tree, Mapping) else type(tree).__name__
        raise ValueError(
            f"DeepRNN: parameters{path} must have {sorted(wanted)}, got {found}; are they of "
            "another network?"
        )
    filled = {n: _from_names(one, tree[n], f"{path}[{n!r}]") for n, one in wanted.items()}
    return like._replace(**filled) if hasattr(like, "_fields") else filled
