"""Haiku's LSTM and GRU and ours: the same outputs, states and gradients, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import interop
from tests.interop import haiku_cases
from tests.interop.recorded import GOLDEN, assert_agrees, assert_close, load, random_like

# Haiku reads names that jax 0.10 still has, with a warning
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:haiku")


def state_of(rnn):
    """Give the function that reads Haiku's states, flat: h, or hidden and cell."""

    def read(arrays):
        size = 2 if rnn.plan.cells[0].name == "lstm" else 1
        layers = [list(arrays[i : i + size]) for i in range(0, len(arrays), size)]
        return interop.state_from_keras(rnn, layers)

    return read


@pytest.mark.parametrize("name", haiku_cases.STORED)
def test_stored_vectors(name):
    run = load(GOLDEN / "haiku.npz", name)
    rnn, params = interop.from_haiku(haiku_cases.modules_of(run.weights))
    assert_agrees(rnn, params, run, state_of(rnn))


@pytest.mark.parametrize("name", haiku_cases.CASES)
def test_from_and_to_haiku(name):
    pytest.importorskip("haiku")
    cores = haiku_cases.build(name)
    run = haiku_cases.record(cores)
    rnn, params = interop.from_haiku([cores.params[one] for one in cores.names])
    assert_agrees(rnn, params, run, state_of(rnn))
    back = dict(zip(cores.names, interop.to_haiku(rnn, params), strict=True))
    again = haiku_cases.record(cores._replace(params=back))
    assert_close((again.y, again.dx), (run.y, run.dx), 1e-6)


@pytest.mark.parametrize("cell", [drnn.lstm(4), drnn.gru(4, reset_after=False)])
def test_two_directions_there_and_back(cell):
    rnn = drnn.deep_rnn(cell, 2, bidirectional=True)
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), 3))
    params = random_like(np.random.default_rng(0), shapes)
    modules = interop.to_haiku(rnn, params)
    assert [len(pair) for pair in modules] == [2, 2]
    again, back = interop.from_haiku(modules)
    assert again == rnn
    assert_close(back, jax.tree.map(jnp.asarray, params), 1e-6)


def test_no_bias_becomes_zeros():
    rnn = drnn.deep_rnn(drnn.lstm(2, use_bias=False))
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), 3))
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, "f"), shapes)
    (module,) = interop.to_haiku(rnn, params)
    # Haiku adds 1 to f, third of its gates i, g, f, o
    np.testing.assert_array_equal(module["b"], [0, 0, 0, 0, -1, -1, 0, 0])


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"w": np.zeros((5, 8))}, r"w \[I\+H, 4\*H\].*got .*'w': \(5, 8\)"),
        ({"lstm/linear": {"w": np.zeros((5, 8)), "b": np.zeros(8)}}, "give one module's own"),
        ({"w": np.zeros((5, 6)), "b": np.zeros(6)}, "must have w"),
        ({"w": np.zeros((5, 8)), "b": np.zeros(8)}, "float64.*jax_enable_x64"),
        ([], "got no layers"),
        (({"w": 1},) * 3, "a tuple of two"),
    ],
)
def test_from_haiku_refuses(modules, message):
    with pytest.raises(ValueError, match=f"^from_haiku: .*{message}"):
        interop.from_haiku(modules)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (drnn.gru(2), "reset_after=False, got True"),
        (drnn.lstm(2, peepholes=True), "peepholes=False, got True"),
        (drnn.lstm(2, gate_activation=jax.nn.hard_sigmoid), "gate_activation sigmoid"),
        (drnn.elman(2), "cell must be lstm or gru, got elman"),
    ],
)
def test_to_haiku_refuses(cell, message):
    rnn = drnn.deep_rnn(cell)
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), 3))
    with pytest.raises(ValueError, match=f"^to_haiku: .*{message}"):
        interop.to_haiku(rnn, jax.tree.map(lambda leaf: np.zeros(leaf.shape, "f"), shapes))
