"""How recurrent nodes hang together: which are a layer, and what is around the layers."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from deeprnn_jax.interop.assembly import Values
from deeprnn_jax.interop.onnx.graph import Graph
from deeprnn_jax.interop.onnx.nodes import Node
from deeprnn_jax.interop.onnx.outputs import (
    is_close,
    is_moved,
    match_outputs,
    read_outputs,
    unexplained,
)
from deeprnn_jax.parameters import Readout


class Chain(NamedTuple):
    """Nodes as a network."""

    layers: list[list[Node]]
    merge: str  # "concat", "sum" or "reverse"
    skip: str | None  # None or "residual"
    readout: Readout | None


class _Probe(NamedTuple):
    """Numbers drawn at random for what nodes give, and what nodes read for them."""

    feeds: dict[str, Values]
    read: list[Values]  # what each node reads, [T, B, I]
    given: list[list[Values]]  # what each gives, [T, B, H] a direction


class _Way(NamedTuple):
    """A way in which layers may be joined, tried."""

    merge: str
    skip: str | None
    y: Values  # what the last layer gives, [T, B, O]
    until: int  # how many layers read what they do so


_REMEDY = "give the recurrent part alone, by nodes=[...], or a model of it"


def find_chain(graph: Graph, nodes: Sequence[Node], *, whole: bool) -> Chain:
    """Give the network that nodes are.

    Args:
      graph: the graph that they are in.
      nodes: the nodes, each after those that it reads.
      whole: whether the network is to be the whole graph, from its input to its outputs; or
        the nodes alone and what is between them.

    Raises:
      ValueError: if there is something that no network does.
    """
    _check_lengths(graph, nodes)
    probe = _probe(graph, nodes, whole)
    layers = _layers(nodes, probe.read)
    rows = [[nodes[index] for index in row] for row in layers]
    merges = _merges(rows)
    ways = [_join(layers, probe, *one) for one in product(merges, [None, "residual"])]
    found = [one for one in ways if one.until == len(layers)]
    if not found:
        until = max(one.until for one in ways)
        raise ValueError(
            "from_onnx: each layer must read what the one before gives, its directions side by "
            "side or summed, perhaps with what that one read added, got otherwise from "
            f"{rows[until - 1][0].where} to {rows[until][0].where}; {_REMEDY}"
        )
    if not whole:
        return Chain(rows, found[0].merge, found[0].skip, None)
    finals = [probe.feeds[name] for node in nodes for name in node.outputs[1:] if name]
    apart = [probe.feeds[name] for node in rows[-1] if (name := node.outputs[0])]
    outputs = read_outputs(graph, probe.feeds)
    matched = [(one, *match_outputs(outputs, one.y, apart, finals)) for one in found]
    way, count, readout = max(matched, key=lambda one: one[1])
    if count < 0:
        raise ValueError(
            "from_onnx: outputs must be what the last layer gives, some of its steps one after the "
            "other, a matrix product and a sum of these, or final states, got "
            f"{unexplained(graph, nodes)}; {_REMEDY}"
        )
    return Chain(rows, way.merge, way.skip, readout)


def _probe(graph: Graph, nodes: Sequence[Node], whole: bool) -> _Probe:
    rng = np.random.default_rng(0)
    first = nodes[0]
    w_x = first.parts[0].params.w_x
    source = _source(graph, first) if whole else first.inputs["X"]

    def draw(*shape: int) -> Values:
        return rng.normal(size=shape).astype(w_x.dtype)

    shape = graph.shape(source) or [None] * 3
    # distinct sizes where only a run says them
    defaults = (5, 3, len(w_x)) if len(shape) == 3 else (5, len(w_x))
    x = draw(*(size or default for size, default in zip(shape, defaults, strict=False)))
    read = _time_major(first, graph.evaluate([first.inputs["X"]], {source: x})[0])
    if read.ndim != 3 or (whole and not is_moved(read, x)):
        raise ValueError(
            f"from_onnx: {first.where} must read the model's input, got {source!r} of shape "
            f"{shape} after {graph.operators(first.inputs['X'])}; {_REMEDY}"
        )
    feeds, given = {source: x}, []
    for node in nodes:
        y = draw(*read.shape[:2], len(node.parts), _size(node))
        given.append([y[:, :, d] for d in range(len(node.parts))])
        y = y.transpose(1, 0, 2, 3) if node.batch_first else y.swapaxes(1, 2)
        feeds |= {node.outputs[0]: y} | _other_feeds(graph, node, draw, read.shape[:2])
        feeds.pop("", None)  # what the node does not give or take
    reads = graph.evaluate([node.inputs["X"] for node in nodes], feeds)
    pairs = zip(nodes, reads, strict=True)
    return _Probe(feeds, [_time_major(node, one) for node, one in pairs], given)


def _other_feeds(graph: Graph, node: Node, draw: Any, shape: tuple[int, int]) -> dict[str, Values]:
    """Give numbers for a node's states, and full lengths."""
    steps, batch = shape
    feeds = {}
    states = [node.inputs.get(name, "") for name in ("initial_h", "initial_c")]
    for name in (*node.outputs[1:], *(one for one in states if graph.constant(one) is None)):
        state = draw(len(node.parts), batch, _size(node))
        feeds[name] = state.swapaxes(0, 1) if node.batch_first else state
    lengths = node.inputs.get("sequence_lens", "")
    if graph.constant(lengths) is None:
        feeds[lengths] = np.full(batch, steps, np.int32)
    return feeds


def _check_lengths(graph: Graph, nodes: Sequence[Node]) -> None:
    """Raise ValueError unless all nodes read the same lengths, or none does."""

    def lengths_of(node: Node) -> str:
        name = node.inputs.get("sequence_lens", "")
        # each node may have its own Cast of an input
        inputs = sorted(graph.upstream([name])[1] & set(graph.inputs))
        return ", ".join(inputs) if name and graph.only_moves(name) else name

    found = {node.where: lengths_of(node) for node in nodes}
    if len(set(found.values())) > 1:
        raise ValueError(
            f"from_onnx: sequence_lens must be the same for all nodes, or none, got {found}; read "
            "those that have the same by nodes=[...], and call one network after the other"
        )


def _source(graph: Graph, first: Node) -> str:
    """Give the model's input that the first node reads."""
    found = graph.upstream([first.inputs["X"]])[1] & set(graph.inputs)
    if len(found) != 1:
        raise ValueError(
            f"from_onnx: {first.where} must read one input of the model, got {sorted(found)}; "
            f"{_REMEDY}"
        )
    return found.pop()


def _layers(nodes: Sequence[Node], read: Sequence[Values]) -> list[list[int]]:
    """Give the indices of the nodes of each layer: one, or a forward and a reverse one."""
    layers: list[list[int]] = []
    for index, node in enumerate(nodes):
        before = layers[-1] if layers else []
        directions = [d for one in before for d in nodes[one].directions]
        is_pair = sorted((*directions, *node.directions)) == ["forward", "reverse"]
        if before and is_pair and np.array_equal(read[before[0]], read[index]):
            before.append(index)
            before.sort(key=lambda one: nodes[one].directions)
        else:
            layers.append([index])
    return layers


def _merges(rows: Sequence[Sequence[Node]]) -> list[str]:
    """Give the ways in which a network of these layers may join its directions."""
    directions = [tuple(d for node in row for d in node.directions) for row in rows]
    if any(one != directions[0] for one in directions):
        raise ValueError(
            f"from_onnx: all layers must have the same directions, got {directions}; read those "
            "that do by nodes=[...], and call one network after the other"
        )
    return ["reverse"] if directions[0] == ("reverse",) else list(_MERGES)


def _join(layers: Sequence[Sequence[int]], probe: _Probe, merge: str, skip: str | None) -> _Way:
    """Join layers in one way, until one reads something else."""
    y = probe.read[0]
    for index, row in enumerate(layers):
        if index > 0 and not is_close(probe.read[row[0]], y):
            return _Way(merge, skip, y, index)
        below, ys = y, [one for node in row for one in probe.given[node]]
        y = ys[0] if len(ys) == 1 else _MERGES[merge](*ys)
        if skip is not None and index > 0 and below.shape == y.shape:
            y = below + y
    return _Way(merge, skip, y, len(layers))


_MERGES: dict[str, Any] = {
    "concat": lambda y_forward, y_reverse: np.concatenate([y_forward, y_reverse], axis=-1),
    "sum": lambda y_forward, y_reverse: y_forward + y_reverse,
    "reverse": lambda _, y_reverse: y_reverse,
}


def _size(node: Node) -> int:
    return node.parts[0].cell.output_size


def _time_major(node: Node, x: Values) -> Values:
    return x.swapaxes(0, 1) if node.batch_first and x.ndim > 1 else x
