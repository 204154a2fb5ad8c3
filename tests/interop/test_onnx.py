"""ONNX's nodes and ours: its own node tests, onnxruntime, torch's exports, and what is refused."""

import io
import pickle
import warnings
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
    model_of,
    recurrent_node,
    run,
    single,
    stored_as,
    value_info,
    weights,
)

onnx = pytest.importorskip("onnx")
make_node = onnx.helper.make_node
CONSTANTS = {
    "Affine": (0.5, 0.25),
    "Elu": (0.7,),
    "HardSigmoid": (0.3, 0.4),
    "LeakyRelu": (0.2,),
    "ScaledTanh": (0.8, 0.6),
    "ThresholdedRelu": (0.3,),
}
PLAIN = ["Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"]


def refuses(message):
    return pytest.raises(ValueError, match=rf"^from_onnx: .*{message}")


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


# torch's own exports

TORCH = {
    "lstm": ("LSTM", {}),
    "lstm_deep": ("LSTM", {"num_layers": 2, "bidirectional": True, "dropout": 0.5}),
    "lstm_batch_first": ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    "gru": ("GRU", {"num_layers": 3}),
    "gru_no_bias": ("GRU", {"bidirectional": True, "bias": False, "batch_first": True}),
    "rnn": ("RNN", {"num_layers": 2, "nonlinearity": "relu"}),
}


def export(module, *args, dynamic=True):
    """Give a torch module as an ONNX model."""
    torch = pytest.importorskip("torch")
    options = {"input_names": ["x"], "dynamic_axes": {"x": {0: "d0", 1: "d1"}}} if dynamic else {}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of this exporter, and of batches of one length
        torch.onnx.export(module.eval(), args, file, dynamo=False, **options)
    return onnx.load_from_string(file.getvalue())


def torch_y(module, x):
    return module(x)[0].detach().numpy()


@pytest.mark.parametrize(
    ("name", "dynamic"),
    [*((name, True) for name in TORCH), ("lstm_deep", False), ("gru_no_bias", False)],
)
def test_torch_exports(name, dynamic):
    torch = pytest.importorskip("torch")
    kind, options = TORCH[name]
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(I, H, **options)
    x = torch.randn(T, B, I)
    rnn, params = from_onnx(export(module, x, dynamic=dynamic))
    axis = 1 if module.batch_first else 0
    y = rnn.apply(params, np.moveaxis(x.numpy(), axis, 0))[1]
    np.testing.assert_allclose(np.moveaxis(y, 0, axis), torch_y(module, x), atol=1e-5)
    assert len(rnn.plan.cells) == module.num_layers


def test_torch_export_without_a_batch_axis():
    torch = pytest.importorskip("torch")
    module, x = torch.nn.GRU(I, H), torch.randn(T, I)
    rnn, params = from_onnx(export(module, x, dynamic=False))
    np.testing.assert_allclose(rnn.apply(params, x.numpy())[1], torch_y(module, x), atol=1e-5)


def tagger(torch, *, embed=False, between=None, after=None, last=False):
    """Make a module of two kinds of layers, with other things around them."""

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(7, I)
            self.lower, self.upper = torch.nn.LSTM(I, H, 2), torch.nn.GRU(H, 3)
            self.readout = torch.nn.Linear(3, 6)
            self.h = torch.nn.Parameter(torch.randn(2, 1, H))

        def forward(self, x):
            x = self.embedding(x) if embed else x
            h = self.h.expand(-1, x.shape[1], -1).contiguous()
            y, _ = self.lower(x, (h, torch.zeros_like(h)))
            y, _ = self.upper(y if between is None else between(y))
            y = self.readout(y[-1] if last else y)
            return y if after is None else after(y)

    torch.manual_seed(0)
    return Tagger()


@pytest.mark.parametrize("dynamic", [True, False])
def test_torch_model_with_readout_and_learned_state(dynamic):
    torch = pytest.importorskip("torch")
    module, x = tagger(torch), torch.randn(T, B, I)
    rnn, params = from_onnx(export(module, x, dynamic=dynamic))
    y = rnn.apply(params, x.numpy())[1]
    np.testing.assert_allclose(y, module(x).detach(), atol=1e-5)
    names = [cell.name for cell in rnn.plan.cells]
    assert names == ["learned_initial_state(lstm)"] * 2 + ["gru"]
    np.testing.assert_array_equal(params.layers[1].cell.initial.h, module.h[1, 0].detach())


def test_named_nodes_of_a_bigger_model():
    torch = pytest.importorskip("torch")
    module, x = tagger(torch, embed=True, after=torch.sigmoid), torch.randint(0, 7, (T, B))
    model = export(module, x)
    with refuses(r"'/lower/LSTM' must read the model's input, got 'x' .*Gather.*nodes=\[...\]"):
        from_onnx(model)
    rnn, params = from_onnx(model, nodes=["/lower/LSTM", "/lower/LSTM_1", "/upper/GRU"])
    y = rnn.apply(params, module.embedding(x).detach().numpy())[1]
    logits = module.readout(torch.from_numpy(np.array(y)))
    np.testing.assert_allclose(torch.sigmoid(logits).detach(), module(x).detach(), atol=1e-5)
    upper, _ = from_onnx(model, nodes=["/upper/GRU"])
    assert upper == drnn.deep_rnn(drnn.gru(3))
    with refuses("otherwise from LSTM '/lower/LSTM' to GRU '/upper/GRU'"):
        from_onnx(model, nodes=["/lower/LSTM", "/upper/GRU"])
    for wrong in (["/upper/LSTM"], "/upper/GRU", []):
        with refuses("nodes must be a list of names out of .*'/upper/GRU'"):
            from_onnx(model, nodes=wrong)


def test_what_is_between_and_after_is_refused():
    torch = pytest.importorskip("torch")
    x = torch.randn(T, B, I)
    with refuses("each layer must read what the one before gives.*'/lower/LSTM_1' to GRU"):
        from_onnx(export(tagger(torch, between=torch.relu), x))
    with refuses("each layer must read"):  # time and batch the other way round
        from_onnx(export(tagger(torch, between=lambda y: y.transpose(0, 1)), x))
    with refuses("outputs must be what the last layer gives.*Sigmoid"):
        from_onnx(export(tagger(torch, after=torch.sigmoid), x))
    with refuses("outputs must be what the last layer gives.*Gather"):
        from_onnx(export(tagger(torch, last=True), x))


# models made by hand, as exporters of other libraries and years write them


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
    rnn, params = from_onnx(model_of(onnx, nodes, {"x": ["B", "T", H]}, ["y"], stored))
    assert rnn == drnn.deep_rnn(drnn.elman(H), 2, skip="residual")
    np.testing.assert_array_equal(params.layers[1].cell.w_h, held[1]["R"][0].T)


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
    with refuses("initial_c of LSTM 'lstm' must be the same for all rows, got 3 that differ"):
        from_onnx(with_states(zeros, draw(2, 1, B, H)))
    with refuses(r"sequence_lens of LSTM 'lstm' must be an input.* got the constant \[5, 1, 5\]"):
        from_onnx(with_states(zeros, zeros, [T, 1, T]))
    model = with_states(zeros, zeros, [1, 1, 1])
    tensor = next(one for one in model.graph.initializer if one.name == "n")
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, make_node("Constant", [], ["n"], value=tensor))
    with refuses(r"got the constant \[1, 1, 1\]"):
        from_onnx(model)


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


def test_models_that_are_none():
    with refuses("model must be an onnx.ModelProto or a file's path, got int"):
        from_onnx(3)
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


def test_names_in_messages_are_the_nodes_own():
    model = single(onnx, "LSTM", weights("LSTM"), name="", clip=1.0)
    with refuses("LSTM '_Y' must have no clip"):
        from_onnx(model)
