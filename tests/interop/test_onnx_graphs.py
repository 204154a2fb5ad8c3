"""ONNX models made by hand, as exporters of other libraries and years write them."""

from importlib import import_module

import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.interop.onnx import from_onnx
from tests.interop.onnx_cases import (
    B,
    H,
    I,
    T,
    agrees,
    draw,
    model_of,
    recurrent_node,
    refuses,
    run,
    stored_as,
    value_info,
    weights,
)

onnx = pytest.importorskip("onnx")
make_node = onnx.helper.make_node


def reordered(kind, name, torch_weights):
    """Give the nodes that put torch's rows, i f g o or r z n, into ONNX's order."""
    order = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}[kind]
    nodes = []
    for part in torch_weights:
        pieces = [f"{name}_{part}_{n}" for n in range(len(order))]
        nodes.append(make_node("Split", [f"{name}_{part}_torch"], pieces, axis=0))
        rows = [pieces[n] for n in order]
        nodes.append(make_node("Concat", rows, [f"{name}_{part}_rows"], axis=0))
        nodes.append(make_node("Unsqueeze", [f"{name}_{part}_rows", "axis_0"], [f"{name}_{part}"]))
    return nodes


def test_weights_that_the_graph_puts_in_order():
    """As torch's newer exporter writes it: rows sliced and joined, a state of x's shape."""
    held = weights("LSTM", bias=False)
    stored = {f"lstm_{key}_torch": array[0] for key, array in held.items()}
    numbers = {"axis_0": [0], "axis_1": [1], "one": [1], "size": [H], "all": [0, 0, -1]}
    stored |= {name: np.array(value) for name, value in numbers.items()}
    nodes = [
        *reordered("LSTM", "lstm", held),
        make_node("Shape", ["x"], ["batch"], start=1, end=2),
        make_node("Concat", ["one", "batch", "size"], ["shape"], axis=0),
        make_node("ConstantOfShape", ["shape"], ["zeros"]),
        recurrent_node(onnx, "LSTM", "lstm", "x", held, states=["zeros", "zeros"]),
        make_node("Transpose", ["lstm_Y"], ["side"], perm=[0, 2, 1, 3]),
        make_node("Reshape", ["side", "all"], ["y"]),
    ]
    model = model_of(onnx, nodes, {"x": ["T", "B", I]}, ["y"], stored)
    rnn, params = agrees(model, draw(80, T, B, I))
    assert rnn == drnn.deep_rnn(drnn.lstm(H, use_bias=False))
    np.testing.assert_array_equal(params.layers[0].cell.w_x, held["W"][0].T)


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 21, "newest"])
def test_opsets(opset):
    """Two layers and their final state, through operators that changed since."""
    opset = onnx.defs.onnx_opset_version() if opset == "newest" else opset
    lower, upper = weights("GRU"), weights("LSTM", input_size=H, seed=1)
    stored = stored_as("lower", lower) | stored_as("upper", upper)

    def squeeze(x, y):
        if opset < 13:
            return make_node("Squeeze", [x], [y], axes=[1])
        stored["axis"] = np.array([1])
        return make_node("Squeeze", [x, "axis"], [y])

    nodes = [
        recurrent_node(onnx, "GRU", "lower", "x", lower),
        squeeze("lower_Y", "lower_y"),
        make_node("Dropout", ["lower_y"], ["dropped"]),
        recurrent_node(onnx, "LSTM", "upper", "dropped", upper),
        squeeze("upper_Y", "y"),
        make_node("Concat", ["lower_Y_h", "upper_Y_h"], ["h"], axis=0),
    ]
    model = model_of(onnx, nodes, {"x": ["T", "B", I]}, ["y", "h"], stored, opset=opset)
    if opset < 9:  # in files of then, what is stored was an input as well
        model.ir_version = 3
        model.graph.input.extend(value_info(onnx, n, a.shape) for n, a in stored.items())
    rnn, params = from_onnx(model)
    assert [cell.name for cell in rnn.plan.cells] == ["gru", "lstm"]
    if opset < 22:  # newer than what the test's onnxruntime may read
        agrees(model, draw(80, T, B, I))
    del params


@pytest.mark.parametrize("join", ["Concat", "Add"])
def test_a_node_for_each_direction(join):
    """As exports of Keras's Bidirectional have it, batch-major, each with its own Transpose."""
    held = [weights("GRU", seed=seed) for seed in (0, 1)]
    width = 2 * H if join == "Concat" else H
    upper = weights("GRU", directions=2, input_size=width, seed=2)
    stored = stored_as("f", held[0]) | stored_as("r", held[1]) | stored_as("upper", upper)
    stored["axis"] = np.array([1])
    attributes = {"axis": 2} if join == "Concat" else {}
    nodes = [
        make_node("Transpose", ["x"], ["x_f"], perm=[1, 0, 2]),
        make_node("Transpose", ["x"], ["x_r"], perm=[1, 0, 2]),
        recurrent_node(onnx, "GRU", "r", "x_r", held[1], direction="reverse"),
        recurrent_node(onnx, "GRU", "f", "x_f", held[0]),
        make_node("Squeeze", ["f_Y", "axis"], ["f_y"]),
        make_node("Squeeze", ["r_Y", "axis"], ["r_y"]),
        make_node(join, ["f_y", "r_y"], ["lower"], **attributes),
        recurrent_node(onnx, "GRU", "upper", "lower", upper, direction="bidirectional"),
        *merged(join, stored),
        make_node("Transpose", ["upper"], ["y"], perm=[1, 0, 2]),
    ]
    model = model_of(onnx, nodes, {"x": ["B", "T", I]}, ["y"], stored)
    rnn, params = from_onnx(model)
    merge = "concat" if join == "Concat" else "sum"
    cell = drnn.gru(H, reset_after=False)
    assert rnn == drnn.deep_rnn(cell, 2, bidirectional=True, merge=merge)
    x = draw(80, B, T, I)
    y = rnn.apply(params, x.swapaxes(0, 1))[1].swapaxes(0, 1)
    pytest.importorskip("onnxruntime")
    np.testing.assert_allclose(y, run(model, {"x": x})["y"], atol=1e-5)


def merged(join, stored):
    """Give the nodes that join the directions of upper_Y."""
    if join == "Add":
        return [make_node("ReduceSum", ["upper_Y", "axis"], ["upper"], keepdims=0)]
    stored["all"] = np.array([0, 0, -1])
    return [
        make_node("Transpose", ["upper_Y"], ["side"], perm=[0, 2, 1, 3]),
        make_node("Reshape", ["side", "all"], ["upper"]),
    ]


def test_residual_and_batch_first_layout():
    held = [weights("RNN", input_size=H, seed=seed) for seed in (0, 1)]
    stored = stored_as("lower", held[0]) | stored_as("upper", held[1])
    stored["axis"] = np.array([2])
    nodes = [
        recurrent_node(onnx, "RNN", "lower", "x", held[0], layout=1),
        make_node("Squeeze", ["lower_Y", "axis"], ["lower"]),
        recurrent_node(onnx, "RNN", "upper", "lower", held[1], layout=1),
        make_node("Squeeze", ["upper_Y", "axis"], ["upper"]),
        make_node("Add", ["lower", "upper"], ["y"]),
    ]
    model = model_of(onnx, nodes, {"x": ["B", "T", H]}, ["y"], stored)
    rnn, params = from_onnx(model)
    assert rnn == drnn.deep_rnn(drnn.elman(H), 2, skip="residual")
    x = draw(80, B, T, H)
    (expected,) = import_module("onnx.reference").ReferenceEvaluator(model).run(None, {"x": x})
    y = rnn.apply(params, x.swapaxes(0, 1))[1].swapaxes(0, 1)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_a_function_of_the_model_and_a_file(tmp_path):
    held = weights("GRU")
    inner = recurrent_node(onnx, "GRU", "gru", "x", held)
    opsets = [onnx.helper.make_opsetid("", 17)]
    names = [f"gru_{key}" for key in "WRB"]
    function = onnx.helper.make_function("mine", "Layer", ["x", *names], ["gru_Y"], [inner], opsets)
    stored = stored_as("gru", held) | {"axis": np.array([1])}
    nodes = [
        make_node("Layer", ["x", *names], ["Y"], domain="mine"),
        make_node("Squeeze", ["Y", "axis"], ["y"]),
    ]
    model = model_of(onnx, nodes, {"x": ["T", "B", I]}, ["y"], stored, functions=[function])
    onnx.save(model, tmp_path / "model.onnx")
    for source in (model, tmp_path / "model.onnx", str(tmp_path / "model.onnx")):
        rnn, params = from_onnx(source)
        assert rnn == drnn.deep_rnn(drnn.gru(H, reset_after=False))
        np.testing.assert_array_equal(params.layers[0].cell.w_x[:, :H], held["W"][0, H : 2 * H].T)


@pytest.mark.parametrize("which", ["lower", "both"])
def test_outputs_of_a_lower_layer_are_refused(which):
    """Of the same width as the last layer's."""
    held = [weights("GRU", input_size=H, seed=seed) for seed in (0, 1)]
    stored = stored_as("lower", held[0]) | stored_as("upper", held[1]) | {"axis": np.array([1])}
    nodes = [
        recurrent_node(onnx, "GRU", "lower", "x", held[0]),
        make_node("Squeeze", ["lower_Y", "axis"], ["lower"]),
        recurrent_node(onnx, "GRU", "upper", "lower", held[1]),
        make_node("Squeeze", ["upper_Y", "axis"], ["upper"]),
        make_node("Concat", ["lower", "upper"], ["both"], axis=2),
    ]
    model = model_of(onnx, nodes, {"x": ["T", "B", H]}, ["upper", which], stored)
    with refuses("outputs must be what the last layer gives.*final states, got"):
        from_onnx(model)


def test_outputs_of_two_readouts_are_refused():
    stored = stored_as("gru", weights("GRU")) | {"axis": np.array([1])}
    stored |= {"w_a": draw(1, H, 3), "w_b": draw(2, H, 3)}
    nodes = [
        recurrent_node(onnx, "GRU", "gru", "x", weights("GRU")),
        make_node("Squeeze", ["gru_Y", "axis"], ["y"]),
        *(make_node("MatMul", ["y", f"w_{one}"], [one]) for one in "ab"),
    ]
    with refuses(r"outputs must have one readout, got \['a', 'b'\] of different ones"):
        from_onnx(model_of(onnx, nodes, {"x": ["T", "B", I]}, ["a", "b"], stored))
    rnn, _ = from_onnx(model_of(onnx, nodes, {"x": ["T", "B", I]}, ["a", "gru_Y_h"], stored))
    assert rnn == drnn.deep_rnn(drnn.gru(H, reset_after=False), output_size=3)


def test_a_custom_operator_in_the_way():
    held = [weights("GRU", input_size=size, seed=size) for size in (I, H)]
    stored = stored_as("a", held[0]) | stored_as("b", held[1])
    nodes = [
        recurrent_node(onnx, "GRU", "a", "x", held[0]),
        make_node("Mine", ["a_Y"], ["between"], domain="com.example"),
        recurrent_node(onnx, "GRU", "b", "between", held[1]),
    ]
    model = model_of(onnx, nodes, {"x": ["T", "B", I]}, ["b_Y"], stored)
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    with refuses(r"between must be what onnx.reference can evaluate.*com.example.Mine"):
        from_onnx(model)
    assert from_onnx(model, nodes=["b"])[0] == drnn.deep_rnn(drnn.gru(H, reset_after=False))


@pytest.mark.parametrize("direction", ["bidirectional", "reverse"])
def test_layers_of_other_directions(direction):
    directions = 2 if direction == "bidirectional" else 1
    held = [weights("GRU"), weights("GRU", directions=directions, input_size=H, seed=1)]
    stored = stored_as("a", held[0]) | stored_as("b", held[1]) | {"axis": np.array([1])}
    nodes = [
        recurrent_node(onnx, "GRU", "a", "x", held[0]),
        make_node("Squeeze", ["a_Y", "axis"], ["a"]),
        recurrent_node(onnx, "GRU", "b", "a", held[1], direction=direction),
    ]
    with refuses("all layers must have the same directions, got .*'forward',.*'reverse'"):
        from_onnx(model_of(onnx, nodes, {"x": ["T", "B", I]}, ["b_Y"], stored))


def test_a_state_that_is_computed():
    """The second network's first state is the first one's last, as a decoder's is."""
    held = [weights("GRU", seed=seed) for seed in (0, 1)]
    stored = stored_as("a", held[0]) | stored_as("b", held[1])
    nodes = [
        recurrent_node(onnx, "GRU", "a", "x", held[0]),
        recurrent_node(onnx, "GRU", "b", "x", held[1], states=["a_Y_h"]),
    ]
    model = model_of(onnx, nodes, {"x": ["T", "B", I]}, ["b_Y"], stored)
    with refuses(r"initial_h of GRU 'b' must be an input of the model.*nodes=\[...\]"):
        from_onnx(model)
    assert from_onnx(model, nodes=["b"])[0] == from_onnx(model, nodes=["a"])[0]
