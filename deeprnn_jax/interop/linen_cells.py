"""Cells of flax.linen with their parameters, from and to networks.

linen has one submodule a gate, in this library's gates: "ii", "if", "ig", "io" for x,
"hi" ... for h. The LSTM's one bias is on the recurrent side, those of the GRU and the
simple cell on the input's, and the GRU's b_hn beside it. linen.MGUCell is another
function than `minimal_gated`: its gate f keeps the old state, h = (1 - f) ⊙ n + f ⊙ h,
and acts after the recurrent product, or not at all.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from flax.core import meta

from deeprnn_jax.cells.elman import ElmanParams
from deeprnn_jax.cells.gru import GRUParams
from deeprnn_jax.cells.lstm import LSTMParams
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop import assembly
from deeprnn_jax.interop.assembly import Part, Values
from deeprnn_jax.interop.flax_cells import common_dtype, flax_options, our_cell
from deeprnn_jax.layers.layer import Merge
from deeprnn_jax.parameters import DeepParams
from deeprnn_jax.types import Cell, Params

_LSTM_GATES, _GRU_GATES = "ifgo", "rzn"


def from_linen(
    cells: Any, params: Any, *, merge: str | Merge = "concat"
) -> tuple[DeepRNN, DeepParams]:
    """Make a network and its parameters of flax.linen cells and theirs.

    Args:
      cells: a list with one cell a layer, or one alone: `SimpleCell`, `LSTMCell`,
        `OptimizedLSTMCell` or `GRUCell`. A tuple of two cells, forward and reverse,
        makes a bidirectional layer.
      params: in the same form, each cell's own parameters: for `nn.RNN(cell)`, what is
        under `variables["params"]["cell"]`.
      merge: how two directions are joined, as in `deep_rnn`.

    Returns:
      The network and its parameters. A `residual` SimpleCell's W_h has 1 added to its
      diagonal, which is the same function.

    Raises:
      ValueError: if a cell is another one, or begins with a carry that is not zero.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp
      >>> cell = nn.LSTMCell(features=8)
      >>> variables = nn.RNN(cell).init(jax.random.key(0), jnp.ones((2, 5, 3)))
      >>> rnn, params = from_linen(cell, variables["params"]["cell"])
      >>> params.layers[0].cell.w_x.shape
      (3, 32)

    References:
      `flax.linen.recurrent`.
    """
    rows = assembly.rows_of("from_linen", "cells", cells)
    trees = assembly.rows_of("from_linen", "params", params)
    if [len(row) for row in rows] != [len(row) for row in trees]:
        raise ValueError(
            f"from_linen: params must be in the form of cells, {len(rows)} layers, got "
            f"{len(trees)}; give each cell its own"
        )
    parts = [
        [_read(cell, tree) for cell, tree in zip(row, row_trees, strict=True)]
        for row, row_trees in zip(rows, trees, strict=True)
    ]
    return assembly.assemble(
        "from_linen",
        parts,
        merge=merge,
        compute_dtype=common_dtype("from_linen", [cell for row in rows for cell in row]),
    )


def to_linen(rnn: DeepRNN, params: DeepParams) -> tuple[list[Any], list[Any]]:
    """Make flax.linen cells and their parameters of a network.

    Args:
      rnn: a network of `elman`, `lstm` or `gru(reset_after=True)` layers, without
        readout and skips. What is between cells, dropout and merging, is the caller's.
      params: its parameters.

    Returns:
      Cells and parameters, each a list with one entry a layer, or a tuple of two, as in
      `from_linen`: `SimpleCell`, `OptimizedLSTMCell` (its parameters are `LSTMCell`'s)
      and `GRUCell`. A cell without bias gets one of zeros.

    Raises:
      ValueError: if linen has no such cell.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8))
      >>> cells, trees = to_linen(rnn, rnn.init(jax.random.key(0), input_size=3))
      >>> nn.RNN(cells[0]).apply({"params": {"cell": trees[0]}}, jnp.ones((2, 5, 3))).shape
      (2, 5, 8)
    """
    parts = assembly.take_apart("to_linen", "flax.linen", rnn, params)
    cells = [[_make_cell(part.cell, rnn) for part in row] for row in parts]
    trees = [[_write(part) for part in row] for row in parts]
    return assembly.unwrap(cells), jax.tree.map(jnp.asarray, assembly.unwrap(trees))


def _read(cell: Any, tree: Any) -> Part:
    """Give one linen cell and its parameters as ours, or raise ValueError."""
    kinds = {
        linen.SimpleCell: "elman",
        linen.LSTMCell: "lstm",
        linen.OptimizedLSTMCell: "lstm",
        linen.GRUCell: "gru",
    }
    if type(cell) not in kinds:
        raise ValueError(
            "from_linen: cell must be SimpleCell, LSTMCell, OptimizedLSTMCell or GRUCell, got "
            f"{type(cell).__name__}; give the cell itself, as nn.RNN's cell; what others "
            "compute no cell here does"
        )
    ours = our_cell("from_linen", kinds[type(cell)], cell.features, cell)
    try:
        return Part(ours, _read_gates(ours, meta.unbox(tree), getattr(cell, "residual", False)))
    except (KeyError, TypeError) as error:
        found = sorted(tree) if isinstance(tree, Mapping) else type(tree).__name__
        raise ValueError(
            f"from_linen: params must be those of {type(cell).__name__}, got {found} without "
            f"{error}; give what is under variables['params']['cell']"
        ) from None


def _read_gates(cell: Cell, tree: Mapping[str, Any], residual: bool) -> Params:
    """Join linen's kernels and biases, one a gate."""

    def join(side: str, leaf: str) -> Values:
        return np.concatenate([np.asarray(tree[side + g][leaf]) for g in gates], axis=-1)

    if cell.name == "elman":
        w_x, w_h, b = tree["i"]["kernel"], tree["h"]["kernel"], tree["i"]["bias"]
        if residual:
            w_h = w_h + np.eye(len(w_h), dtype=w_h.dtype)
        return ElmanParams(w_x, w_h, b)
    gates = _LSTM_GATES if cell.name == "lstm" else _GRU_GATES
    w_x, w_h = join("i", "kernel"), join("h", "kernel")
    if cell.name == "lstm":
        return LSTMParams(w_x, w_h, join("h", "bias"), w_p=None, peepholes=None)
    return GRUParams(w_x, w_h, join("i", "bias"), tree["hn"]["bias"])


def _make_cell(cell: Cell, rnn: DeepRNN) -> Any:
    """Give the linen cell that computes what ours does, or raise ValueError."""
    options = flax_options("to_linen", "flax.linen", cell, rnn)
    kinds = {"elman": linen.SimpleCell, "lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}
    return kinds[cell.name](features=cell.output_size, **options)


def _write(part: Part) -> dict[str, dict[str, Values]]:
    """Give the parameters of one layer in one direction in linen's form."""
    params, size = part.params, part.cell.output_size
    b = np.zeros_like(params.w_x[0]) if params.b is None else params.b
    if part.cell.name == "elman":
        return {"i": {"kernel": params.w_x, "bias": b}, "h": {"kernel": params.w_h}}
    gates = _LSTM_GATES if part.cell.name == "lstm" else _GRU_GATES
    tree = {}
    for index, gate in enumerate(gates):
        columns = slice(index * size, (index + 1) * size)
        tree["i" + gate] = {"kernel": params.w_x[:, columns]}
        tree["h" + gate] = {"kernel": params.w_h[:, columns]}
        tree[("h" if part.cell.name == "lstm" else "i") + gate]["bias"] = b[columns]
    if part.cell.name == "gru":
        tree["hn"]["bias"] = np.zeros_like(b[:size]) if params.b_hn is None else params.b_hn
    return tree
