"""Networks as ONNX models: the same numbers in onnxruntime, and back again."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.interop.onnx import from_onnx, reverse_only, to_onnx
from deeprnn_jax.interop.onnx.activations import OnnxActivation
from tests.interop.onnx_cases import I, draw, random_params, run
from tests.interop.recorded import assert_close, random_like

onnx = pytest.importorskip("onnx")
LENGTHS = np.array([4, 0, 2], np.int32)

learned = drnn.learned_initial_state
NETWORKS = {
    "elman": drnn.deep_rnn(drnn.elman(4, jax.nn.relu, use_bias=False), 2),
    "gru": drnn.deep_rnn(drnn.gru(4), 3, output_size=5, skip="residual"),
    "gru_both": drnn.deep_rnn(
        drnn.gru(4, reset_after=False), 2, bidirectional=True, merge="sum", skip="residual"
    ),
    "lstm": drnn.deep_rnn(drnn.lstm(4, peepholes=True), 2, bidirectional=True, output_size=3),
    "coupled": drnn.deep_rnn(drnn.lstm(3, coupled=True, peepholes=True, use_bias=False), 2),
    "learned": drnn.deep_rnn([drnn.gru(4, use_bias=False), learned(drnn.lstm(3, coupled=True))]),
    "learned_both": drnn.deep_rnn(learned(drnn.gru(3)), 2, bidirectional=True),
    "reverse": drnn.deep_rnn(drnn.elman(3), 2, bidirectional=True, merge=reverse_only),
    "activations": drnn.deep_rnn(
        [
            drnn.lstm(3, gate_activation=jax.nn.hard_sigmoid, cell_activation=jax.nn.leaky_relu),
            drnn.gru(3, activation=OnnxActivation("ScaledTanh", (0.8, 0.6))),
        ]
    ),
}


def feeds_of(rnn, params, model, steps, batch, *, lengths, state):
    """Give random inputs of a model, and what `apply` takes for them."""
    x = draw(steps, steps, batch, I)
    feeds, options, start = {"x": x}, {}, None
    if lengths:
        options = {"lengths": LENGTHS[:batch]}
        feeds |= options
    if state:
        like = jax.eval_shape(lambda: rnn.initial_state(params, batch))
        start = jax.tree.map(jnp.asarray, random_like(np.random.default_rng(1), like))
        names = [one.name for one in model.graph.input if one.name.startswith("initial")]
        feeds |= dict(zip(names, map(np.asarray, jax.tree.leaves(start)), strict=True))
    return feeds, (x, start), options


CASES = [
    *((name, (4, 3), True, True) for name in NETWORKS),
    *((name, (6, 2), False, False) for name in NETWORKS),
    *((name, (4, 3), True, False) for name in ("learned", "learned_both")),
]


@pytest.mark.parametrize(("name", "shape", "lengths", "state"), CASES)
def test_onnxruntime_computes_the_same(name, shape, lengths, state):
    """At any size of time and batch; with a row that has no step."""
    pytest.importorskip("onnxruntime")
    rnn = NETWORKS[name]
    params = random_params(rnn)
    model = to_onnx(rnn, params, lengths=lengths, state=state)
    onnx.checker.check_model(model, full_check=True)
    feeds, args, options = feeds_of(rnn, params, model, *shape, lengths=lengths, state=state)
    y, *finals = ordered(run(model, feeds))
    expected_state, expected = rnn.apply(params, *args, **options)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    for final, leaf in zip(finals, jax.tree.leaves(expected_state), strict=True):
        np.testing.assert_allclose(final, leaf, atol=1e-5)


def ordered(outputs):
    """Give y, then the final states."""
    return [outputs.pop("y"), *outputs.values()]


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_back_again(name, lengths):
    rnn = NETWORKS[name]
    params = random_params(rnn)
    again, back = from_onnx(to_onnx(rnn, params, lengths=lengths))
    assert again == rnn
    assert_close(back, params, 1e-7)  # b is the sum of two


def test_a_state_that_is_given_is_none_of_the_model():
    plain, rnn = (drnn.deep_rnn(cell, 2) for cell in (drnn.gru(4), learned(drnn.gru(4))))
    model = to_onnx(rnn, random_params(rnn), state=True)
    assert from_onnx(model)[0] == plain
    assert [one.name for one in model.graph.input] == ["x", "initial_h_0", "initial_h_1"]
    shapes = [
        [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input[:2], *model.graph.output]
    ]
    assert shapes == [["T", "B", I], ["B", 4], ["B", 4], ["B", 4], ["T", "B", 4]]


def test_stacked_layers_and_dropout():
    """What is held stacked is the same model; what is dropped in training, no part of it."""
    apart = drnn.deep_rnn(learned(drnn.lstm(4)), 4, skip="residual")
    stacked = drnn.deep_rnn(
        learned(drnn.lstm(4)), 4, skip="residual", stack_layers=True, dropout=0.5
    )
    params = random_params(apart)
    held = params._replace(layers=stacked.stack(params.layers))
    assert to_onnx(apart, params) == to_onnx(stacked, held)


def test_float64_in_the_reference_evaluator(x64):
    rnn = drnn.deep_rnn(drnn.gru(3), 2, bidirectional=True, output_size=2, param_dtype="float64")
    params = random_params(rnn)
    model = to_onnx(rnn, params)
    x = draw(0, 4, 2, I).astype("float64")
    evaluator = import_module("onnx.reference").ReferenceEvaluator(model)
    (y,) = evaluator.run(["y"], {"x": x})
    np.testing.assert_allclose(y, rnn.apply(params, x)[1], atol=1e-12)
    again, back = from_onnx(model)
    assert again == rnn
    assert_close(back, params, 1e-15)


def test_float16_and_back():
    rnn = drnn.deep_rnn(drnn.lstm(3), 2, param_dtype="float16")
    params = random_params(rnn)
    model = to_onnx(rnn, params, lengths=True)
    onnx.checker.check_model(model, full_check=True)
    again, back = from_onnx(model)
    assert again == rnn
    assert_close(back, params, 0)


REFUSED = {
    "projection": (drnn.deep_rnn(drnn.lstm(3, projection_size=2)), "projection_size=None, got 2"),
    "modifier": (drnn.deep_rnn(drnn.layer_norm(drnn.lstm(3))), "without a modifier, got 'layer_n"),
    "cell": (drnn.deep_rnn(drnn.independent(3)), "elman, lstm or gru without"),
    "norm": (drnn.deep_rnn(drnn.gru(3), 2, normalize_inputs=True), "got normalize_inputs=True"),
    "highway": (drnn.deep_rnn(drnn.gru(3), 2, skip="highway"), "got skip='highway'"),
    "dense": (drnn.deep_rnn(drnn.gru(3), 2, skip="dense"), "got skip='dense'"),
    "merge": (
        drnn.deep_rnn(drnn.gru(3), bidirectional=True, merge=jnp.multiply),
        "merge must be 'concat', 'sum' or",
    ),
    "activation": (
        drnn.deep_rnn(drnn.gru(3, activation=jax.nn.gelu)),
        "activation must be one that ONNX has, Affine, .*part of what the network learnt",
    ),
    "coupled": (
        drnn.deep_rnn(drnn.lstm(3, coupled=True, gate_activation=jnp.tanh)),
        "coupled=True must have gates of sigmoid",
    ),
    "dtype": (drnn.deep_rnn(drnn.gru(3), param_dtype="bfloat16"), "got bfloat16, which ONNX's"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason):
    rnn, message = REFUSED[reason]
    with pytest.raises(ValueError, match=rf"^to_onnx: .*{message}"):
        to_onnx(rnn, random_params(rnn))


def test_other_mistakes():
    rnn = drnn.deep_rnn(drnn.gru(4), output_size=2)
    params = random_params(rnn)
    with pytest.raises(ValueError, match=r"^to_onnx: lengths must be True or False, got 3"):
        to_onnx(rnn, params, lengths=3)
    with pytest.raises(
        ValueError, match=r"^to_onnx: params are not of this network: .*a GRUParams"
    ):
        to_onnx(rnn, random_params(drnn.deep_rnn(drnn.lstm(4), output_size=2)))
    with pytest.raises(ValueError, match=r"^to_onnx: params are not of this network: .*readout"):
        to_onnx(rnn, params._replace(readout=None))
    rnn = drnn.deep_rnn(learned(drnn.gru(4)))
    with pytest.raises(ValueError, match=r"^to_onnx: .* must be LearnedStateParams, got GRUParams"):
        to_onnx(rnn, random_params(drnn.deep_rnn(drnn.gru(4))))
