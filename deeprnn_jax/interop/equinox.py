"""Networks from and to Equinox's LSTMCell and GRUCell.

Equinox keeps each matrix transposed, `weight_ih [G*H, I]`, in the gate order of this
library, i, f, g, o and r, z, n, and has one bias, as here. The GRU's `bias_n` is inside the
reset gate's product: our b_hn.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.cells.gru import GRUParams, gru
from deeprnn_jax.cells.lstm import LSTMParams, lstm
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop import assembly
from deeprnn_jax.interop.assembly import Part, Values
from deeprnn_jax.layers.layer import Merge
from deeprnn_jax.parameters import DeepParams
from deeprnn_jax.types import Cell

_GATES = {"LSTMCell": 4, "GRUCell": 3}


def from_equinox(modules: Any, *, merge: str | Merge = "concat") -> tuple[DeepRNN, DeepParams]:
    """Make a network and its parameters of Equinox's cells.

    The cells are only read, by the names of their attributes. An Equinox cell runs one step
    of one row; the network runs `[T, *B, I]`, and equals `jax.vmap` of a scan over the cells.

    Args:
      modules: a list with one `eqx.nn.LSTMCell` or `eqx.nn.GRUCell` a layer, or one alone,
        with or without bias. A tuple of two cells, forward and reverse, makes a
        bidirectional layer.
      merge: how two directions are joined, as in `deep_rnn`.

    Returns:
      The network and its parameters, in the cells' dtype. Equinox's states are in the form of
      Haiku's, h and (h, c): `state_from_haiku` reads them.

    Raises:
      ValueError: if a module is another one, or the layers do not fit each other.

    Example:
      >>> import equinox as eqx, jax                             # doctest: +SKIP
      >>> from deeprnn_jax import interop                        # doctest: +SKIP
      >>> k_1, k_2 = jax.random.split(jax.random.key(0))         # doctest: +SKIP
      >>> cells = [eqx.nn.GRUCell(3, 8, key=k_1), eqx.nn.GRUCell(8, 8, key=k_2)]  # doctest: +SKIP
      >>> rnn, params = interop.from_equinox(cells)              # doctest: +SKIP

    References:
      `equinox.nn.LSTMCell` and `equinox.nn.GRUCell`.
    """
    rows = assembly.rows_of("from_equinox", "modules", modules)
    parts = [[_read(module) for module in row] for row in rows]
    return assembly.assemble("from_equinox", parts, merge=merge)


def to_equinox(rnn: DeepRNN, params: DeepParams) -> list[Any]:
    """Make Equinox cells of a network.

    Args:
      rnn: a network of `lstm` or `gru` (reset after the product) layers with tanh and
        sigmoid, without readout and skips.
      params: its parameters.

    Returns:
      A list with one `eqx.nn.LSTMCell` or `eqx.nn.GRUCell` a layer, or a tuple of two, as
      in `from_equinox`, in the parameters' dtype.

    Raises:
      ValueError: if Equinox has no such cell.
      ImportError: if Equinox is not installed.

    Example:
      >>> import jax, deeprnn_jax as drnn                        # doctest: +SKIP
      >>> from deeprnn_jax import interop                        # doctest: +SKIP
      >>> rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=2)        # doctest: +SKIP
      >>> params = rnn.init(jax.random.key(0), input_size=3)     # doctest: +SKIP
      >>> [cell.weight_ih.shape for cell in interop.to_equinox(rnn, params)]  # doctest: +SKIP
      [(32, 3), (32, 8)]
    """
    parts = assembly.take_apart("to_equinox", "Equinox", rnn, params)
    for row in parts:
        _check_cell(row[0].cell)
    eqx = assembly.import_library("to_equinox", "equinox")
    return assembly.unwrap([[_write(eqx, part) for part in row] for row in parts])


def _read(module: Any) -> Part:
    """Give our cell of one of Equinox's, and its parameters."""
    # torch's cells have the same names, of classes and of weights
    names = [one.__name__ for one in type(module).__mro__ if one.__module__.startswith("equinox.")]
    kind = next((name for name in names if name in _GATES), None)
    if kind is None or not hasattr(module, "weight_ih"):
        found = f"{type(module).__name__} of {type(module).__module__.split('.')[0]}"
        raise ValueError(
            f"from_equinox: a module must be an eqx.nn.LSTMCell or eqx.nn.GRUCell, got {found}; "
            "give the cells of a model in a list"
        )
    w_ih, w_hh, size = module.weight_ih, module.weight_hh, module.hidden_size
    if np.shape(w_hh) != (_GATES[kind] * size, size):
        raise ValueError(
            f"from_equinox: weight_hh must be [G*H, H] = {(_GATES[kind] * size, size)}, got "
            f"{np.shape(w_hh)}; of cells stacked by eqx.filter_vmap give one at a time"
        )
    w_x: Values = np.asarray(w_ih).T
    w_h: Values = np.asarray(w_hh).T
    b = module.bias
    if kind == "LSTMCell":
        cell = lstm(size, use_bias=b is not None)
        return Part(cell, LSTMParams(w_x, w_h, b, w_p=None, peepholes=None))
    return Part(gru(size, use_bias=b is not None), GRUParams(w_x, w_h, b, module.bias_n))


def _write(eqx: Any, part: Part) -> Any:
    """Give Equinox's cell of one layer in one direction."""
    w_x, w_h, b = part.params.w_x, part.params.w_h, part.params.b
    arrays = {"weight_ih": w_x.T, "weight_hh": w_h.T, "bias": b}
    kind = "LSTMCell"
    if part.cell.name == "gru":
        kind, arrays["bias_n"] = "GRUCell", part.params.b_hn
    # made without values: nothing is drawn
    cell = eqx.filter_eval_shape(
        getattr(eqx.nn, kind), len(w_x), len(w_h), b is not None, w_x.dtype, key=jax.random.key(0)
    )
    arrays = {name: jnp.asarray(array) for name, array in arrays.items() if array is not None}
    return eqx.tree_at(
        lambda cell: [getattr(cell, name) for name in arrays], cell, list(arrays.values())
    )


def _check_cell(cell: Cell) -> None:
    """Raise ValueError unless Equinox has the cell."""
    if cell.name == "elman":
        raise ValueError(
            "to_equinox: cell must be lstm or gru, got elman, which Equinox does not have; write "
            "its step, tanh(w_x.T @ x + w_h.T @ h + b), in a module of your own"
        )
    assembly.require_plain_gates("to_equinox", "Equinox", cell, reset_after=True)
