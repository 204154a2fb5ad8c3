"""Keras's layers and ours: the same outputs, states and gradients, both ways."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import interop
from deeprnn_jax.interop import activations
from deeprnn_jax.interop.keras import average
from tests.interop import keras_cases
from tests.interop.recorded import GOLDEN, assert_agrees, assert_close, load, random_like


@pytest.fixture
def keras():
    """Give Keras on JAX, or skip: the stored vectors are compared everywhere."""
    module = pytest.importorskip("keras")
    if module.backend.backend() != "jax":
        pytest.skip("Keras runs on another backend")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield module


def random_params(rnn, input_size):
    """Give parameters without drawing them as init does, and with no bias zero."""
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), input_size))
    return jax.tree.map(jnp.asarray, random_like(np.random.default_rng(0), shapes))


def state_of(rnn):
    """Give the function that reads Keras's states, flat, for this network."""

    def read(arrays):
        arrays = iter(arrays)
        directions = 1 if rnn.plan.merge is None else 2
        counts = [directions * (2 if cell.name == "lstm" else 1) for cell in rnn.plan.cells]
        layers = [list(itertools.islice(arrays, count)) for count in counts]
        return interop.state_from_keras(rnn, layers)

    return read


def assert_same_outputs(layer, rnn, params, x):
    """Compare a Keras layer or model with a network on whole rows."""
    y = jax.jit(rnn.apply)(params, x.swapaxes(0, 1))[1]
    np.testing.assert_allclose(jax.jit(layer)(x), y.swapaxes(0, 1), atol=1e-5)


@pytest.mark.parametrize("name", keras_cases.STORED)
def test_stored_vectors(name):
    run = load(GOLDEN / "keras.npz", name)
    rnn, params = interop.from_keras(keras_cases.stand_in(name, run.weights))
    assert_agrees(rnn, params, run, state_of(rnn))


@pytest.mark.parametrize("name", keras_cases.CASES)
def test_from_keras(keras, name):
    layers = keras_cases.build(name)
    rnn, params = interop.from_keras(layers)
    assert_agrees(rnn, params, keras_cases.record(layers), state_of(rnn))


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_before", "no_bias", "concat", "ave"])
def test_to_keras(keras, name):
    layers = keras_cases.build(name)
    rnn, params = interop.from_keras(layers)
    model = interop.to_keras(rnn, params)
    assert [type(one) for one in model.layers] == [type(one) for one in layers]
    again, back = interop.from_keras(model)
    assert_close(back, params, 0)
    assert again == rnn


def test_model_of_a_network_computes_the_same(keras):
    cells = [drnn.gru(3), drnn.lstm(2, use_bias=False)]
    rnn = drnn.deep_rnn(cells, dropout=0.25, bidirectional=True, merge=average)
    params = random_params(rnn, 4)
    model = interop.to_keras(rnn, params)
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    assert_same_outputs(model, rnn, params, x)
    names = [type(layer).__name__ for layer in model.layers]
    assert names == ["Bidirectional", "Dropout", "Bidirectional"]
    assert interop.from_keras(model)[0] == rnn


def test_states_there_and_back():
    rnn = drnn.deep_rnn([drnn.lstm(3), drnn.gru(2)], bidirectional=True)
    state = rnn.initial_state(random_params(rnn, 4), 2)
    state = jax.tree.map(jnp.asarray, random_like(np.random.default_rng(0), state))
    lists = interop.state_to_keras(rnn, state)
    assert [len(one) for one in lists] == [4, 2]
    np.testing.assert_array_equal(lists[0][3], state[0].c[1])  # h, c, h, c
    assert_close(interop.state_from_keras(rnn, lists), state, 0)


def test_cells_in_a_plain_rnn_are_read(keras):
    layer = keras.layers.RNN(keras.layers.LSTMCell(3), return_sequences=True)
    layer.build((None, None, 4))
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    rnn, params = interop.from_keras(layer)
    assert_same_outputs(layer, rnn, params, x)


@pytest.mark.parametrize("name", activations.NAMED)
def test_activations_are_those_of_keras(keras, name):
    x = np.linspace(-7, 7, 57, dtype="float32")
    expected = keras.activations.get(name)(x)
    np.testing.assert_allclose(activations.NAMED[name](x), expected, rtol=1e-5, atol=1e-6)


def test_any_activation_of_keras_on_jax(keras):
    layer = keras.layers.GRU(3, activation="gelu", return_sequences=True)
    layer.build((None, None, 4))
    rnn, params = interop.from_keras(layer)
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    assert_same_outputs(layer, rnn, params, x)
    assert interop.to_keras(rnn, params).layers[0].activation is keras.activations.gelu


def test_mixed_precision_is_carried_over(keras):
    layer = keras.layers.LSTM(3, dtype="mixed_bfloat16")
    layer.build((None, None, 4))
    rnn, params = interop.from_keras(layer)
    assert rnn.plan.precision.param == jnp.float32
    assert rnn.plan.precision.compute == jnp.bfloat16
    assert interop.to_keras(rnn, params).layers[0].dtype_policy.name == "mixed_bfloat16"


def built(layer):
    layer.build((None, None, 4))
    return layer


REFUSED_LAYERS = {
    "kind": (lambda k: k.Dense(3), "layer must be SimpleRNN.*got Dense"),
    "unbuilt": (lambda k: k.LSTM(3), "must be a built.*layer.build"),
    "backwards": (lambda k: built(k.LSTM(3, go_backwards=True)), "go_backwards=False, got True"),
    "stateful": (lambda k: k.GRU(3, stateful=True), "stateful=False, got True"),
    "dropout": (lambda k: built(k.GRU(3, dropout=0.1)), "dropout=0, got 0.1"),
    "recurrent": (lambda k: built(k.LSTM(3, recurrent_dropout=0.1)), "recurrent_dropout=0"),
    "merge": (lambda k: built(k.Bidirectional(k.GRU(3), merge_mode=None)), "merge_mode must be"),
    "directions": (
        lambda k: [built(k.Bidirectional(k.GRU(4), merge_mode="concat")), built(k.GRU(4))],
        "one direction beside layers with two",
    ),
    "halves": (
        lambda k: built(k.Bidirectional(k.GRU(4), backward_layer=k.LSTM(4, go_backwards=True))),
        "two directions of layer 0 must be alike",
    ),
    "empty": (lambda k: [], "one or more recurrent layers"),
    "sizes": (
        lambda k: [built(k.GRU(4)), built(k.GRU(5)), built(k.GRU(4))],
        r"do not fit .* params.layers\[2\].*w_x must be of shape \(5, 12\), got \(4, 12\)",
    ),
    "between": (lambda k: [built(k.GRU(4)), k.Dropout(0.1)], "Dropout must be between"),
}


@pytest.mark.parametrize("reason", REFUSED_LAYERS)
def test_from_keras_refuses(keras, reason):
    make, message = REFUSED_LAYERS[reason]
    with pytest.raises(ValueError, match=rf"^from_keras: .*{message}"):
        interop.from_keras(make(keras.layers))


REFUSED = {
    "peepholes": (drnn.deep_rnn(drnn.lstm(2, peepholes=True)), "peepholes=False, got True"),
    "coupled": (drnn.deep_rnn(drnn.lstm(2, coupled=True)), "coupled=False, got True"),
    "projection": (drnn.deep_rnn(drnn.lstm(2, projection_size=1)), "projection_size=None, got 1"),
    "activation": (drnn.deep_rnn(drnn.elman(2, jnp.sin)), "activation one of"),
    "merge": (
        drnn.deep_rnn(drnn.gru(2), bidirectional=True, merge=jnp.maximum),
        "merge must be one of",
    ),
    "locked": (
        drnn.deep_rnn(drnn.gru(2), 2, dropout=0.1, locked_dropout=True),
        "got locked_dropout=True",
    ),
    "dtypes": (
        drnn.deep_rnn(drnn.gru(2), param_dtype=jnp.bfloat16, compute_dtype=jnp.float32),
        "no dtype policy",
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_to_keras_refuses(reason):
    rnn, message = REFUSED[reason]
    with pytest.raises(ValueError, match=rf"^to_keras: .*{message}"):
        interop.to_keras(rnn, random_params(rnn, 3))


def test_state_from_keras_refuses():
    rnn = drnn.deep_rnn(drnn.lstm(2), 2)
    with pytest.raises(ValueError, match="one entry for each of 2 layers, got 1"):
        interop.state_from_keras(rnn, [[np.zeros((3, 2))] * 2])
    with pytest.raises(ValueError, match=r"layer 1 must have .'h', 'c'. .*got 1 arrays"):
        interop.state_from_keras(rnn, [[np.zeros((3, 2))] * 2, [np.zeros((3, 2))]])


def test_state_to_keras_refuses():
    rnn = drnn.deep_rnn(drnn.lstm(2), 2)
    with pytest.raises(ValueError, match=r"^state_to_keras: .* each of 2 layers, got 1"):
        interop.state_to_keras(rnn, rnn.initial_state(random_params(rnn, 3), 4)[:1])
