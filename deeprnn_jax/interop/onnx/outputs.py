"""What an ONNX model's outputs are of what its recurrent nodes give."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from deeprnn_jax.interop.assembly import Values
from deeprnn_jax.interop.onnx.graph import Graph
from deeprnn_jax.interop.onnx.nodes import Node
from deeprnn_jax.parameters import Readout


class Output(NamedTuple):
    """An output of a model."""

    name: str
    value: Values  # for the numbers that were fed; empty where they do not decide it
    is_moved: bool  # whether it is others' data, moved
    weights: Readout | None  # of the one matrix product that leads to it


def read_outputs(graph: Graph, feeds: dict[str, Values]) -> list[Output]:
    """Give a model's outputs, as far as nodes and inputs decide them.

    Args:
      graph: the model's graph.
      feeds: numbers for the inputs and for what the recurrent nodes give.
    """
    found = []
    for name in graph.outputs:
        is_moved = graph.only_moves(name, feeds)
        try:
            value = graph.evaluate([name], feeds)[0]
        except ValueError:
            value = np.zeros(0)
        found.append(Output(name, value, is_moved, _find_readout(graph, name, feeds)))
    return found


def match_outputs(
    outputs: Sequence[Output], y: Values, apart: Sequence[Values], finals: Sequence[Values]
) -> tuple[int, Readout | None]:
    """Give how many outputs are y or steps of it, read out or not, and the readout.

    Args:
      outputs: the model's.
      y: what the last layer gives, `[T, B, O]`.
      apart: that as its nodes give it, with an axis of directions.
      finals: the final states of all nodes.

    Returns:
      The number, -1 if an output is neither that nor final states, and the readout or None.

    Raises:
      ValueError: if two outputs are of different readouts.
    """
    count, by_name = 0, {}
    for output in outputs:
        if _is_steps(output.value, y) or any(is_close(output.value, one) for one in apart):
            count += 1
        elif output.weights and _is_steps(output.value, _read_out(y, output.weights)):
            count += 1
            by_name[output.name] = output.weights
        elif not _is_final(output, finals):
            return -1, None
    readouts = list(by_name.values())
    if any(not np.array_equal(w, readouts[0].w) for w, _ in readouts) or any(
        not np.array_equal(b, readouts[0].b) for _, b in readouts
    ):
        raise ValueError(
            f"from_onnx: outputs must have one readout, got {list(by_name)} of different ones; "
            "give the recurrent part by nodes=[...], and multiply its y by each one's weights"
        )
    return count, readouts[0] if readouts else None


def unexplained(graph: Graph, nodes: Sequence[Node]) -> str:
    """Say what leads from nodes to outputs."""
    stops = [name for node in nodes for name in node.outputs]
    return str({name: graph.operators(name, stops) for name in graph.outputs})


def is_close(a: Values, b: Values) -> bool:
    """Tell whether two are the same but for rounding."""
    if a.shape != b.shape:
        return False
    is_half = a.dtype.itemsize < 4 and jnp.issubdtype(a.dtype, jnp.floating)
    tolerance = 16 * float(jnp.finfo(a.dtype).eps) if is_half else 1000 * 2.0**-23
    a, b = (np.asarray(one, np.float64) for one in (a, b))
    return np.allclose(a, b, rtol=tolerance, atol=tolerance)


def is_moved(a: Values, b: Values) -> bool:
    """Tell whether two are the same, perhaps with time and batch the other way round."""
    others = [b, b.swapaxes(0, 1)] if b.ndim > 1 else [b]
    return any(is_close(a.squeeze(), one.squeeze()) for one in others)


def _is_steps(value: Values, y: Values) -> bool:
    """Tell whether a value is y, or steps of it one after the other."""
    steps = value.size // max(y[:1].size, 1)
    starts = range(len(y) - steps + 1) if steps else []
    return any(is_moved(value, y[start : start + steps]) for start in starts)


def _is_final(output: Output, finals: Sequence[Values]) -> bool:
    """Tell whether an output is a final state, or some of them, moved."""
    if any(is_moved(output.value, final) for final in finals):
        return True
    numbers = [final.reshape(-1) for final in finals]  # all of them different, or nearly so
    is_some = bool(numbers) and np.all(np.isin(output.value, np.concatenate(numbers)))
    return output.is_moved and output.value.size > 0 and bool(is_some)


def _find_readout(graph: Graph, name: str, feeds: dict[str, Values]) -> Readout | None:
    """Give the weights of the one matrix product that leads to an output, and of its bias."""
    nodes, _ = graph.upstream([name], feeds)
    products = [node for node in nodes if node.op_type in ("MatMul", "Gemm")]
    w = graph.constant(products[0].input[1]) if len(products) == 1 else None
    if w is None or w.ndim != 2:
        return None
    w = w.T if graph.attributes(products[0]).get("transB") else w
    names = list(products[0].input[2:])
    names += [one for node in nodes if node.op_type == "Add" for one in node.input]
    found = [graph.constant(one) for one in names]
    biases = [b.reshape(-1) for b in found if b is not None and b.size == w.shape[1]]
    return Readout(w, biases[0] if biases else np.zeros_like(w[0]))


def _read_out(y: Values, readout: Readout) -> Values:
    return y @ readout.w + readout.b if y.shape[-1] == len(readout.w) else y[:0]
