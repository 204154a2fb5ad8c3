"""An ONNX model of a network, node by node."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from deeprnn_jax.checks import check_bools
from deeprnn_jax.deep import DeepRNN, check_network
from deeprnn_jax.interop import assembly
from deeprnn_jax.interop.assembly import Part, Values
from deeprnn_jax.interop.onnx.cells import OPERATORS, write_parts
from deeprnn_jax.layers.entries import by_layer
from deeprnn_jax.layers.layer import Merge, add, concatenate
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.modifiers.learned_state import LearnedStateParams, learned_initial_state
from deeprnn_jax.parameters import DeepParams, check_params
from deeprnn_jax.types import Array, State

_OPSET = 17  # onnxruntime 1.12 and newer
_INT64 = np.dtype("int64")


def reverse_only(y_forward: Array, y_reverse: Array) -> Array:
    """Merge two directions by leaving the forward one out."""
    del y_forward
    return y_reverse


# how a layer joins its directions, by the word for it here
MERGES: dict[str, Merge] = {"concat": concatenate, "sum": add, "reverse": reverse_only}


class _Writer:
    """The nodes, stored arrays, inputs and outputs of a graph that grows."""

    def __init__(self, dtype: Any):
        """Begin with nothing; the dtype is that of x and all that is computed."""
        self.helper = import_module("onnx.helper")
        self.dtype = np.dtype(dtype)
        self.nodes: list[Any] = []
        self.stored: dict[str, Any] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def store(self, name: str, value: Any) -> str:
        """Store an array, or a number or a list of int64; give its name."""
        from_array = import_module("onnx.numpy_helper").from_array
        self.stored[name] = from_array(np.asarray(value, order="C"), name)
        return name

    def apply(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node with one output; give its name."""
        node = self.helper.make_node(operator, inputs, [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def apply_on(self, axis: int, operator: str, x: str, output: str, **attributes: Any) -> str:
        """Add a node that takes an axis as an input."""
        return self.apply(operator, [x, self.store(f"axis_{axis}", [axis])], output, **attributes)

    def takes(self, name: str, shape: Sequence[str | int], dtype: Any = None) -> str:
        """Add an input; give its name."""
        self.inputs.append(self._declare(name, shape, dtype))
        return name

    def gives(self, name: str, shape: Sequence[str | int]) -> None:
        """Make a value an output."""
        self.outputs.append(self._declare(name, shape, None))

    def finish(self) -> Any:
        """Give the model."""
        stored = list(self.stored.values())
        graph = self.helper.make_graph(self.nodes, "deep_rnn", self.inputs, self.outputs, stored)
        opsets = [self.helper.make_opsetid("", _OPSET)]
        version = self.helper.find_min_ir_version_for(opsets)
        return self.helper.make_model(
            graph, producer_name="deeprnn_jax", opset_imports=opsets, ir_version=version
        )

    def _declare(self, name: str, shape: Sequence[str | int], dtype: Any) -> Any:
        kind = self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        return self.helper.make_tensor_value_info(name, kind, shape)


def write_model(rnn: DeepRNN, params: DeepParams, *, lengths: bool, state: bool) -> Any:
    """Make the model of a network; see `to_onnx`."""
    check_bools("to_onnx", lengths=lengths, state=state)
    check_network("to_onnx", rnn)
    check_params("to_onnx", rnn.plan, params)
    plan, bare, initials = _bare(rnn.plan, params)
    rows = assembly.take_apart("to_onnx", "ONNX", DeepRNN(plan), bare)
    merge = _merge_of(plan)
    layers = [(row, *write_parts(row)) for row in rows]
    w_x = rows[0][0].params.w_x
    if str(w_x.dtype) not in ("float32", "float64", "float16"):
        raise ValueError(
            f"to_onnx: params must be float32, float64 or float16, got {w_x.dtype}, which ONNX's "
            f"nodes of opset {_OPSET} do not have; cast them, and make the network with that "
            "param_dtype"
        )
    assembly.import_library("to_onnx", "onnx", "onnx")
    to = _Writer(w_x.dtype)
    x = to.takes("x", ["T", "B", len(w_x)])
    if lengths:
        to.takes("lengths", ["B"], np.int32)
    for index, (row, attributes, weights) in enumerate(layers):
        starts = _write_starts(to, index, row, initials[index], state)
        reads = [x, "lengths" if lengths else "", *starts]
        y = _write_node(to, index, row, attributes, weights, reads)
        _write_finals(to, index, row, starts if lengths else [])
        y = _write_merge(to, f"layer_{index}", merge, y, row)
        is_sum = rnn.plan.layers[index].skip == "residual"
        x = to.apply("Add", [x, y], f"layer_{index}_sum") if is_sum else y
    _write_output(to, rnn.plan, params, x, lengths)
    return to.finish()


def _bare(plan: Plan, params: DeepParams) -> tuple[Plan, DeepParams, list[State | None]]:
    """Take away what is written around the cells; give the first states that are learned."""
    cells, layers, initials = [], [], []
    for cell, layer in zip(plan.cells, by_layer(plan, params.layers), strict=True):
        is_learned = cell.made is not None and cell.made.factory is learned_initial_state
        if is_learned and not isinstance(layer.cell, LearnedStateParams):
            raise ValueError(
                "to_onnx: params are not of this network: the cell's must be LearnedStateParams, "
                f"got {type(layer.cell).__name__}; use this network's init"
            )
        initials.append(layer.cell.initial if is_learned else None)
        cells.append(cell.settings["cell"] if is_learned else cell)
        layers.append(layer._replace(cell=layer.cell.cell) if is_learned else layer)
    around = [
        layer._replace(skip=None) if layer.skip == "residual" else layer for layer in plan.layers
    ]
    plan = replace(plan, layers=tuple(around), output_size=None, stack_layers=False)
    return plan.with_cells(cells), DeepParams(tuple(layers)), initials


def _merge_of(plan: Plan) -> str | None:
    """Give the name of how the directions are joined; None with one direction."""
    names = {merge: name for name, merge in MERGES.items()} | {None: None}
    if plan.merge not in names:
        raise ValueError(
            "to_onnx: merge must be 'concat', 'sum' or interop.onnx.reverse_only, got "
            f"{plan.merge!r}; convert a deep_rnn with one of them"
        )
    return names[plan.merge]


def _fields(row: Sequence[Part]) -> tuple[str, ...]:
    return ("h", "c") if row[0].cell.name == "lstm" else ("h",)


def _write_starts(
    to: _Writer, index: int, row: Sequence[Part], initial: State | None, given: bool
) -> list[str]:
    """Write where a layer's state begins: the names of h and c `[D, B, H]`; none: zeros."""
    size, directions = row[0].cell.output_size, len(row)
    names = [f"initial_{field}_{index}" for field in _fields(row)]
    if given and directions == 2:
        return [to.takes(name, [2, "B", size]) for name in names]
    if given:
        names = [to.takes(name, ["B", size]) for name in names]
        return [to.apply_on(0, "Unsqueeze", name, f"{name}_d") for name in names]
    if initial is None:
        return []
    batch = to.apply("Shape", ["x"], f"batch_{index}", start=1, end=2)
    one = to.store("one", [1])
    rows = to.apply("Concat", [one, batch, one], f"rows_{index}", axis=0)
    for name, leaf in zip(names, initial, strict=True):
        array = np.asarray(leaf, to.dtype).reshape(directions, 1, size)
        to.apply("Expand", [to.store(f"{name}_row", array), rows], name)
    return names


def _write_node(
    to: _Writer,
    index: int,
    row: Sequence[Part],
    attributes: dict[str, Any],
    weights: dict[str, Values],
    reads: Sequence[str],
) -> str:
    """Write a layer's node; it reads x, lengths, h and c. Give the name of Y `[T, D, B, H]`."""
    name, kind = f"layer_{index}", row[0].cell.name
    stored = {key: to.store(f"{name}_{key}", w) for key, w in weights.items()}
    x, lengths, *starts = reads
    h, c = (*starts, "", "")[:2]
    inputs = [x, *(stored.get(key, "") for key in "WRB"), lengths, h, c, stored.get("P", "")]
    while not inputs[-1]:
        inputs.pop()
    outputs = [f"{name}_Y", *(f"{name}_Y_{field}" for field in _fields(row))]
    direction = "bidirectional" if len(row) == 2 else "forward"
    node = to.helper.make_node(
        OPERATORS[kind], inputs, outputs, name=name, direction=direction, **attributes
    )
    to.nodes.append(node)
    return outputs[0]


def _write_finals(to: _Writer, index: int, row: Sequence[Part], starts: Sequence[str]) -> None:
    """Write a layer's last state, for rows without a step that which it began with."""
    size, is_both = row[0].cell.output_size, len(row) == 2
    flags = ""
    if starts:  # onnxruntime gives zeros there
        zero = to.store("no_steps", np.zeros((), np.int32))
        flags = to.apply("Greater", ["lengths", zero], f"any_steps_{index}")
        flags = to.apply_on(1, "Unsqueeze", flags, f"any_steps_{index}_column")
    for number, field in enumerate(_fields(row)):
        last, final = f"layer_{index}_Y_{field}", f"final_{field}_{index}"
        if starts:
            last = to.apply("Where", [flags, last, starts[number]], f"{last}_of_all")
        if is_both:
            to.apply("Identity", [last], final)
        else:
            to.apply_on(0, "Squeeze", last, final)
        to.gives(final, [2, "B", size] if is_both else ["B", size])


def _write_merge(to: _Writer, layer: str, merge: str | None, y: str, row: Sequence[Part]) -> str:
    """Write how directions `[T, D, B, H]` become a layer's output."""
    output = f"{layer}_y"
    if merge is None:
        return to.apply_on(1, "Squeeze", y, output)
    if merge == "sum":
        return to.apply_on(1, "ReduceSum", y, output, keepdims=0)
    if merge == "reverse":
        return to.apply("Gather", [y, to.store("reverse", 1)], output, axis=1)
    side = to.apply("Transpose", [y], f"{layer}_side", perm=[0, 2, 1, 3])
    shape = to.store(f"{layer}_shape", [0, 0, 2 * row[0].cell.output_size])
    return to.apply("Reshape", [side, shape], output)


def _write_output(to: _Writer, plan: Plan, params: DeepParams, x: str, lengths: bool) -> None:
    """Write the readout, zero where there is no step; x is the last layer's output."""
    if params.readout is not None:
        w, b = (np.asarray(leaf) for leaf in params.readout)
        x = to.apply("MatMul", [x, to.store("readout_w", w)], "readout_product")
        x = to.apply("Add", [x, to.store("readout_b", b)], "readout")
    if params.readout is not None and lengths:
        first, one = to.store("first", 0), to.store("next", 1)
        steps = to.apply("Gather", [to.apply("Shape", ["x"], "x_shape"), first], "num_steps")
        time = to.apply("Range", [first, steps, one], "time")
        time = to.apply_on(1, "Unsqueeze", time, "time_column")
        ends = to.apply("Cast", ["lengths"], "ends", to=to.helper.np_dtype_to_tensor_dtype(_INT64))
        mask = to.apply_on(2, "Unsqueeze", to.apply("Less", [time, ends], "mask"), "mask_column")
        x = to.apply("Where", [mask, x, to.store("no_y", np.zeros((), to.dtype))], "y_of_steps")
    to.apply("Identity", [x], "y")
    to.gives("y", ["T", "B", plan.output_size or plan.width])
