"""What parameters are drawn: gate by gate, in float32, each by its published rule."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import initializers
from deeprnn_jax.orthonormal import orthonormal_rows
from tests.registry import IN, T

H = 16
CELLS = {
    "elman": (drnn.elman, 1),
    "lstm": (drnn.lstm, 4),
    "lstm_coupled": (lambda size, **kw: drnn.lstm(size, coupled=True, **kw), 3),
    "gru": (drnn.gru, 3),
    "minimal_gated": (drnn.minimal_gated, 2),
}


@cache
def draw(make, input_size=IN, seed=0, **options):
    """Draw a cell's parameters once a session."""
    cell = make(H, **options)
    return jax.jit(lambda key: cell.init(key, input_size))(jax.random.key(seed))


def draw_bias(make, **options):
    """Draw a cell's bias alone: matrices, which compile slowly, are zeros."""
    zeros = jax.nn.initializers.zeros
    return np.asarray(draw(make, w_x_init=zeros, w_h_init=zeros, **options).b).reshape(-1, H)


@pytest.mark.parametrize("name", CELLS)
def test_each_gates_recurrent_block_is_orthogonal(name):
    make, gates = CELLS[name]
    w_h = np.asarray(draw(make).w_h)
    assert w_h.shape == (H, gates * H)
    blocks = np.split(w_h, gates, axis=1)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-5)
    for a in range(gates):
        for b in range(a):
            assert np.abs(blocks[a] - blocks[b]).max() > 0.1


@pytest.mark.parametrize("name", CELLS)
def test_each_gates_input_block_is_glorots(name):
    """U(±√(6 / (I + H))), the fan that of one gate."""
    make, gates = CELLS[name]
    w_x = np.asarray(draw(make, 64).w_x)
    bound = np.sqrt(6 / (64 + H))
    for block in np.split(w_x, gates, axis=1):
        assert np.abs(block).max() <= bound
        assert np.abs(block).max() > 0.98 * bound
        np.testing.assert_allclose(block.std(), bound / np.sqrt(3), rtol=0.1)


def test_torchs_uniform_is_bounded_by_the_hidden_size_everywhere():
    """Every weight and bias, the projection's too: U(±1/√H)."""
    uniform = initializers.uniform()
    params = draw(
        drnn.lstm,
        64,
        w_x_init=uniform,
        w_h_init=uniform,
        b_init=uniform,
        forget_bias=0.0,
        projection_size=9,
    )
    for leaf in jax.tree.leaves(params):
        assert np.abs(leaf).max() <= 1 / np.sqrt(H)
        assert np.abs(leaf).max() > 0.9 / np.sqrt(H)
    assert params.w_p.shape == (H, 9)
    assert params.w_h.shape == (9, 4 * H)
    given = initializers.uniform(0.5)(jax.random.key(0), (1000,))
    assert 0.49 < np.abs(given).max() <= 0.5


def test_forget_bias_is_added_to_its_gate_alone():
    for options, gate in (({}, 1), ({"coupled": True}, 0)):
        b = draw_bias(drnn.lstm, forget_bias=2.5, **options)
        assert len(b) == (3 if options else 4)
        np.testing.assert_array_equal(b[gate], 2.5)
        np.testing.assert_array_equal(np.delete(b, gate, axis=0), 0)
    b = np.asarray(draw(drnn.lstm).b).reshape(4, H)
    np.testing.assert_array_equal(b[1], 1)
    b = draw_bias(drnn.gru, update_bias=-1.5)
    np.testing.assert_array_equal(b, [[0] * H, [-1.5] * H, [0] * H])


def test_chrono_spreads_memories_up_to_its_longest():
    """b_f = log U(1, t_max - 1), b_i = -b_f (Tallec and Ollivier 2018, eq. 16)."""
    b_f = initializers.chrono(100)(jax.random.key(0), (20000,))
    spans = np.exp(np.asarray(b_f, np.float64))
    assert 1 <= spans.min() < 1.05
    assert 98.9 < spans.max() < 99 + 1e-3
    np.testing.assert_allclose(spans.mean(), 50, rtol=0.02)
    chrono = initializers.chrono(100)
    b = draw_bias(drnn.lstm, forget_bias=chrono)
    assert b[1].min() >= 0
    assert len(np.unique(b[1])) == H
    np.testing.assert_array_equal(b[0], -b[1])
    np.testing.assert_array_equal(b[2:], 0)
    b = draw_bias(drnn.lstm, forget_bias=chrono, coupled=True)
    assert b[0].min() >= 0
    np.testing.assert_array_equal(b[1:], 0)
    b = draw_bias(drnn.gru, update_bias=chrono)
    assert b[1].max() > 1
    np.testing.assert_array_equal(b[[0, 2]], 0)


def test_identity_weights_keep_a_relu_networks_state():
    """The IRNN: with no input its state stays (Le et al. 2015, section 3)."""
    cell = drnn.elman(H, jax.nn.relu, w_h_init=initializers.identity())
    rnn = drnn.deep_rnn(cell)
    params = jax.jit(lambda key: rnn.init(key, IN))(jax.random.key(0))
    np.testing.assert_array_equal(params.layers[0].cell.w_h, np.eye(H))
    start = jax.tree.map(
        lambda s: jnp.broadcast_to(jnp.arange(H, dtype=s.dtype), s.shape),
        rnn.initial_state(params),
    )
    state, _ = jax.jit(rnn.apply)(params, np.zeros((T, IN), np.float32), start)
    np.testing.assert_array_equal(state[0].h, start[0].h)
    half = draw(drnn.independent, w_h_init=initializers.identity(0.5)).w_h
    np.testing.assert_array_equal(half, np.full(H, 0.5))


def test_independent_weights_are_uniform_between_0_and_1():
    w_h = np.asarray(drnn.independent(2000).init(jax.random.key(0), 1).w_h)
    assert 0 <= w_h.min() < 0.01
    assert 0.99 < w_h.max() <= 1


def test_parameters_are_drawn_in_float32_and_then_cast():
    """One key, one network, in any dtype: bfloat16 is the rounded float32."""
    drawn = {
        dtype: drnn.deep_rnn(
            drnn.learned_initial_state(drnn.lstm(4, peepholes=True)),
            2,
            output_size=2,
            skip="highway",
            normalize_inputs=True,
            param_dtype=dtype,
        )
        for dtype in (jnp.float32, jnp.bfloat16)
    }
    wide, narrow = (
        jax.jit(lambda key, rnn=rnn: rnn.init(key, IN))(jax.random.key(3)) for rnn in drawn.values()
    )
    for a, b in zip(jax.tree.leaves(wide), jax.tree.leaves(narrow), strict=True):
        assert (a.dtype, b.dtype) == (jnp.float32, jnp.bfloat16)
        np.testing.assert_array_equal(a.astype(jnp.bfloat16), b)


def test_layers_and_directions_are_drawn_apart_and_anew_with_each_key():
    rnn = drnn.deep_rnn(drnn.elman(4), 3, bidirectional=True, merge="sum", output_size=4)
    init = jax.jit(lambda key: rnn.init(key, 4))
    params, other = init(jax.random.key(0)), init(jax.random.key(1))
    matrices = [
        np.asarray(w[d])
        for drawn in (params, other)
        for layer in drawn.layers
        for w in (layer.cell.w_x, layer.cell.w_h)
        for d in (0, 1)
    ]
    matrices += [np.asarray(drawn.readout.w) for drawn in (params, other)]
    for a in range(len(matrices)):
        for b in range(a):
            assert np.abs(matrices[a] - matrices[b]).max() > 0.05
    np.testing.assert_array_equal(init(jax.random.key(0)).readout.w, params.readout.w)
    np.testing.assert_array_equal(params.readout.b, 0)


def test_what_is_around_the_cells_begins_as_published():
    """Norms as the identity, highways mostly closed (Srivastava et al. 2015, 2.1)."""
    rnn = drnn.deep_rnn(drnn.elman(4), 2, normalize_inputs=True, skip="highway")
    first, second = jax.jit(lambda key: rnn.init(key, IN))(jax.random.key(0)).layers
    assert first.norm is None
    assert first.highway is None
    np.testing.assert_array_equal(second.norm.scale, 1)
    np.testing.assert_array_equal(second.norm.shift, 0)
    np.testing.assert_array_equal(second.highway.b, -2)
    assert np.abs(second.highway.w).max() <= np.sqrt(6 / 8)


def test_modifiers_begin_as_the_cell():
    cell = drnn.learned_initial_state(drnn.layer_norm(drnn.gru(H, reset_after=False)))
    params = jax.jit(lambda key: cell.init(key, IN))(jax.random.key(0))
    np.testing.assert_array_equal(params.initial.h, np.zeros(H))
    np.testing.assert_array_equal(params.cell.gain_x, np.ones(3 * H))
    np.testing.assert_array_equal(params.cell.gain_h, np.ones(2 * H))


def test_any_jax_initialiser_fits():
    params = draw(
        drnn.gru,
        w_x_init=jax.nn.initializers.constant(0.5),
        w_h_init=jax.nn.initializers.normal(0.01),
        b_init=jax.nn.initializers.ones,
    )
    np.testing.assert_array_equal(params.w_x, 0.5)
    assert 0.005 < np.asarray(params.w_h).std() < 0.02
    np.testing.assert_array_equal(params.b, 1)
    np.testing.assert_array_equal(params.b_hn, 1)


ORTHOGONAL_SHAPES = [(8, 5), (5, 8), (33, 33), (70, 100), (2, 6, 4), (1, 1)]


@pytest.mark.parametrize("shape", ORTHOGONAL_SHAPES)
def test_orthogonal_draws_are_those_of_lapacks_qr(shape):
    """The same Q to rounding: the decomposition with a positive diagonal of R is unique."""
    key = jax.random.key(len(shape) + shape[0])
    ours = jax.jit(lambda key: initializers.orthogonal()(key, shape))(key)
    expected = jax.jit(lambda key: jax.nn.initializers.orthogonal()(key, shape))(key)
    assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(ours, expected, atol=2e-4)


def test_orthogonal_takes_scale_axis_and_dtype():
    key = jax.random.key(0)
    options = {"scale": 1.5, "column_axis": 0}
    ours = initializers.orthogonal(**options)(key, (4, 3, 5))
    expected = jax.nn.initializers.orthogonal(**options)(key, (4, 3, 5))
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    half = initializers.orthogonal()(key, (16, 16), jnp.bfloat16)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        half, initializers.orthogonal()(key, (16, 16)).astype(jnp.bfloat16)
    )
    assert initializers.orthogonal()(key, (0, 3)).shape == (0, 3)
    with pytest.raises(ValueError, match=r"orthogonal: needs a shape of two or more axes"):
        initializers.orthogonal()(key, (3,))
    with pytest.raises(ValueError, match=r"orthogonal: dtype must be a real floating one"):
        initializers.orthogonal()(key, (3, 3), jnp.complex64)


@pytest.mark.parametrize("rows", [31, 32, 65, 256])
def test_rows_are_orthonormal_to_rounding_where_one_pass_is_not(rows):
    """Nearly parallel rows: the second pass is what makes them orthogonal."""
    rng = np.random.default_rng(rows)
    a = 1 + 1e-3 * rng.standard_normal((rows, 300))
    q = np.asarray(orthonormal_rows(a.astype(np.float32)), np.float64)
    np.testing.assert_allclose(q @ q.T, np.eye(rows), atol=2e-6)
    assert (np.einsum("rc,rc->r", q, a) > 0).all()


def test_networks_are_drawn_side_by_side_under_one_jit_without_lapack():
    """Two LAPACK calls under one jit could wait for each other for ever."""
    first, second = drnn.deep_rnn(drnn.lstm(8)), drnn.deep_rnn(drnn.gru(8), 2)

    def init(key):
        return first.init(key, 3), second.init(key, 8)

    assert "lapack" not in jax.jit(init).lower(jax.random.key(0)).as_text()
