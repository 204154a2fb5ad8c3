"""The gated elementwise cells: one step, what they declare, how they begin, by hand."""

import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import initializers
from deeprnn_jax.cells.diagonal_gru import diagonal_gru
from deeprnn_jax.cells.diagonal_lstm import diagonal_lstm
from deeprnn_jax.cells.gru import GRUParams
from deeprnn_jax.cells.lstm import LSTMParams, Peepholes
from deeprnn_jax.cells.min_gru import min_gru
from deeprnn_jax.cells.min_lstm import min_lstm
from deeprnn_jax.cells.qrnn import qrnn
from deeprnn_jax.cells.sru import sru
from tests import oracle_gated, registry
from tests.comparing import assert_close
from tests.registry import IN, H

pytestmark = pytest.mark.usefixtures("x64")

CASES = {
    "min_gru": (min_gru(H), oracle_gated.min_gru()),
    "min_gru, tanh": (min_gru(H, jnp.tanh), oracle_gated.min_gru(np.tanh)),
    "min_gru, no bias": (min_gru(H, use_bias=False), oracle_gated.min_gru()),
    "min_lstm": (min_lstm(H), oracle_gated.min_lstm()),
    "min_lstm, tanh": (min_lstm(H, jnp.tanh), oracle_gated.min_lstm(np.tanh)),
    "min_lstm, no bias": (min_lstm(H, use_bias=False), oracle_gated.min_lstm()),
    "qrnn": (qrnn(H), oracle_gated.qrnn()),
    "qrnn, f": (qrnn(H, width=4, pooling="f"), oracle_gated.qrnn("f")),
    "qrnn, ifo": (qrnn(H, width=3, pooling="ifo"), oracle_gated.qrnn("ifo")),
    "qrnn, width 1, sin": (qrnn(H, jnp.sin, width=1), oracle_gated.qrnn(activation=np.sin)),
    "qrnn, no bias": (qrnn(H, use_bias=False), oracle_gated.qrnn()),
    "sru": (sru(H), oracle_gated.sru()),
    "sru, no skip product": (
        sru(IN, jnp.tanh, highway_bias=-2.0),
        oracle_gated.sru(np.tanh, highway_bias=-2.0),
    ),
    "diagonal_gru": (diagonal_gru(H), oracle_gated.diagonal_gru()),
    "diagonal_gru, sin": (diagonal_gru(H, jnp.sin), oracle_gated.diagonal_gru(np.sin)),
    "diagonal_gru, no bias": (diagonal_gru(H, use_bias=False), oracle_gated.diagonal_gru()),
    "diagonal_lstm": (diagonal_lstm(H), oracle_gated.diagonal_lstm()),
    "diagonal_lstm, sin": (diagonal_lstm(H, jnp.sin), oracle_gated.diagonal_lstm(np.sin)),
    "diagonal_lstm, no bias": (diagonal_lstm(H, use_bias=False), oracle_gated.diagonal_lstm()),
}
each_case = pytest.mark.parametrize("name", CASES)


def draw(cell, name):
    """Draw parameters, a state and an input of one row; no bias is zero by chance."""
    rng = registry.seed_of(name)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), IN))
    state = jax.eval_shape(lambda p: cell.initial_state(p, ()), params)
    return registry.fill(rng, params), registry.fill(rng, state), rng.normal(size=IN)


def step(cell, params, state, x):
    return cell.step(params, state, cell.project_input(params, x))


def recurring(state):
    """Give the fields that the state map is about: a window depends on no other, and is given."""
    return {name: value for name, value in state._asdict().items() if name != "window"}


@cache
def run_case(name):
    """Do a step of a case, and differentiate it at two states, in one program."""
    cell, _ = CASES[name]
    params, state, x = draw(cell, name)
    other = {field: 3 - value for field, value in recurring(state).items()}

    @jax.jit
    def run(params, state, x, other):
        x_proj = cell.project_input(params, x)
        h_proj = None if cell.project_state is None else cell.project_state(params, state)
        gates = cell.gates(params, state, x_proj, h_proj)
        end, y = cell.step(params, state, x_proj)

        def f(fields):
            return recurring(step(cell, params, state._replace(**fields), x)[0])

        slopes = [jax.jacobian(f)(at) for at in (recurring(state), other)]
        return (end._asdict(), y, gates._asdict()), slopes

    return jax.tree.map(np.asarray, run(params, state, x, other))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.core] * ("," not in name)) for name in CASES]
)
def test_one_step(name):
    cell, expected = CASES[name]
    params, state, x = draw(cell, name)
    found, _ = run_case(name)
    assert_close(found, expected.step(params, state._asdict(), x), 1e-13)
    assert found[1].shape == (cell.output_size,)


@each_case
def test_its_state_map_and_output_are_true(name):
    cell, _ = CASES[name]
    (end, y, _), slopes = run_case(name)
    here, far = map(jax.tree.leaves, slopes)  # [H, H] blocks, of each field by each
    for block in here:
        np.testing.assert_array_equal(block, np.diag(np.diag(block)))
    change = max(np.abs(a - b).max() for a, b in zip(here, far, strict=True))
    assert cell.state_map == ("affine" if change < 1e-15 else "elementwise")
    if cell.output:
        np.testing.assert_array_equal(y, end[cell.output])
    else:
        assert cell.output is False


@pytest.mark.parametrize("cell", [min_gru(H), min_lstm(H), qrnn(H, width=3), sru(H)])
def test_no_product_is_within_the_loop(cell):
    """Nor in the window's, since that holds sums of products and no x."""
    rnn = drnn.deep_rnn(cell)
    told = rnn.explain(registry.shapes_of(rnn)[0], jax.ShapeDtypeStruct((5, 5, IN), jnp.float32))
    assert "·" in told
    for part in told.split("each step")[1:]:
        assert "·" not in part.split("kept for")[0].split("after the")[0], told


# -- how they begin ------------------------------------------------------------------------------


@each_case
def test_begins_with_zeros_of_its_own_width(name):
    cell, _ = CASES[name]
    params, state, _ = draw(cell, name)
    for batch in ((), (2, 3)):
        start = cell.initial_state(params, batch)
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(start))
        shapes = [(*batch, *leaf.shape) for leaf in jax.tree.leaves(state)]
        assert [leaf.shape for leaf in jax.tree.leaves(start)] == shapes


CHRONO = {"w_x_init": initializers.zeros, "forget_bias": initializers.chrono(50.0)}
REMEMBERS = {
    "min_gru": (
        min_gru(500, w_x_init=initializers.zeros, update_bias=initializers.chrono(50.0)),
        oracle_gated.min_gru(),
        "z",
    ),
    "min_lstm": (min_lstm(500, **CHRONO), oracle_gated.min_lstm(), "f"),
    "qrnn": (qrnn(500, pooling="ifo", **CHRONO), oracle_gated.qrnn("ifo"), "f"),
    "diagonal_gru": (
        diagonal_gru(500, w_x_init=initializers.zeros, update_bias=initializers.chrono(50.0)),
        oracle_gated.diagonal_gru(),
        "z",
    ),
}


@pytest.mark.parametrize("name", REMEMBERS)
def test_a_chrono_bias_gives_units_their_times(name):
    """From 2 to 50 steps, 1 / (1 - f), also where two gates make a quotient."""
    cell, expected, gate = REMEMBERS[name]
    params = jax.tree.map(np.asarray, cell.init(jax.random.key(0), IN))
    state = jax.tree.map(np.asarray, cell.initial_state(params, ())._asdict())
    gates = expected.step(params, state, np.zeros(IN))[2]
    steps = 1 / (1 - gates[gate])
    assert 1.99 < steps.min() < 3
    assert 45 < steps.max() < 50
    if "i" in gates:
        np.testing.assert_allclose(gates["i"], 1 - gates["f"], atol=1e-6)


def test_each_gate_is_drawn_alone():
    """A glorot bound of I and H, not of I and G·H; of all taps in a convolution. No bias yet."""
    for cell, rows in ((min_gru(50), 30), (qrnn(50), 60)):
        params = cell.init(jax.random.key(0), 30)
        bound = np.sqrt(6 / (rows + 50))
        assert len(params.w_x) == rows
        assert 0.98 * bound < np.abs(params.w_x).max() <= bound
        assert not np.any(params.b)


def test_sru_begins_as_its_authors_code_does():
    """Var W_g = 1 / I; half of it for the gates, s² of it for the skip; Var w_c = 1/2."""
    bias, input_size, size = -1.0, 60, 80
    params = sru(size, highway_bias=bias, forget_bias=2.0).init(jax.random.key(0), input_size)
    scales = [np.sqrt(0.5), 1, np.sqrt(0.5), np.sqrt(1 + 2 * np.exp(bias))]
    for block, scale in zip(np.split(np.asarray(params.w_x), 4, axis=1), scales, strict=True):
        bound = scale * np.sqrt(3 / input_size)
        assert 0.99 * bound < np.abs(block).max() <= bound * (1 + 1e-6)
    assert 1.1 < np.abs(params.w_c).max() <= np.sqrt(1.5)
    np.testing.assert_array_equal(params.b, np.repeat(np.float32([2.0, bias]), size))
    shapes = jax.eval_shape(lambda: sru(size).init(jax.random.key(0), size))
    assert shapes.w_x.shape == (size, 3 * size)


def test_diagonal_weights_do_not_shrink_with_the_width():
    params = diagonal_lstm(500).init(jax.random.key(0), IN)
    for w in (params.w_h, params.w_c):
        assert -1 <= w.min() < -0.98
        assert 0.98 < w.max() <= 1
    np.testing.assert_array_equal(params.b, np.repeat(np.float32([1, 0, 0]), 500))


# -- by hand -------------------------------------------------------------------------------------


def by_hand(cell, state, **weights):
    """Do one step of width 1 with the given weights, all others 0, at x = 1."""
    params, _, _ = draw(cell, "by hand")
    params = jax.tree.map(np.zeros_like, params)._replace(**weights)
    state = cell.initial_state(params, ())._replace(**state)
    end, y = step(cell, params, state, np.ones(IN))
    return jax.tree.map(float, jax.tree.map(np.squeeze, (end, y)))


def test_min_gru_by_hand():
    """z = σ(log 3) = 3/4 of the old, 8, and 1/4 of the new, 4."""
    _, y = by_hand(min_gru(1), {"h": np.full(1, 8.0)}, b=np.array([np.log(3), 4.0]))
    assert y == pytest.approx(7.0, rel=1e-15)


def test_min_lstm_by_hand():
    """ĩ = 1/2 and f̃ = 3/4: 2/5 of the new, 10, and 3/5 of the old, 5."""
    _, y = by_hand(min_lstm(1), {"h": np.full(1, 5.0)}, b=np.array([0.0, np.log(3), 10.0]))
    assert y == pytest.approx(7.0, rel=1e-15)


def test_qrnn_by_hand():
    """The step after x = 1: f and o = 1/2 at x = 0, g = tanh(what the window kept)."""
    cell = qrnn(1)
    params, _, _ = draw(cell, "by hand")
    w_x = np.zeros((2 * IN, 3))
    w_x[IN, 1] = 2.0  # of x_{t-1}, for g
    params = jax.tree.map(np.zeros_like, params)._replace(w_x=w_x)
    state = cell.initial_state(params, ())
    state, y = step(cell, params, state, np.ones(IN))
    assert float(y[0]) == 0.0
    state, y = step(cell, params, state, np.zeros(IN))
    assert float(state.c[0]) == pytest.approx(np.tanh(2.0) / 2, rel=1e-15)
    assert float(y[0]) == pytest.approx(np.tanh(2.0) / 4, rel=1e-15)
    assert float(step(cell, params, state, np.zeros(IN))[1][0]) == pytest.approx(np.tanh(2.0) / 8)


def test_sru_by_hand():
    """c = 3/4 · 4 + 1/4 · 0 = 3; r = 1/2 reads c_{t-1}, not c; the skip is 10."""
    w_x = np.zeros((IN, 4))
    w_x[0, 3] = 10.0
    weights = {"w_x": w_x, "w_c": np.array([np.log(3) / 4, 0.5]), "b": np.array([0.0, -2.0])}
    end, y = by_hand(sru(1), {"c": np.full(1, 4.0)}, **weights)
    assert end.c == pytest.approx(3.0, rel=1e-15)
    assert y == pytest.approx(6.5, rel=1e-15)


def test_diagonal_gru_by_hand():
    """r = 1/2 halves w_h h = 2; z = 3/4 keeps the old, 4."""
    weights = {"w_h": np.array([0.0, 0.0, 0.5]), "b": np.array([0.0, np.log(3), 0.0])}
    _, y = by_hand(diagonal_gru(1), {"h": np.full(1, 4.0)}, **weights)
    assert y == pytest.approx(3 + np.tanh(1.0) / 4, rel=1e-15)


def test_diagonal_lstm_by_hand():
    """f sees the old c, o the new: c = 3/4 · 4 = 3, o = σ(-3 + 3) = 1/2."""
    weights = {"w_c": np.array([np.log(3) / 4, -1.0]), "b": np.array([0.0, 0.0, 3.0])}
    end, y = by_hand(diagonal_lstm(1), {"c": np.full(1, 4.0)}, **weights)
    assert end.c == pytest.approx(3.0, rel=1e-15)
    assert y == pytest.approx(np.tanh(3.0) / 2, rel=1e-15)


# -- special cases -------------------------------------------------------------------------------


def assert_same_step(one, params, other, other_params, rename=None):
    """Compare y, and the derivatives of y by x, of the same state and input."""
    rng = registry.seed_of("special")
    x = rng.normal(size=(5, IN))
    state = registry.fill(rng, jax.eval_shape(lambda p: one.initial_state(p, (5,)), params))
    values = state._asdict()
    twin = other.initial_state(other_params, (5,))
    twin = twin._replace(**{(rename or {}).get(name, name): v for name, v in values.items()})

    def run(cell, params, state):
        y_of = jax.jit(lambda x: step(cell, params, state, x)[1])
        return jax.jvp(y_of, (x,), (np.ones_like(x),))

    assert_close(run(one, params, state), run(other, other_params, twin), 1e-13)


def test_min_gru_is_a_gru_whose_gates_do_not_see_the_state():
    one = min_gru(H, jnp.tanh)
    params, _, _ = draw(one, "special")
    w_x = np.concatenate([np.zeros((IN, H)), params.w_x], axis=1)
    b = np.concatenate([np.zeros(H), params.b])
    other = GRUParams(w_x, np.zeros((H, 3 * H)), b, np.zeros(H))
    assert_same_step(one, params, drnn.gru(H), other)


def test_min_lstm_whose_gates_mirror_each_other_is_min_gru():
    """σ(k) and σ(-k) sum to 1: the quotient is nothing."""
    one = min_gru(H)
    params, _, _ = draw(one, "special")
    z, n = np.split(params.w_x, 2, axis=1)
    b_z, b_n = np.split(params.b, 2)
    many = min_lstm(H)
    other, _, _ = draw(many, "")
    other = other._replace(
        w_x=np.concatenate([-z, z, n], axis=1), b=np.concatenate([-b_z, b_z, b_n])
    )
    assert_same_step(one, params, many, other)


def test_qrnn_of_width_one_with_f_pooling_is_gilr():
    one, other = min_gru(H, jnp.tanh), qrnn(H, width=1, pooling="f")
    params, _, _ = draw(one, "special")
    twin, _, _ = draw(other, "special")
    twin = twin._replace(w_x=params.w_x, b=params.b)
    assert_same_step(one, params, other, twin, rename={"h": "c"})


def test_diagonal_cells_are_gru_and_lstm_with_diagonal_matrices():
    one = diagonal_gru(H)
    params, _, _ = draw(one, "special")
    w_h = np.concatenate([np.diag(w) for w in np.split(params.w_h, 3)], axis=1)
    after = GRUParams(params.w_x, w_h, params.b, np.zeros(H))
    assert_same_step(one, params, drnn.gru(H), after)
    before = after._replace(b_hn=None)
    assert_same_step(one, params, drnn.gru(H, reset_after=False), before)
    one = diagonal_lstm(H)
    params, _, _ = draw(one, "special")
    w_h = np.concatenate([np.diag(w) for w in np.split(params.w_h, 3)], axis=1)
    w_f, w_o = np.split(params.w_c, 2)
    whole = LSTMParams(params.w_x, w_h, params.b, None, Peepholes(None, w_f, w_o))
    assert_same_step(one, params, drnn.lstm(H, peepholes=True, coupled=True), whole)


# -- bad input -----------------------------------------------------------------------------------

MISTAKES = {
    "min_gru: hidden_size must be an int of 1 or more, got 0": lambda: min_gru(0),
    "min_gru: activation must be a function, got 'tanh'": lambda: min_gru(4, "tanh"),
    "min_gru: update_bias must be a number or an init": lambda: min_gru(4, update_bias="long"),
    "min_lstm: hidden_size must be an int": lambda: min_lstm(2.5),
    "min_lstm: forget_bias must be a number": lambda: min_lstm(4, forget_bias=[1.0]),
    "qrnn: width must be an int of 1 or more, got 0": lambda: qrnn(4, width=0),
    "qrnn: pooling must be 'f', 'fo' or 'ifo', got 'o'; ": lambda: qrnn(4, pooling="o"),
    "qrnn: pooling must be 'f', 'fo' or 'ifo', got []": lambda: qrnn(4, pooling=[]),
    "sru: highway_bias must be a number, got None": lambda: sru(4, highway_bias=None),
    "sru: w_c_init must be a function, got 1.0": lambda: sru(4, w_c_init=1.0),
    "diagonal_gru: w_h_init must be a function": lambda: diagonal_gru(4, w_h_init=0.5),
    "diagonal_lstm: use_bias must be True or False": lambda: diagonal_lstm(4, use_bias="no"),
    "layer_norm: cell 'min_gru' has no project_state": lambda: drnn.layer_norm(min_gru(4)),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_refused_in_words(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MISTAKES[message]()
