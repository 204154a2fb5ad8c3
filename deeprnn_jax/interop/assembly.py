"""What all converters share: from layers of weights to a network, and back.

A converter reads one layer, one direction at a time, as a `Part`; here parts
become a network, with the checks that hold for every library.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax import checks
from deeprnn_jax.cells.elman import elman
from deeprnn_jax.cells.gru import gru
from deeprnn_jax.cells.lstm import lstm
from deeprnn_jax.deep import DeepRNN, check_network, deep_rnn
from deeprnn_jax.interop import activations
from deeprnn_jax.layers.entries import by_layer, join, take
from deeprnn_jax.layers.layer import LayerParams, Merge
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.parameters import DeepParams, params_shapes
from deeprnn_jax.types import Cell, Params

Values = Any  # a NumPy array, where a cell's own parameters are JAX's


class Part(NamedTuple):
    """One layer in one direction."""

    cell: Cell
    params: Params  # of `Values`


def import_library(function: str, name: str, extra: str = "parity") -> Any:
    """Import an optional library, or raise ImportError that says how to get it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # the library is there, something that it needs is not
            raise
        raise ImportError(
            f"{function}: needs {name}, which is not installed; pip install 'deeprnn_jax[{extra}]'"
        ) from error


def assemble(
    function: str,
    layers: Sequence[Sequence[Part]],
    *,
    merge: str | Merge = "concat",
    dropout: float = 0.0,
    compute_dtype: Any = None,
) -> tuple[DeepRNN, DeepParams]:
    """Make a network of layers that a converter has read.

    Args:
      function: the public function's name.
      layers: one entry a layer, the first to read x first; each one part, or two:
        forward and reverse.
      merge: how two directions are joined.
      dropout: as in `deep_rnn`; of one layer, after which nothing is dropped, it is not used.
      compute_dtype: as in `deep_rnn`. The parameters' dtype is that of the weights.

    Returns:
      The network and its parameters.

    Raises:
      ValueError: if the layers do not fit each other, or cannot be held in JAX.
    """
    if not layers:
        raise ValueError(f"{function}: got no layers; give one or more")
    directions = len(layers[0])
    if any(len(parts) != directions for parts in layers):
        raise ValueError(
            f"{function}: got layers with one direction beside layers with two; "
            "convert them one at a time and call one network after the other"
        )
    for index, (forward, reverse) in enumerate((parts[0], parts[-1]) for parts in layers):
        said = checks.difference("reverse", forward.params, reverse.params)
        if forward.cell != reverse.cell:
            said = f"got {forward.cell.settings} and {reverse.cell.settings}"
        if said is not None:
            raise ValueError(
                f"{function}: the two directions of layer {index} must be alike: {said}; convert "
                "them as two networks"
            )
    dtype = _common_dtype(function, layers)
    rnn = deep_rnn(
        [parts[0].cell for parts in layers],
        bidirectional=directions == 2,
        merge=merge,
        dropout=dropout if len(layers) > 1 else 0.0,  # deep_rnn would warn, as the library has
        param_dtype=dtype,
        compute_dtype=compute_dtype,
    )
    trees = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype), [[part.params for part in row] for row in layers]
    )
    params = DeepParams(tuple(LayerParams(join_directions(row)) for row in trees))
    said = checks.difference(
        "params", params_shapes(rnn.plan, len(layers[0][0].params.w_x)), params
    )
    if said is not None:
        raise ValueError(
            f"{function}: the layers do not fit each other, or their weights: {said}; give them "
            "in the order in which x passes them, each with its own"
        )
    return rnn, params


def rows_of(function: str, argument: str, value: Any) -> list[tuple[Any, ...]]:
    """Give one tuple a layer, of one or two directions.

    Args:
      function: the public function's name.
      argument: the argument's name.
      value: one layer, or a list of them; a layer is anything but a list, and a tuple
        (forward, reverse) where it has two directions.

    Returns:
      The layers.

    Raises:
      ValueError: if a tuple has not two entries.
    """
    entries = value if isinstance(value, list) else [value]
    rows = [entry if isinstance(entry, tuple) else (entry,) for entry in entries]
    for row, entry in zip(rows, entries, strict=True):
        if isinstance(entry, tuple) and len(row) != 2:
            raise ValueError(
                f"{function}: {argument} must be one a layer in a list, and a tuple of two for "
                f"two directions, got a tuple of {len(row)}"
            )
    return rows


def unwrap(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Give one entry a layer, a tuple of two for two directions: `rows_of`'s inverse."""
    return [row[0] if len(row) == 1 else tuple(row) for row in rows]


def take_apart(function: str, library: str, rnn: DeepRNN, params: DeepParams) -> list[list[Part]]:
    """Give the layers of a network that is made of cells alone.

    Args:
      function: the public function's name.
      library: what the layers go to, for the messages.
      rnn: a network without readout, skip connections and layer normalisation.
      params: its parameters.

    Returns:
      One list a layer with one part, or two: forward and reverse.

    Raises:
      ValueError: if the network has more than cells, or the parameters are not its own.
    """
    check_network(function, rnn)
    plan = rnn.plan
    skips = [layer.skip for layer in plan.layers if layer.skip is not None]
    extras = {
        "output_size": plan.output_size,
        "skip": "dense" if plan.is_dense else next(iter(skips), None),
        "normalize_inputs": any(layer.norm for layer in plan.layers) or None,
        "locked_dropout": any(layer.locked for layer in plan.layers) or None,
    }
    for option, value in extras.items():
        if value is not None:
            raise ValueError(
                f"{function}: rnn must be cells alone, got {option}={value!r}, which "
                f"{library}'s layers do not have; convert a deep_rnn without it and write "
                "that part in the other library"
            )
    for cell in plan.cells:
        settings_of(function, library, cell)
    said = checks.difference("params", params_shapes(rnn.plan, _input_size_of(params)), params)
    if said is not None:
        raise ValueError(
            f"{function}: params are not of this network: {said}; use this network's init"
        )
    layers = by_layer(plan, jax.tree.map(np.asarray, params.layers))
    return [
        [Part(cell, tree) for tree in split_directions(plan, layer.cell)]
        for cell, layer in zip(plan.cells, layers, strict=True)
    ]


def settings_of(function: str, library: str, cell: Cell) -> dict[str, Any]:
    """Give the arguments that a cell was made with, if it is one that libraries have."""
    if cell.made is None or cell.made.factory not in (elman, lstm, gru):
        raise ValueError(
            f"{function}: cell must be elman, lstm or gru without a modifier, got "
            f"{cell.name!r}, which {library} does not have; a cell inside a modifier "
            "can be converted on its own, in a network without the modifier"
        )
    return cell.settings


def require(function: str, library: str, cell: Cell, **wanted: Any) -> None:
    """Raise ValueError unless the cell's settings have the wanted values."""
    settings = settings_of(function, library, cell)
    for name, value in wanted.items():
        if settings[name] != value:
            raise ValueError(
                f"{function}: {cell.name} must have {name}={value!r}, got {settings[name]!r}, "
                f"which {library} does not have; make and train the network with "
                f"drnn.{cell.name}(..., {name}={value!r})"
            )


def require_activation(function: str, library: str, cell: Cell, argument: str, name: str) -> None:
    """Raise ValueError unless the cell's activation is the one of that name."""
    activation = settings_of(function, library, cell)[argument]
    if activations.name_of(activation) != name:
        raise ValueError(
            f"{function}: {cell.name} must have {argument} {name}, got {activation!r}, which "
            f"{library} does not have; it is part of what the network learnt and cannot be "
            "converted"
        )


def require_plain_gates(function: str, library: str, cell: Cell, *, reset_after: bool) -> None:
    """Raise ValueError unless an lstm or a gru is the plain one, with tanh and sigmoid.

    Args:
      function: the public function's name.
      library: what the cell goes to, for the messages.
      cell: an `lstm` or a `gru`.
      reset_after: where the library's GRU resets.
    """
    require_activation(function, library, cell, "gate_activation", "sigmoid")
    if cell.name == "gru":
        require(function, library, cell, reset_after=reset_after)
        require_activation(function, library, cell, "activation", "tanh")
    else:
        require(function, library, cell, peepholes=False, coupled=False, projection_size=None)
        require_activation(function, library, cell, "cell_activation", "tanh")


def reorder_gates(w: Values, order: Sequence[int]) -> Values:
    """Give w `[..., G*H]` with its blocks of H columns in another order."""
    blocks = np.split(w, len(order), axis=-1)
    return np.concatenate([blocks[index] for index in order], axis=-1)


def split_directions(plan: Plan, tree: Any) -> list[Any]:
    """Give what a layer's cell holds, one entry a direction."""
    return [tree] if plan.merge is None else [take(tree, direction) for direction in (0, 1)]


def join_directions(trees: Sequence[Any]) -> Any:
    """Give one entry a direction as a layer's cell holds them: `split_directions`'s inverse."""
    return trees[0] if len(trees) == 1 else join(trees)


def _input_size_of(params: Any) -> int:
    """Give the width of x that parameters were made for, or 1 if they are no cells' with w_x."""
    try:
        return params.layers[0].cell.w_x.shape[-2]
    except (AttributeError, IndexError, TypeError):
        return 1


def _common_dtype(function: str, layers: Sequence[Sequence[Part]]) -> Any:
    """Give the weights' one dtype, if JAX can hold it."""
    leaves = jax.tree.leaves([part.params for parts in layers for part in parts])
    dtypes = {jnp.dtype(leaf.dtype) for leaf in leaves}
    if len(dtypes) > 1 or not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(
            f"{function}: all weights must have one floating-point dtype, got "
            f"{sorted(map(str, dtypes))}; cast the module first"
        )
    dtype = dtypes.pop()
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            f"{function}: weights are {dtype}, which JAX does not hold by default; call "
            "jax.config.update('jax_enable_x64', True), or cast the module to float32"
        )
    return dtype
