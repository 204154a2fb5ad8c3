"""Haiku's LSTM and GRU and ours: the same outputs, states and gradients, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import interop
from deeprnn_jax.cells.lstm import LSTMState
from deeprnn_jax.interop.states import state_from_haiku, state_to_haiku
from tests.interop import haiku_cases
from tests.interop.recorded import GOLDEN, assert_agrees, assert_close, load, random_like

# Haiku reads names that jax 0.10 still has, with a warning
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:haiku")


def state_of(rnn):
    """Give the function that reads Haiku's states, flat: h, or hidden and cell."""

    def read(arrays):
        size = 2 if rnn.plan.cells[0].name == "lstm" else 1
        return state_from_haiku(rnn, [arrays[i : i + size] for i in range(0, len(arrays), size)])

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
        ({"w": np.zeros((5, 8)), "lstm": {}}, "give one module's own"),
        ({"w": np.zeros((5, 6)), "b": np.zeros(6)}, "must have w"),
        ({"w": np.zeros((4, 16)), "b": np.zeros(16)}, r"must have w .*got .*\(4, 16\)"),
        ({"w": np.zeros(3), "b": np.zeros(4)}, "must have w"),
        ({"w": np.zeros((5, 0)), "b": np.zeros(0)}, "must have w"),
        ({"w_i": np.zeros(6), "w_h": np.zeros((2, 6)), "b": np.zeros(6)}, "must have w"),
        ({"w_i": np.zeros((3, 6)), "w_h": np.zeros((3, 6)), "b": np.zeros(6)}, "must have w"),
        ({"w": np.zeros((5, 8)), "b": np.zeros(8)}, "float64.*jax_enable_x64"),
        ([], "got no layers"),
        (({"w": 1},) * 3, "a tuple of two"),
    ],
)
def test_from_haiku_refuses(modules, message):
    with pytest.raises(ValueError, match=f"^from_haiku: .*{message}"):
        interop.from_haiku(modules)


@pytest.mark.parametrize("scope", ["", "model/~/"])
@pytest.mark.parametrize(("kind", "depth"), [("LSTM", 12), ("GRU", 3)])
def test_all_of_a_transform_in_the_order_of_its_numbers(kind, depth, scope):
    """Twelve layers, alike but the first: lstm_10 stands before lstm_2 by name."""
    hk = pytest.importorskip("haiku")

    class Model(hk.Module):
        def __init__(self):
            super().__init__(name="model")
            self.core = core()

        def __call__(self, x, state):
            return hk.dynamic_unroll(self.core, x, state)

    def core():
        return hk.DeepRNN([getattr(hk, kind)(3) for _ in range(depth)])

    def run(x, state):
        return Model()(x, state) if scope else hk.dynamic_unroll(core(), x, state)

    pair = hk.LSTMState if kind == "LSTM" else lambda h, c: h
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 2, 3)).astype("float32")
    drawn = rng.normal(size=(depth, 2, 2, 3)).astype("float32")
    state = tuple(pair(*map(jnp.asarray, leaves)) for leaves in drawn)
    model = hk.without_apply_rng(hk.transform(run))
    params = random_like(rng, jax.eval_shape(model.init, jax.random.key(0), x, state))
    params = dict(sorted(params.items()))  # as JAX leaves a dict
    y, after = jax.jit(model.apply)(params, x, state)

    rnn, converted = interop.from_haiku(params)
    ours, got = rnn.apply(converted, x, state_from_haiku(rnn, state))
    np.testing.assert_allclose(got, y, atol=1e-5)
    back = state_to_haiku(rnn, ours)
    assert_close(back, after)
    assert_close(state_from_haiku(rnn, back), ours, 0)

    beside = params | {"linear": {"w": np.ones((3, 8), "f"), "b": np.ones(8, "f")}}
    with pytest.raises(ValueError, match="give prefix="):
        interop.from_haiku(beside)
    again = interop.from_haiku(beside, prefix=f"{scope}{kind.lower()}")
    assert again[0] == rnn
    assert_close(again[1], converted, 0)


LSTM = {"w": np.ones((3, 4), "f"), "b": np.ones(4, "f")}
GRU = {"w_i": np.ones((1, 3), "f"), "w_h": np.ones((1, 3), "f"), "b": np.ones(3, "f")}


@pytest.mark.parametrize(
    "modules",
    [
        {"linear": LSTM},
        {"net/linear": LSTM},
        {"lstm/linear": LSTM, "linear": LSTM},
        {"lstm/linear": LSTM, "model/linear": LSTM},
        {"lstm/linear": LSTM, "gru": GRU},
        {"encoder/lstm/linear": LSTM, "decoder/lstm/linear": LSTM},
        {"lstm/linear": LSTM, "lstm_2/linear": LSTM},
        {"lstm_1/linear": LSTM},
        {"gru": GRU, "gru_0": GRU},
    ],
    ids=" ".join,
)
def test_modules_that_are_no_one_stack_are_refused(modules):
    with pytest.raises(ValueError, match=r"^from_haiku: modules must be one stack .*, got \["):
        interop.from_haiku(modules)


def test_modules_of_other_names_by_their_prefix():
    first, second = LSTM, {"w": 2 * np.ones((2, 4), "f"), "b": np.ones(4, "f")}
    expected = interop.from_haiku([first, second])
    modules = {"net/core_1/linear": second, "net/core/linear": first, "net/linear": first}
    found = interop.from_haiku(modules, prefix="net/core")
    assert found[0] == expected[0]
    assert_close(found[1], expected[1], 0)
    assert interop.from_haiku({"net/core": GRU, "net/core_1": GRU})[0].plan.cells[1].name == "gru"


def test_no_module_with_the_prefix_is_refused():
    with pytest.raises(ValueError, match=r"one stack .*, got \['gru'\]; give prefix"):
        interop.from_haiku({"gru": GRU}, prefix="lstm")
    with pytest.raises(ValueError, match=r"^from_haiku: prefix must be None unless .*, got 'gru'"):
        interop.from_haiku([GRU], prefix="gru")
    with pytest.raises(ValueError, match=r"^from_haiku: prefix must be a str or None, got 3"):
        interop.from_haiku({"gru": GRU}, prefix=3)


def test_values_of_a_mapping_are_refused():
    with pytest.raises(ValueError, match=r"got dict_values, in which.*give the mapping itself"):
        interop.from_haiku({"gru": GRU, "gru_1": GRU}.values())


def test_states_of_two_directions():
    rnn = drnn.deep_rnn(drnn.gru(4, reset_after=False), 2, bidirectional=True)
    state = random_like(np.random.default_rng(0), jax.eval_shape(lambda: zeros_of(rnn)))
    pairs = state_to_haiku(rnn, state)
    np.testing.assert_array_equal(pairs[1][1], state[1].h[1])  # layer 1, reverse
    assert_close(state_from_haiku(rnn, pairs), jax.tree.map(jnp.asarray, state), 0)


def zeros_of(rnn):
    return rnn.initial_state(rnn.init(jax.random.key(0), 3), 2)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([np.zeros((2, 4))], "a list with one entry for each of 2 layers, got 1"),
        ([np.zeros((2, 4))] * 2, r"carry of layer 0 must be h and c of a lstm .*, got \(2, 4\)"),
        (LSTMState(np.zeros((2, 4)), np.zeros((2, 4))), "got LSTMState"),
    ],
)
def test_state_from_haiku_refuses(states, message):
    rnn = drnn.deep_rnn(drnn.lstm(4), 2)
    with pytest.raises(ValueError, match=f"^state_from_haiku: .*{message}"):
        state_from_haiku(rnn, states)


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
