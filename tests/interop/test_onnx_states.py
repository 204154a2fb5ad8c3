"""Initial states and lengths in ONNX models: stored, computed, of some nodes alone."""

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
    stored_as,
    weights,
)

onnx = pytest.importorskip("onnx")
make_node = onnx.helper.make_node


def with_states(h, c, lengths=None):
    """Make a model of an LSTM that holds its first state, and perhaps its lengths."""
    held = weights("LSTM")
    stored = stored_as("lstm", held) | {"h": h, "c": c, "axis": np.array([1])}
    stored |= {} if lengths is None else {"n": np.array(lengths, np.int32)}
    node = recurrent_node(
        onnx, "LSTM", "lstm", "x", held, states=["h", "c"], lengths="" if lengths is None else "n"
    )
    nodes = [node, make_node("Squeeze", ["lstm_Y", "axis"], ["y"])]
    return model_of(onnx, nodes, {"x": [T, B, I]}, ["y"], stored)


def test_states_and_lengths_that_are_stored():
    zeros = np.zeros((1, B, H), np.float32)
    same = np.repeat(draw(1, 1, 1, H), B, axis=1)
    rnn, params = agrees(with_states(zeros, zeros, [T] * B), draw(80, T, B, I))
    assert rnn == drnn.deep_rnn(drnn.lstm(H))
    rnn, params = agrees(with_states(zeros, same), draw(80, T, B, I))
    assert rnn == drnn.deep_rnn(drnn.learned_initial_state(drnn.lstm(H)))
    np.testing.assert_array_equal(params.layers[0].cell.initial.c, same[0, 0])
    with refuses("initial_c of LSTM 'lstm' must be the same for all rows, .*got 3 that differ"):
        from_onnx(with_states(zeros, draw(2, 1, B, H)))
    with refuses(r"sequence_lens of LSTM 'lstm' must be an input.* got the constant \[5, 1, 5\]"):
        from_onnx(with_states(zeros, zeros, [T, 1, T]))
    model = with_states(zeros, zeros, [1, 1, 1])
    tensor = next(one for one in model.graph.initializer if one.name == "n")
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, make_node("Constant", [], ["n"], value=tensor))
    with refuses(r"got the constant \[1, 1, 1\]"):
        from_onnx(model)


def with_lengths(computed, *, last="", inputs=None):
    """Make a model of two layers whose lengths nodes compute, those of the second perhaps others.

    Args:
      computed: nodes that give "n", of x and lengths.
      last: the second layer's lengths.
      inputs: the model's.
    """
    held = [weights("GRU"), weights("GRU", input_size=H, seed=1)]
    stored = stored_as("a", held[0]) | stored_as("b", held[1])
    numbers = {"axis": [1], "one": [1], "zero": [0], "two": [2]}
    stored |= {name: np.array(value) for name, value in numbers.items()}
    nodes = [
        *computed,
        recurrent_node(onnx, "GRU", "a", "x", held[0], lengths="n"),
        make_node("Squeeze", ["a_Y", "axis"], ["a"]),
        recurrent_node(onnx, "GRU", "b", "a", held[1], lengths=last),
        make_node("Squeeze", ["b_Y", "axis"], ["y"]),
    ]
    inputs = {"x": ["T", "B", I]} if inputs is None else inputs
    return model_of(onnx, nodes, inputs, ["y"], stored)


def of_shape(*steps):
    """Give the nodes that make lengths of x's shape, by others that make "t" of the steps "s"."""
    cast = onnx.TensorProto.INT32
    return [
        make_node("Shape", ["x"], ["shape"]),
        make_node("Slice", ["shape", "zero", "one"], ["s"]),
        make_node("Slice", ["shape", "one", "two"], ["rows"]),
        *steps,
        make_node("Expand", ["t", "rows"], ["all"]),
        make_node("Cast", ["all"], ["n"], to=cast),
    ]


def test_lengths_that_are_computed():
    whole = with_lengths(of_shape(make_node("Identity", ["s"], ["t"])))
    rnn, _ = agrees(whole, draw(80, T, B, I))
    assert rnn == drnn.deep_rnn(drnn.gru(H, reset_after=False), 2)
    shorter = with_lengths(of_shape(make_node("Sub", ["s", "one"], ["t"])), last="n")
    with refuses(r"sequence_lens of GRU 'a' must be an input .*got \[.*'Shape', .*'Sub'\]"):
        from_onnx(shorter)
    inputs = {"x": ["T", "B", I], "lengths": ["B"]}
    cast = make_node("Cast", ["one"], ["one_less"], to=onnx.TensorProto.INT32)
    nodes = [cast, make_node("Sub", ["lengths", "one_less"], ["n"])]
    with refuses(r"sequence_lens of GRU 'a' must be an input .*got \['Cast', 'Sub'\]"):
        from_onnx(with_lengths(nodes, last="n", inputs=inputs))


def test_lengths_of_one_layer_alone():
    inputs = {"x": ["T", "B", I], "lengths": ["B"], "other": ["B"]}
    same = [make_node("Identity", ["lengths"], [name]) for name in ("n", "m")]
    assert len(from_onnx(with_lengths(same, last="m", inputs=inputs))[0].plan.cells) == 2
    for last in ("", "other"):
        with refuses("sequence_lens must be the same for all nodes, or none, got .*'lengths'"):
            from_onnx(with_lengths(same[:1], last=last, inputs=inputs))


def test_weights_and_states_of_the_number_of_steps():
    """With one step both would be what is stored."""
    held = weights("GRU")
    stored = stored_as("gru", held) | {"zero": np.array(0), "axis": np.array([1])}
    stored |= {"h_1": draw(1, 1, 1, H)}

    def scaled(stored_name, name):
        return [
            make_node("Shape", ["x"], ["shape"]),
            make_node("Gather", ["shape", "zero"], ["t"]),
            make_node("Cast", ["t"], ["steps"], to=onnx.TensorProto.FLOAT),
            make_node("Mul", [stored_name, "steps"], [name]),
        ]

    node = recurrent_node(onnx, "GRU", "gru", "x", held, states=["h"])
    model = model_of(onnx, [*scaled("h_1", "h"), node], {"x": ["T", "B", I]}, ["gru_Y"], stored)
    with refuses("initial_h of GRU 'gru' must be the same for all rows, whatever the shape of x"):
        from_onnx(model)
    stored["R_1"] = stored.pop("gru_R")
    node = recurrent_node(onnx, "GRU", "gru", "x", held)
    model = model_of(onnx, [*scaled("R_1", "gru_R"), node], {"x": ["T", "B", I]}, ["gru_Y"], stored)
    with refuses("R of GRU 'gru' must be stored in the model, got 'gru_R', which its inputs"):
        from_onnx(model)


@pytest.mark.parametrize("directions", [["reverse"], ["reverse", "forward"]])
def test_stored_states_of_nodes_of_one_direction(directions):
    """Each node has its own; the network's are in the order forward, reverse."""
    held = [weights("GRU", seed=seed) for seed in range(len(directions))]
    stored, nodes, ys = {}, [], []
    for n, direction in enumerate(directions):
        name = direction[0]
        stored |= stored_as(name, held[n]) | {f"{name}_0": np.repeat(draw(n, 1, 1, H), B, axis=1)}
        nodes.append(
            recurrent_node(
                onnx, "GRU", name, "x", held[n], states=[f"{name}_0"], direction=direction
            )
        )
        ys.insert(0, f"{name}_Y")
    nodes.append(make_node("Concat", ys, ["Y"], axis=3))
    nodes.append(make_node("Squeeze", ["Y", "axis"], ["y"]))
    stored["axis"] = np.array([1])
    model = model_of(onnx, nodes, {"x": ["T", "B", I]}, ["y"], stored)
    _, params = agrees(model, draw(80, T, B, I))
    initial = params.layers[0].cell.initial.h
    np.testing.assert_array_equal(initial[1], stored["r_0"][0, 0])
    np.testing.assert_array_equal(initial[0], stored.get("f_0", np.zeros((1, 1, H), "f"))[0, 0])
