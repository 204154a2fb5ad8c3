"""ONNX models made by hand, and networks, whose numbers the tests compare."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax.interop.onnx import from_onnx
from tests.interop.recorded import random_like

T, B, I = 5, 3, 2  # noqa: E741
H = 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def draw(seed, *shape):
    """Give float32 values, none of them the same."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def weights(operator, directions=1, input_size=I, hidden_size=H, seed=0, *, bias=True, peep=False):
    """Give a node's weights by ONNX's names."""
    rows = GATES[operator] * hidden_size
    shapes = {"W": (rows, input_size), "R": (rows, hidden_size)}
    shapes |= {"B": (2 * rows,)} if bias else {}
    shapes |= {"P": (3 * hidden_size,)} if peep else {}
    names = enumerate(shapes.items(), seed * 10)
    return {name: draw(index, directions, *shape) * 0.7 for index, (name, shape) in names}


def value_info(onnx, name, shape=None, dtype="float32"):
    """Declare an input or output."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def model_of(onnx, nodes, inputs, outputs, stored, *, opset=17, functions=()):
    """Make a model; inputs and outputs are names with shapes, stored are arrays by name."""
    opsets = [onnx.helper.make_opsetid("", opset)]
    opsets += [onnx.helper.make_opsetid(name, 1) for name in {f.domain for f in functions}]
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [
            value_info(onnx, name, shape, "int32" if name == "lengths" else "float32")
            for name, shape in inputs.items()
        ],
        [value_info(onnx, name) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    version = onnx.helper.find_min_ir_version_for(opsets[:1]) if opset > 8 else 4
    return onnx.helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=max(version, 8 if functions else 0),
        functions=functions,
    )


def recurrent_node(onnx, operator, name, x, held, *, lengths="", states=(), **attributes):
    """Make a node whose weights are stored under its name; it gives NAME_Y, NAME_Y_h, ..."""
    inputs = [x, *(f"{name}_{w}" if w in held else "" for w in "WRB"), lengths]
    inputs += [*states, *([""] * (2 - len(states)))]
    inputs += [f"{name}_P"] if "P" in held else []
    inputs = inputs if operator == "LSTM" else inputs[:6]
    outputs = [f"{name}_Y", f"{name}_Y_h"] + ([f"{name}_Y_c"] if operator == "LSTM" else [])
    attributes = {"hidden_size": held["R"].shape[-1]} | attributes
    return onnx.helper.make_node(operator, inputs, outputs, name=name, **attributes)


def stored_as(name, held):
    """Give weights by the names that `recurrent_node` reads them by."""
    return {f"{name}_{key}": array for key, array in held.items()}


def single(onnx, operator, held, *, states=(), opset=17, name="node", **attributes):
    """Make a model of one node that reads x, lengths and its states."""
    fields = ["initial_h", "initial_c"][: len(states)]
    node = recurrent_node(
        onnx, operator, name, "x", held, lengths="lengths", states=fields, **attributes
    )
    inputs = {"x": ["T", "B", held["W"].shape[-1]], "lengths": ["B"]}
    inputs |= {field: [len(held["W"]), "B", held["R"].shape[-1]] for field in fields}
    return model_of(onnx, [node], inputs, node.output, stored_as(name, held), opset=opset)


def run(model, feeds):
    """Give a model's outputs by name, computed by onnxruntime."""
    session = import_module("onnxruntime").InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def random_params(rnn, input_size=I, seed=0):
    """Give parameters without drawing them as init does, and with no bias zero."""
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), input_size))
    return jax.tree.map(jnp.asarray, random_like(np.random.default_rng(seed), shapes))


def refuses(message):
    """Expect a ValueError of from_onnx."""
    return pytest.raises(ValueError, match=rf"^from_onnx: .*{message}")


def agrees(model, x, atol=1e-5):
    """Compare a network with onnxruntime, or with the reference evaluator."""
    rnn, params = from_onnx(model)
    if onnxruntime_is_there():
        expected = run(model, {"x": x})["y"]
    else:
        expected = import_module("onnx.reference").ReferenceEvaluator(model).run(["y"], {"x": x})[0]
    np.testing.assert_allclose(rnn.apply(params, x)[1], expected, atol=atol)
    return rnn, params


def onnxruntime_is_there():
    try:
        return import_module("onnxruntime") is not None
    except ModuleNotFoundError:
        return False
