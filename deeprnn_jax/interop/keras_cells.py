"""The cells of Keras 3, one at a time: settings, weights, activations.

Keras keeps its matrices as this library does, `kernel [I, G*H]`. Its gate orders are
i, f, c, o (ours, where c is g) and z, r, h (ours is r, z, n); the GRU that resets
after the product has a bias `[2, 3*H]`, one row for the input and one for the state.
"""

from typing import Any

import numpy as np

from deeprnn_jax.cells.elman import ElmanParams, elman
from deeprnn_jax.cells.gru import GRUParams, gru
from deeprnn_jax.cells.lstm import LSTMParams, lstm
from deeprnn_jax.checks import Activation
from deeprnn_jax.interop import activations, assembly
from deeprnn_jax.interop.assembly import Part, Values
from deeprnn_jax.types import Cell, Params

_KINDS = ("SimpleRNNCell", "LSTMCell", "GRUCell")
_SWAP_RZ = (1, 0, 2)  # r, z, n to Keras's z, r, h, and back


def read_cell(cell: Any) -> Part:
    """Give the cell that computes what a Keras cell does, and its parameters."""
    _check_cell(cell)
    return Part(_make_cell(cell), _read_weights(cell))


def write_weights(part: Part) -> list[Values]:
    """Give the weights of a Keras layer: kernel, recurrent kernel and bias."""
    weights = [part.params.w_x, part.params.w_h]
    if part.params.b is not None:
        weights.append(part.params.b)
    if part.cell.name != "gru":
        return weights
    weights = [assembly.reorder_gates(w, _SWAP_RZ) for w in weights]
    b_hn = part.params.b_hn
    if b_hn is not None:
        weights[2] = np.stack([weights[2], np.pad(b_hn, (2 * b_hn.size, 0))])
    return weights


def layer_options(cell: Cell) -> tuple[str, dict[str, Any]]:
    """Give the Keras class of a cell and its options, or raise ValueError."""
    settings = assembly.settings_of("to_keras", "Keras", cell)

    def named(argument: str) -> Any:
        return _activation_for_keras(cell, argument, settings[argument])

    options = {"units": settings["hidden_size"], "use_bias": settings["use_bias"]}
    if cell.name == "elman":
        return "SimpleRNN", options | {"activation": named("activation")}
    options["recurrent_activation"] = named("gate_activation")
    if cell.name == "gru":
        options["reset_after"] = bool(settings["reset_after"])
        return "GRU", options | {"activation": named("activation")}
    assembly.require(
        "to_keras", "Keras", cell, peepholes=False, coupled=False, projection_size=None
    )
    return "LSTM", options | {"activation": named("cell_activation")}


def _check_cell(cell: Any) -> None:
    """Raise ValueError unless a Keras cell is one of ours, built, without dropout."""
    kind = type(cell).__name__
    if kind not in _KINDS or getattr(cell, "kernel", None) is None:
        raise ValueError(
            f"from_keras: cell must be a built {', '.join(_KINDS)}, got {kind}; call "
            "layer.build((None, None, input_size)) first"
        )
    for option in ("dropout", "recurrent_dropout"):
        if getattr(cell, option, 0.0):
            raise ValueError(
                f"from_keras: {kind} must have {option}=0, got {getattr(cell, option)}; set "
                "layer.cell's to 0, and use drnn.variational_dropout or Dropout layers"
            )


def _make_cell(cell: Any) -> Cell:
    kind = type(cell).__name__
    activation = _activation(cell.activation)
    if kind == "SimpleRNNCell":
        return elman(cell.units, activation, use_bias=cell.use_bias)
    gate_activation = _activation(cell.recurrent_activation)
    if kind == "LSTMCell":
        return lstm(
            cell.units,
            gate_activation=gate_activation,
            cell_activation=activation,
            use_bias=cell.use_bias,
        )
    return gru(
        cell.units,
        reset_after=cell.reset_after,
        gate_activation=gate_activation,
        activation=activation,
        use_bias=cell.use_bias,
    )


def _read_weights(cell: Any) -> Params:
    weights: list[Values] = [np.asarray(w) for w in (cell.kernel, cell.recurrent_kernel)]
    w_x, w_h = weights
    b: Values | None = np.asarray(cell.bias) if cell.use_bias else None
    kind = type(cell).__name__
    if kind == "SimpleRNNCell":
        return ElmanParams(w_x, w_h, b)
    if kind == "LSTMCell":
        return LSTMParams(w_x, w_h, b, w_p=None, peepholes=None)
    b_hn = None
    if b is not None and cell.reset_after:
        b_x, b_h = b
        b_hn = b_h[2 * cell.units :]
        b = b_x + np.pad(b_h[: 2 * cell.units], (0, cell.units))
    w_x, w_h = (assembly.reorder_gates(w, _SWAP_RZ) for w in (w_x, w_h))
    b = None if b is None else assembly.reorder_gates(b, _SWAP_RZ)
    return GRUParams(w_x, w_h, b, b_hn)


def _activation(function: Any) -> Activation:
    """Give the JAX function of a Keras activation, or raise ValueError."""
    name = getattr(function, "__name__", None)
    if _is_of_keras(function) and name in activations.NAMED:
        return activations.NAMED[name]
    if assembly.import_library("from_keras", "keras").backend.backend() == "jax":
        return function
    raise ValueError(
        f"from_keras: activation must be one of {sorted(activations.NAMED)}, got {function!r}; "
        "any other needs Keras on JAX, KERAS_BACKEND=jax"
    )


def _activation_for_keras(cell: Cell, argument: str, function: Activation) -> Any:
    """Give Keras's name of an activation, or Keras's own function, or raise ValueError."""
    name = activations.name_of(function)
    if name is None and not _is_of_keras(function):
        raise ValueError(
            f"to_keras: {cell.name} must have {argument} one of {sorted(activations.NAMED)} of "
            f"jax.nn, or a function of keras.activations, got {function!r}"
        )
    return name or function


def _is_of_keras(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).split(".")[0] == "keras"
