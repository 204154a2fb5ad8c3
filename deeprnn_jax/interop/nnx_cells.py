"""Cells of flax.nnx, which hold their parameters, from and to networks.

`OptimizedLSTMCell` and `GRUCell` have the matrices of this library, `LSTMCell` one a
gate. The GRU resets after the recurrent product, as ours, but has no b_hn.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from deeprnn_jax.cells.elman import ElmanParams
from deeprnn_jax.cells.gru import GRUParams
from deeprnn_jax.cells.lstm import LSTMParams
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop import assembly
from deeprnn_jax.interop.assembly import Part, Values
from deeprnn_jax.interop.flax_cells import common_dtype, flax_options, our_cell
from deeprnn_jax.layers.layer import Merge
from deeprnn_jax.parameters import DeepParams

_KINDS = {
    nnx.SimpleCell: "elman",
    nnx.LSTMCell: "lstm",
    nnx.OptimizedLSTMCell: "lstm",
    nnx.GRUCell: "gru",
}


def from_nnx(cells: Any, *, merge: str | Merge = "concat") -> tuple[DeepRNN, DeepParams]:
    """Make a network and its parameters of flax.nnx cells.

    Args:
      cells: a list with one cell a layer, or one alone: `SimpleCell`, `LSTMCell`,
        `OptimizedLSTMCell` or `GRUCell`. A tuple of two cells, forward and reverse,
        makes a bidirectional layer.
      merge: how two directions are joined, as in `deep_rnn`.

    Returns:
      The network and its parameters. A `residual` SimpleCell's W_h has 1 added to its
      diagonal, which is the same function; a GRU's b_hn is zero.

    Raises:
      ValueError: if a cell is another one, or begins with a carry that is not zero.

    Example:
      >>> from flax import nnx
      >>> rnn, params = from_nnx(nnx.GRUCell(3, 8, rngs=nnx.Rngs(0)))
      >>> params.layers[0].cell.w_x.shape
      (3, 24)

    References:
      `flax.nnx.nn.recurrent`.
    """
    rows = assembly.rows_of("from_nnx", "cells", cells)
    return assembly.assemble(
        "from_nnx",
        [[_read(cell) for cell in row] for row in rows],
        merge=merge,
        compute_dtype=common_dtype("from_nnx", [cell for row in rows for cell in row]),
    )


def to_nnx(rnn: DeepRNN, params: DeepParams) -> list[Any]:
    """Make flax.nnx cells of a network.

    Args:
      rnn: a network of `elman`, `lstm` or `gru(reset_after=True)` layers, without
        readout and skips. What is between cells, dropout and merging, is the caller's.
      params: its parameters; a GRU's b_hn must be zero, for nnx's has none.

    Returns:
      A list with one cell a layer, or a tuple of two: `SimpleCell`, `OptimizedLSTMCell`
      or `GRUCell`. A cell without bias gets one of zeros.

    Raises:
      ValueError: if nnx has no such cell.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> from flax import nnx
      >>> rnn = drnn.deep_rnn(drnn.lstm(8))
      >>> cells = to_nnx(rnn, rnn.init(jax.random.key(0), input_size=3))
      >>> nnx.RNN(cells[0])(jnp.ones((2, 5, 3))).shape
      (2, 5, 8)
    """
    parts = assembly.take_apart("to_nnx", "flax.nnx", rnn, params)
    return assembly.unwrap([[_write(part, rnn) for part in row] for row in parts])


def _read(cell: Any) -> Part:
    """Give one nnx cell and its parameters as ours, or raise ValueError."""
    if type(cell) not in _KINDS:
        raise ValueError(
            f"from_nnx: cell must be one of {[kind.__name__ for kind in _KINDS]}, got "
            f"{type(cell).__name__}; give the cell itself, as nnx.RNN's cell; what others "
            "compute no cell here does"
        )
    ours = our_cell("from_nnx", _KINDS[type(cell)], cell.hidden_features, cell)
    if isinstance(cell, nnx.LSTMCell):
        w_x = _join([cell.ii, cell.if_, cell.ig, cell.io], "kernel")
        gates = [cell.hi, cell.hf, cell.hg, cell.ho]
        w_h, b = _join(gates, "kernel"), _join(gates, "bias")
    else:
        w_x, w_h = _join([cell.dense_i], "kernel"), _join([cell.dense_h], "kernel")
        b = _join([cell.dense_h if ours.name == "lstm" else cell.dense_i], "bias")
    if ours.name == "lstm":
        return Part(ours, LSTMParams(w_x, w_h, b, w_p=None, peepholes=None))
    if ours.name == "gru":
        return Part(ours, GRUParams(w_x, w_h, b, b_hn=np.zeros_like(w_h[0, : len(w_h)])))
    if getattr(cell, "residual", False):
        w_h = w_h + np.eye(len(w_h), dtype=w_h.dtype)
    return Part(ours, ElmanParams(w_x, w_h, b))


def _join(gates: list[Any], leaf: str) -> Values:
    """Give the kernels or biases of nnx.Linear modules side by side."""
    return np.concatenate([np.asarray(getattr(gate, leaf)[...]) for gate in gates], axis=-1)


def _write(part: Part, rnn: DeepRNN) -> Any:
    """Give the nnx cell of one layer in one direction, or raise ValueError."""
    options = flax_options("to_nnx", "flax.nnx", part.cell, rnn)
    params, name = part.params, part.cell.name
    if name == "gru" and params.b_hn is not None and np.any(params.b_hn):
        raise ValueError(
            "to_nnx: gru must have b_hn = 0, got another, which nnx.GRUCell does not have; "
            "use interop.nnx.DeepRNN, or to_linen, whose GRUCell has it"
        )
    kinds = {"elman": nnx.SimpleCell, "lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}
    input_size, size = params.w_x.shape[0], part.cell.output_size
    # abstract first: nothing is drawn that is thrown away
    cell = nnx.eval_shape(lambda: kinds[name](input_size, size, **options, rngs=nnx.Rngs(0)))
    b = np.zeros_like(params.w_x[0]) if params.b is None else params.b
    set_value(cell.dense_i.kernel, params.w_x)
    set_value(cell.dense_h.kernel, params.w_h)
    set_value((cell.dense_h if name == "lstm" else cell.dense_i).bias, b)
    return cell


def set_value(variable: Any, value: Any) -> None:
    """Set what an nnx variable holds."""
    if hasattr(type(variable), "set_value"):  # from flax 0.12
        variable.set_value(jnp.asarray(value))
    else:
        variable.value = jnp.asarray(value)
