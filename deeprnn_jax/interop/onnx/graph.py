"""An ONNX graph that can be asked: what is constant in it, and what a part of it computes.

What stands between recurrent nodes is not recognised by its operators, of which every
exporter has its own. It is evaluated, by ONNX's reference evaluator: on numbers drawn at
random for what the recurrent nodes give, what the next one reads either is what a network
would read, or is not.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from os import PathLike
from typing import Any

import numpy as np

from deeprnn_jax.interop import assembly
from deeprnn_jax.interop.assembly import Values

# what moves data and computes nothing
_MOVES = {"Cast", "Concat", "Constant", "ConstantOfShape", "Dropout", "Expand", "Flatten"}
_MOVES |= {"Gather", "Identity", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose"}
_MOVES |= {"Unsqueeze"}


class Graph:
    """A model's graph: its nodes by the names of what they give."""

    def __init__(self, model: Any):
        """Read a model, or a file of one."""
        self.model = _load(model)
        graph = self.model.graph
        self.nodes = list(graph.node)  # each after those that it reads
        self.initializers = {one.name: one for one in graph.initializer}
        self.inputs = [one.name for one in graph.input if one.name not in self.initializers]
        self.outputs = [one.name for one in graph.output]
        values = [*graph.input, *graph.value_info, *graph.output]
        self._shapes = {one.name: _shape_of(one) for one in values}
        self._constants = set(self.initializers)
        self._measured = set()  # what only has its shape asked for
        for node in self.nodes:
            self._note(node)

    def attributes(self, node: Any) -> dict[str, Any]:
        """Give a node's attributes, text as str."""
        get = import_module("onnx.helper").get_attribute_value
        found = {one.name: get(one) for one in node.attribute}
        return {name: _decode(value) for name, value in found.items()}

    def shape(self, name: str) -> list[int | None] | None:
        """Give a value's shape, None for a size that only a run says; None if unknown."""
        return self._shapes.get(name)

    def constant(self, name: str, sizes: Sequence[int] = ()) -> Values | None:
        """Give a value that no input decides, or None.

        It may be computed, of stored values and of an input's shape.

        Args:
          name: the value's.
          sizes: that shape, where the model does not say it; of ones unless given: an initial
            state then is that of one row.
        """
        if name not in self._constants:
            return None
        feeds = {}
        for one in self.measured(name):
            known = self.shape(one) or (None,) * 3
            default = (*sizes, *(1,) * len(known))
            shape = [size or other for size, other in zip(known, default, strict=False)]
            feeds[one] = np.zeros(shape, np.float32)
        return self.evaluate([name], feeds)[0]

    def measured(self, name: str) -> set[str]:
        """Give the names of what has its shape asked for, to compute a value."""
        return self.upstream([name], self._measured)[1] & self._measured

    def upstream(
        self, targets: Sequence[str], stops: Iterable[str] = ()
    ) -> tuple[list[Any], set[str]]:
        """Give the nodes that targets need, in order, and the names of all that is needed."""
        stops, needed = set(stops), set(targets)
        found = []
        for node in reversed(self.nodes):
            if any(name in needed and name not in stops for name in node.output):
                found.append(node)
                needed |= {name for name in node.input if name}
        return found[::-1], needed

    def operators(self, name: str, stops: Iterable[str] = ()) -> list[str]:
        """Give the operators that compute a value, up to some names."""
        return sorted({operator_of(node) for node in self.upstream([name], stops)[0]})

    def only_moves(self, name: str, stops: Iterable[str] = ()) -> bool:
        """Tell whether a value is others' data, moved."""
        return _MOVES.issuperset(self.operators(name, stops))

    def evaluate(self, targets: Sequence[str], feeds: dict[str, Values]) -> list[Values]:
        """Compute values from others that are given.

        Args:
          targets: the names of what is wanted.
          feeds: values by name; what they in turn are computed from is not looked at.

        Raises:
          ValueError: if something else is needed, or an operator unknown.
        """
        helper = import_module("onnx.helper")
        reference = import_module("onnx.reference")
        nodes, names = self.upstream(targets, feeds)
        part = helper.make_graph(
            nodes,
            "part",
            [_value_info(name) for name in feeds],
            [_value_info(name) for name in targets],
            [one for name, one in self.initializers.items() if name in names - set(feeds)],
        )
        try:
            model = helper.make_model(part, opset_imports=self.model.opset_import)
            return list(reference.ReferenceEvaluator(model).run(None, feeds))
        except Exception as error:
            found = sorted({operator_of(node) for node in nodes})
            missing = sorted(names & set(self.inputs) - set(feeds))
            raise ValueError(
                f"from_onnx: {', '.join(targets)} must be what onnx.reference can evaluate, got "
                f"{found} of the inputs {missing} ({error}); give the recurrent part alone, by "
                "nodes=[...], or a model of it"
            ) from error

    def _note(self, node: Any) -> None:
        """Note whether a node's values are constant, the shapes of others taken as known."""
        fixed = all(name in self._constants for name in node.input if name)
        if node.op_type == "Shape" and not fixed:
            self._measured |= set(node.input)
            fixed = True
        if node.op_type.startswith("Random") or any(one.HasField("g") for one in node.attribute):
            fixed = False
        if fixed:
            self._constants |= set(node.output) - {""}


def operator_of(node: Any) -> str:
    """Give a node's operator, with its domain where that is not ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _load(model: Any) -> Any:
    """Give a model whose shapes are noted, with no functions of its own, or raise ValueError."""
    onnx = assembly.import_library("from_onnx", "onnx", "onnx")
    if isinstance(model, str | PathLike):
        try:
            model = onnx.load(model)
        except OSError:
            raise
        except Exception as error:
            raise ValueError(
                f"from_onnx: model must be a file that onnx can read, got {str(model)!r} "
                f"({error}); see onnx.load"
            ) from error
    if not isinstance(model, onnx.ModelProto):
        raise ValueError(
            "from_onnx: model must be an onnx.ModelProto or a file's path, got "
            f"{type(model).__name__}; see onnx.load"
        )
    versions = [one.version for one in model.opset_import if one.domain in ("", "ai.onnx")]
    if not versions or versions[0] < 7:
        raise ValueError(
            f"from_onnx: opset must be 7 or newer, got {versions}; convert the model with "
            "onnx.version_converter.convert_version"
        )
    try:
        if model.functions:
            model = import_module("onnx.inliner").inline_local_functions(model)
        return import_module("onnx.shape_inference").infer_shapes(model)
    except Exception as error:
        raise ValueError(
            f"from_onnx: model must be one whose shapes onnx can infer, got {error}; see "
            "onnx.checker.check_model"
        ) from error


def _shape_of(value: Any) -> list[int | None] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [one.dim_value if one.HasField("dim_value") else None for one in tensor.shape.dim]


def _value_info(name: str) -> Any:
    return import_module("onnx").ValueInfoProto(name=name)


def _decode(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [_decode(one) for one in value] if isinstance(value, list) else value
