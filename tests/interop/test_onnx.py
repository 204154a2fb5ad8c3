"""ONNX's nodes and ours: its own node tests, onnxruntime, and nodes that are refused."""

import pickle
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.interop.onnx import from_onnx, reverse_only
from deeprnn_jax.interop.onnx.activations import OnnxActivation
from tests.interop.onnx_cases import (
    GATES,
    B,
    H,
    I,
    T,
    draw,
    refuses,
    run,
    single,
    value_info,
    weights,
)

onnx = pytest.importorskip("onnx")
CONSTANTS = {
    "Affine": (0.5, 0.25),
    "Elu": (0.7,),
    "HardSigmoid": (0.3, 0.4),
    "LeakyRelu": (0.2,),
    "ScaledTanh": (0.8, 0.6),
    "ThresholdedRelu": (0.3,),
}
PLAIN = ["Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"]


def node_tests():
    """Give ONNX's own tests of the three operators, by name."""
    package = import_module("onnx.backend.test.case.node")
    for operator in GATES:
        import_module(f"onnx.backend.test.case.node.{operator.lower()}")
    found = {case.name: case for case in package._NodeTestCases}
    names = ("test_rnn", "test_simple_rnn", "test_gru", "test_lstm")
    return {name: case for name, case in found.items() if name.startswith(names)}


NODE_TESTS = node_tests()


def test_there_are_node_tests():
    assert len(NODE_TESTS) >= 18


@pytest.mark.parametrize("name", sorted(NODE_TESTS))
def test_node_tests(name):
    model = onnx.ModelProto()
    model.CopyFrom(NODE_TESTS[name].model)
    arrays, expected = NODE_TESTS[name].data_sets[0]
    feeds = dict(zip((one.name for one in model.graph.input), arrays, strict=True))
    x, lengths = feeds.pop("X"), feeds.pop("sequence_lens", None)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in feeds.items())
    node = model.graph.node[0]
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    axis = 1 if attributes.get("layout") else 0
    rnn, params = from_onnx(model)
    state, y = rnn.apply(params, np.moveaxis(x, axis, 0), lengths=lengths)
    found = {"Y": per_direction(y, attributes.get("direction") == b"bidirectional")}
    for output, leaf in zip(node.output[1:], state[0], strict=False):
        leaf = (
            leaf if rnn.plan.merge is None else leaf[1 if rnn.plan.merge is reverse_only else 0 :]
        )
        found[output] = np.reshape(leaf, (-1, *leaf.shape[-2:]))
    found = {key: array if axis == 0 else batch_first(array) for key, array in found.items()}
    given = [one for one in node.output if one]
    for output, array in zip(given, expected, strict=True):
        np.testing.assert_allclose(found[output], array, atol=1e-6, err_msg=output)


def per_direction(y, both):
    """Give Y `[T, D, B, H]` of y `[T, B, D*H]`."""
    return np.stack(np.split(np.asarray(y), 2, axis=-1) if both else [y], axis=1)


def batch_first(array):
    """Give Y or Y_h as layout=1 has it."""
    return np.moveaxis(array, (0, 1, 2), (1, 2, 0)) if array.ndim == 4 else array.swapaxes(0, 1)


NODES = {
    "rnn": ("RNN", {"direction": "bidirectional"}, {}),
    "rnn_relu_no_bias": ("RNN", {"activations": ["Relu"]}, {"bias": False}),
    "gru": ("GRU", {"direction": "bidirectional", "linear_before_reset": 1}, {}),
    "gru_reset_before": ("GRU", {"direction": "bidirectional"}, {}),
    "gru_no_bias": ("GRU", {"linear_before_reset": 1}, {"bias": False}),
    "gru_reverse": ("GRU", {"direction": "reverse"}, {}),
    "gru_activations": (
        "GRU",
        {
            "activations": ["HardSigmoid", "LeakyRelu"],
            "activation_alpha": [0.3, 0.1],
            "activation_beta": [0.4],
        },
        {},
    ),
    "lstm": ("LSTM", {"direction": "bidirectional"}, {"peep": True}),
    "lstm_no_bias": ("LSTM", {}, {"bias": False}),
    "lstm_reverse": ("LSTM", {"direction": "reverse"}, {"peep": True}),
    "lstm_coupled": ("LSTM", {"input_forget": 1, "direction": "bidirectional"}, {"peep": True}),
    "lstm_coupled_hard": (
        "LSTM",
        {
            "input_forget": 1,
            "activations": ["HardSigmoid", "Softsign", "Softsign"],
            "activation_alpha": [1 / 6],
        },
        {},
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_nodes_as_onnxruntime_runs_them(name):
    """With states and ragged rows, in both directions."""
    pytest.importorskip("onnxruntime")
    operator, attributes, options = NODES[name]
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    held = weights(operator, directions, **options)
    states = [draw(90 + n, directions, B, H) for n in range(2 if operator == "LSTM" else 1)]
    model = single(onnx, operator, held, states=states, **attributes)
    x, lengths = draw(80, T, B, I), np.array([5, 1, 3], np.int32)
    feeds = {"x": x, "lengths": lengths} | dict(
        zip(["initial_h", "initial_c"], states, strict=False)
    )
    expected = run(model, feeds)
    rnn, params = from_onnx(model)
    alone = attributes.get("direction") == "reverse"
    starts = [np.concatenate([h, h]) if alone else h if directions == 2 else h[0] for h in states]
    kind = type(rnn.initial_state(params, B)[0])
    state, y = rnn.apply(params, x, (kind(*map(jnp.asarray, starts)),), lengths=lengths)
    np.testing.assert_allclose(per_direction(y, directions == 2), expected["node_Y"], atol=1e-5)
    for field, leaf in state[0]._asdict().items():
        leaf = leaf[1] if alone else leaf
        np.testing.assert_allclose(
            np.reshape(leaf, (directions, B, H)), expected[f"node_Y_{field}"], atol=1e-5
        )


@pytest.mark.parametrize("name", [*PLAIN, *CONSTANTS])
def test_activations_as_onnxruntime_has_them(name):
    pytest.importorskip("onnxruntime")
    held = weights("RNN")
    constants = CONSTANTS.get(name, ())
    given = dict(
        zip(["activation_alpha", "activation_beta"], ([c] for c in constants), strict=False)
    )
    defaults = [{}] if name not in ("Affine", "ScaledTanh", "ThresholdedRelu") else []
    for options in [given, *defaults]:
        model = single(onnx, "RNN", held, activations=[name], **options)
        x, lengths = draw(80, T, B, I), np.full(B, T, np.int32)
        expected = run(model, {"x": x, "lengths": lengths})["node_Y"]
        rnn, params = from_onnx(model)
        np.testing.assert_allclose(rnn.apply(params, x)[1], expected[:, 0], atol=1e-5)


def test_activations_with_constants_are_equal_and_pickle():
    alike = [from_onnx(single(onnx, "RNN", weights("RNN"), activations=["Elu"])) for _ in range(2)]
    assert alike[0][0] == alike[1][0] == drnn.deep_rnn(drnn.elman(H, jax.nn.elu))
    function = OnnxActivation("LeakyRelu", (0.2,))
    assert pickle.loads(pickle.dumps(function)) == function != OnnxActivation("Elu", (0.2,))
    model = single(onnx, "RNN", weights("RNN"), activations=["LeakyRelu"], activation_alpha=[0.2])
    assert from_onnx(model)[0] == drnn.deep_rnn(drnn.elman(H, function))


# what is refused

REFUSED = {
    "clip": ({"clip": 3.0}, r"LSTM 'node' must have no clip, got 3.0: no cell bounds"),
    "unknown": ({"activations": ["Sin"] * 3}, "activations must be of Affine, .*got 'Sin'"),
    "two": ({"activations": ["Sigmoid", "Tanh", "Relu"]}, "one activation for its cell and its"),
    "few": ({"activations": ["Sigmoid", "Tanh"]}, "must have 3 activations, got"),
    "coupled": (
        {"activations": ["Tanh"] * 3, "input_forget": 1},
        "with input_forget=1 must have gates of sigmoid",
    ),
    "alpha": ({"activation_alpha": [0.5]}, "one value for each of .*that has one, got"),
    "affine": (
        {"activations": ["Sigmoid", "Affine", "Affine"]},
        "Affine must have its activation_alpha",
    ),
    "direction": ({"direction": "backwards"}, "direction of LSTM 'node' must be one of"),
    "both": ({"direction": "bidirectional"}, r"W of LSTM 'node' must be \(2, 16, 2\).*got \(1, 16"),
    "size": ({"hidden_size": 3}, r"must be \(1, 12, 2\), of 1 direction\(s\) and hidden_size=3"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_nodes_that_no_cell_is(reason):
    attributes, message = REFUSED[reason]
    with refuses(message):
        from_onnx(single(onnx, "LSTM", weights("LSTM"), **attributes))


def test_models_that_are_none(tmp_path):
    with refuses("model must be an onnx.ModelProto or a file's path, got int"):
        from_onnx(3)
    for suffix in ("onnx", "json"):
        (tmp_path / f"model.{suffix}").write_bytes(b"no model at all")
        with refuses(rf"model must be a file that onnx can read, got .*model\.{suffix}"):
            from_onnx(tmp_path / f"model.{suffix}")
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "other.onnx")
    held = weights("GRU")
    with refuses(r"opset must be 7 or newer, got \[6\]; convert"):
        from_onnx(single(onnx, "GRU", held, opset=6))
    custom = single(onnx, "GRU", held)
    custom.graph.node[0].domain = "com.example"
    with refuses("whose shapes onnx can infer, got .*No opset import for domain com.example"):
        from_onnx(custom)
    custom.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    with refuses(r"must have nodes RNN, LSTM or GRU of ONNX itself, got \['com.example.GRU'\]"):
        from_onnx(custom)
    fed = single(onnx, "GRU", held)
    fed.graph.input.append(value_info(onnx, "node_W", held["W"].shape))
    del fed.graph.initializer[0]
    with refuses("W of GRU 'node' must be stored in the model, got 'node_W'"):
        from_onnx(fed)


def test_names_in_messages_are_the_nodes_own():
    model = single(onnx, "LSTM", weights("LSTM"), name="", clip=1.0)
    with refuses("LSTM '_Y' must have no clip"):
        from_onnx(model)
