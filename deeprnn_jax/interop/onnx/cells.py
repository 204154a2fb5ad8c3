"""ONNX's RNN, LSTM and GRU nodes: weights and settings of one node, or one layer.

ONNX keeps each matrix transposed and with an axis of directions, `W [D, G*H, I]`, in the
gate orders i, o, f, c (ours is i, f, g, o) and z, r, h (ours is r, z, n); `B [D, 2*G*H]`
has a bias for the input and one for the state, `P [D, 3*H]` the peepholes i, o, f.

`input_forget` is not in ONNX's equations; onnxruntime's is f = 1 - i, where ours is
i = 1 - f. 1 - σ(z) = σ(-z), so that the one is the other with its weights negated.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from deeprnn_jax.cells.elman import ElmanParams, elman
from deeprnn_jax.cells.gru import GRUParams, gru
from deeprnn_jax.cells.lstm import LSTMParams, Peepholes, lstm
from deeprnn_jax.checks import Activation
from deeprnn_jax.interop import activations, assembly
from deeprnn_jax.interop.assembly import Part, Values
from deeprnn_jax.interop.onnx import activations as onnx_activations
from deeprnn_jax.types import Cell, Params

DIRECTIONS = {
    "forward": ("forward",),
    "reverse": ("reverse",),
    "bidirectional": ("forward", "reverse"),
}
OPERATORS = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}
NUM_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DEFAULT_ACTIVATIONS = {
    "RNN": ["Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
}
_FROM_IOFC = (0, 2, 3, 1)
_TO_IOFC = (0, 3, 1, 2)
_SWAP_RZ = (1, 0, 2)  # r, z, n to ONNX's z, r, h, and back


def read_parts(
    where: str, operator: str, attributes: dict[str, Any], weights: dict[str, Values]
) -> list[Part]:
    """Give the cell and parameters of a node, one entry a direction.

    Args:
      where: the node, for messages.
      operator: RNN, LSTM or GRU.
      attributes: the node's.
      weights: W and R, and B and P where the node has them.

    Raises:
      ValueError: if no cell computes what the node does.
    """
    directions = len(DIRECTIONS[attributes.get("direction", "forward")])
    _check_shapes(where, operator, attributes, weights, directions)
    names = attributes.get("activations") or _DEFAULT_ACTIVATIONS[operator] * directions
    count = len(_DEFAULT_ACTIVATIONS[operator])
    if len(names) != count * directions:
        raise ValueError(
            f"from_onnx: {where} must have {count * directions} activations, got {names}; give "
            f"{count} for each direction"
        )
    constants = [attributes.get(f"activation_{one}", ()) for one in ("alpha", "beta")]
    functions = onnx_activations.read(names, *constants)
    parts = []
    for d in range(directions):
        cell = _make_cell(
            where, operator, attributes, weights, functions[count * d : count * (d + 1)]
        )
        parts.append(Part(cell, _read(cell, {name: w[d] for name, w in weights.items()})))
    return parts


def write_parts(parts: Sequence[Part]) -> tuple[dict[str, Any], dict[str, Values]]:
    """Give the attributes and weights of the node of a layer, but its direction.

    Args:
      parts: one entry a direction.

    Raises:
      ValueError: if ONNX has no such node.
    """
    cell = parts[0].cell
    settings = assembly.settings_of("to_onnx", "ONNX", cell)
    attributes: dict[str, Any] = {"hidden_size": settings["hidden_size"]}
    names = ["activation"] if cell.name == "elman" else ["gate_activation", "activation"]
    if cell.name == "gru":
        attributes["linear_before_reset"] = int(settings["reset_after"])
    if cell.name == "lstm":
        assembly.require("to_onnx", "ONNX", cell, projection_size=None)
        names = ["gate_activation", "cell_activation", "cell_activation"]
        if settings["coupled"]:
            _check_coupled("to_onnx: lstm with coupled=True", settings["gate_activation"])
            attributes["input_forget"] = 1
    written = [onnx_activations.write(name, settings[name]) for name in names] * len(parts)
    if [name for name, _ in written] != _DEFAULT_ACTIVATIONS[OPERATORS[cell.name]] * len(parts):
        attributes["activations"] = [name for name, _ in written]
    for index, argument in enumerate(("activation_alpha", "activation_beta")):
        values = [constants[index] for _, constants in written if len(constants) > index]
        attributes |= {argument: values} if values else {}
    rows = [_write(part) for part in parts]
    return attributes, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _check_shapes(
    where: str,
    operator: str,
    attributes: dict[str, Any],
    weights: dict[str, Values],
    directions: int,
) -> None:
    """Raise ValueError unless a node's weights have the shapes that ONNX says."""
    size = attributes.get("hidden_size") or weights["R"].shape[-1]
    rows = NUM_GATES[operator] * size
    expected = {
        "W": (directions, rows, *weights["W"].shape[-1:]),
        "R": (directions, rows, size),
        "B": (directions, 2 * rows),
        "P": (directions, 3 * size),
    }
    for name, w in weights.items():
        if w.shape != expected[name]:
            raise ValueError(
                f"from_onnx: {name} of {where} must be {expected[name]}, of {directions} "
                f"direction(s) and hidden_size={size}, got {w.shape}; see onnx.checker"
            )


def _make_cell(
    where: str,
    operator: str,
    attributes: dict[str, Any],
    weights: dict[str, Values],
    functions: Sequence[Activation],
) -> Cell:
    """Give the cell that computes what a node does in one direction."""
    if "clip" in attributes:
        raise ValueError(
            f"from_onnx: {where} must have no clip, got {attributes['clip']}: no cell bounds "
            "what its activations get; remove it if it is wider than these sums"
        )
    size, use_bias = weights["R"].shape[-1], "B" in weights
    if operator == "RNN":
        return elman(size, functions[0], use_bias=use_bias)
    gate, activation, *others = functions
    if operator == "GRU":
        return gru(
            size,
            reset_after=bool(attributes.get("linear_before_reset", 0)),
            gate_activation=gate,
            activation=activation,
            use_bias=use_bias,
        )
    if others[0] != activation:
        raise ValueError(
            f"from_onnx: {where} must have one activation for its cell and its output, got "
            f"{activation!r} and {others[0]!r}; write the cell with drnn.split_cell"
        )
    coupled = bool(attributes.get("input_forget", 0))
    if coupled:
        _check_coupled(f"from_onnx: {where} with input_forget=1", gate)
    return lstm(
        size,
        peepholes="P" in weights,
        coupled=coupled,
        gate_activation=gate,
        cell_activation=activation,
        use_bias=use_bias,
    )


def _check_coupled(said: str, gate: Activation) -> None:
    """Raise ValueError unless 1 - σ(z) = σ(-z)."""
    if activations.name_of(gate) not in ("sigmoid", "hard_sigmoid"):
        raise ValueError(
            f"{said} must have gates of sigmoid or hard_sigmoid, got {gate!r}: with it "
            "i = 1 - f is not f = 1 - i; use gates that are not coupled"
        )


def _read(cell: Cell, weights: dict[str, Values]) -> Params:
    """Give a cell's parameters of a node's weights in one direction."""
    rows: dict[str, Values] = {"w_x": weights["W"].T, "w_h": weights["R"].T}
    dtype, b_hn = weights["W"].dtype, None
    if "B" in weights:
        b, b_h = weights["B"].astype(np.float64).reshape(2, -1)
        if cell.name == "gru" and cell.settings["reset_after"]:
            b_hn = b_h[2 * cell.output_size :].astype(dtype)
            b_h[2 * cell.output_size :] = 0
        rows["b"] = (b + b_h).astype(dtype)  # summed in float64 and rounded once
    coupled = cell.name == "lstm" and cell.settings["coupled"]
    order = {"elman": (0,), "gru": _SWAP_RZ, "lstm": _FROM_IOFC}[cell.name]
    rows = {name: assembly.reorder_gates(w, order) for name, w in rows.items()}
    if coupled:
        rows = {name: _couple(w) for name, w in rows.items()}
    w_x, w_h, b = rows["w_x"], rows["w_h"], rows.get("b")
    if cell.name == "elman":
        return ElmanParams(w_x, w_h, b)
    if cell.name == "gru":
        return GRUParams(w_x, w_h, b, b_hn)
    peepholes = None
    if "P" in weights:
        i, o, f = weights["P"].reshape(3, -1)
        peepholes = Peepholes(None, -i, o) if coupled else Peepholes(i, f, o)
    return LSTMParams(w_x, w_h, b, w_p=None, peepholes=peepholes)


def _couple(w: Values) -> Values:
    """Give f, g, o of i, f, g, o where f = 1 - i."""
    i, _, g, o = np.split(w, 4, axis=-1)
    return np.concatenate([-i, g, o], axis=-1)


def _uncouple(w: Values) -> Values:
    """Give i, f, g, o of f, g, o where i = 1 - f: right also where `input_forget` is not read."""
    return np.concatenate([-w[..., : w.shape[-1] // 3], w], axis=-1)


def _write(part: Part) -> dict[str, Values]:
    """Give the weights of a node in one direction."""
    cell, params = part
    rows = {"W": params.w_x, "R": params.w_h}
    if params.b is not None:
        b_h = np.zeros_like(params.b)
        if getattr(params, "b_hn", None) is not None:
            b_h[-params.b_hn.size :] = params.b_hn
        rows |= {"B": params.b, "b_h": b_h}
    if cell.name == "gru":
        rows = {name: assembly.reorder_gates(w, _SWAP_RZ) for name, w in rows.items()}
    if cell.name == "lstm":
        if cell.settings["coupled"]:
            rows = {name: _uncouple(w) for name, w in rows.items()}
        rows = {name: assembly.reorder_gates(w, _TO_IOFC) for name, w in rows.items()}
        if params.peepholes is not None:
            i, f, o = params.peepholes
            rows["P"] = np.concatenate([-f if i is None else i, o, f])
    if "B" in rows:
        rows["B"] = np.concatenate([rows["B"], rows.pop("b_h")])
    return jax.tree.map(np.transpose, rows)
