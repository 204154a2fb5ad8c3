"""ONNX's recurrent nodes, read: settings, weights, and what the model holds of a state."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from deeprnn_jax.interop.assembly import Part, Values
from deeprnn_jax.interop.onnx.cells import DIRECTIONS, read_parts
from deeprnn_jax.interop.onnx.graph import Graph
from deeprnn_jax.interop.state_layers import kind_of
from deeprnn_jax.types import State

_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_SIZES = (5, 7, 11, 13)  # of axes, none of them another less one, and the like


class Node(NamedTuple):
    """A recurrent node, read."""

    where: str  # for messages
    inputs: dict[str, str]  # names of values, by those of ONNX; sequence_lens if not of whole rows
    outputs: list[str]  # Y, Y_h and Y_c, "" where it does not give one
    batch_first: bool
    directions: tuple[str, ...]
    parts: list[Part]  # one a direction
    initial: dict[str, Values]  # h and c `[D, H]`, where the model holds them


def name_of(node: Any) -> str:
    """Give a node's name; of one without, that of the first value that it gives."""
    return node.name or next(name for name in node.output if name)


def read_node(graph: Graph, node: Any, *, whole: bool) -> Node:
    """Read a node.

    Args:
      graph: the graph that it is in.
      node: the node.
      whole: whether the whole model is read, so that its states may not be computed.

    Raises:
      ValueError: if the node's weights are not stored, or no cell does what it does.
    """
    where = f"{node.op_type} {name_of(node)!r}"
    attributes = graph.attributes(node)
    inputs = {name: value for name, value in zip(_INPUTS, node.input, strict=False) if value}
    batch_first = bool(attributes.get("layout", 0))
    direction = attributes.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise ValueError(
            f"from_onnx: direction of {where} must be one of {list(DIRECTIONS)}, got "
            f"{direction!r}; see onnx.checker"
        )
    names = ["W", "R", *(name for name in ("B", "P") if name in inputs)]
    weights = {name: _stored(graph, f"{name} of {where}", inputs.get(name, "")) for name in names}
    if _has_whole_rows(graph, where, inputs, batch_first, whole):
        inputs.pop("sequence_lens", None)
    initial = {}
    for field in ("h", "c"):
        if f"initial_{field}" in inputs:
            said, name = f"initial_{field} of {where}", inputs[f"initial_{field}"]
            initial[field] = _initial(graph, said, name, batch_first, whole)
    return Node(
        where=where,
        inputs=inputs,
        outputs=list(node.output),
        batch_first=batch_first,
        directions=DIRECTIONS[direction],
        parts=read_parts(where, node.op_type, attributes, weights),
        initial={field: value for field, value in initial.items() if value is not None},
    )


def with_forward(row: list[Node]) -> list[Node]:
    """Give a lone reverse node a forward direction, with zeros for weights; leave other layers.

    Args:
      row: the nodes of a layer: one, or two, the forward one first.
    """
    if row[0].directions != ("reverse",):
        return row
    (part,), initial = row[0].parts, row[0].initial
    zeros = Part(part.cell, jax.tree.map(np.zeros_like, part.params))
    initial = {name: np.concatenate([0 * value, value]) for name, value in initial.items()}
    return [row[0]._replace(parts=[zeros, part], initial=initial)]


def initial_state(row: Sequence[Node]) -> State | None:
    """Give the state that the nodes of a layer begin with, leaves `[H]` or `[2, H]`; None: zeros.

    Args:
      row: the nodes of the layer.
    """
    if not any(node.initial for node in row):
        return None
    cell = row[0].parts[0].cell
    kind, fields = kind_of("from_onnx", cell.name), []
    for field in kind._fields:
        zeros = [np.zeros((len(node.parts), cell.output_size)) for node in row]
        found = [node.initial.get(field, zero) for node, zero in zip(row, zeros, strict=True)]
        fields.append(np.concatenate(found))
    return kind(*(leaf if len(leaf) == 2 else leaf[0] for leaf in fields))


def _stored(graph: Graph, said: str, name: str) -> Values:
    """Give weights, which no input may decide."""
    value = graph.constant(name)
    if value is None or graph.measured(name):
        raise ValueError(
            f"from_onnx: {said} must be stored in the model, got {name!r}, which its inputs "
            "decide; store it by model.graph.initializer.append(onnx.numpy_helper.from_array("
            f"array, {name!r}))"
        )
    return value


def _has_whole_rows(
    graph: Graph, where: str, inputs: dict[str, str], batch_first: bool, whole: bool
) -> bool:
    """Tell whether all rows have all steps, or raise ValueError if that is not the caller's."""
    name, shape = inputs.get("sequence_lens"), graph.shape(inputs["X"])
    if name is None:
        return True
    lengths = graph.constant(name, _SIZES)
    if lengths is None and (graph.only_moves(name) or not whole):
        return False
    whole_rows = [] if shape is None else [shape[int(batch_first)]]
    if graph.measured(name):  # of x as it is in the model, whichever axis is time
        whole_rows += _SIZES
    if lengths is not None and any(np.all(lengths == steps) for steps in whole_rows):
        return True
    found = str(graph.operators(name))
    if lengths is not None and not graph.measured(name):
        found = f"the constant {lengths.tolist()}"
    raise ValueError(
        f"from_onnx: sequence_lens of {where} must be an input of the model, or the steps of "
        f"whole rows, got {found}; remove it, and give it to apply(..., lengths=...)"
    )


def _initial(graph: Graph, said: str, name: str, batch_first: bool, whole: bool) -> Values | None:
    """Give what a model holds of a state, `[D, H]`; None: zeros, or the caller gives it."""
    found: Any = [graph.constant(name, sizes) for sizes in ((), _SIZES)]
    if found[0] is None:
        if whole and not graph.only_moves(name):
            raise ValueError(
                f"from_onnx: {said} must be an input of the model, or stored in it, got "
                f"{graph.operators(name)}; give the nodes by nodes=[...] and the state to "
                "apply(params, x, state)"
            )
        return None
    # [B, D, H], for each shape of x
    found = [value if batch_first else value.swapaxes(0, 1) for value in found]
    row = found[0][:1]
    if any(value.shape[1:] != row.shape[1:] or np.any(value != row) for value in found):
        raise ValueError(
            f"from_onnx: {said} must be the same for all rows, whatever the shape of x, got "
            f"{len(found[-1])} that differ; make it an input of the model, and give it to "
            "apply(params, x, state)"
        )
    return row[0] if np.any(row) else None
