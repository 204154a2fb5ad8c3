"""A cell whose option makes it another cell equals that cell, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from tests import registry
from tests.comparing import assert_close
from tests.registry import IN, B, H, T

pytestmark = pytest.mark.usefixtures("x64")


def drawn(cell, name="special"):
    """Give a one-layer network and the parameters of its cell."""
    rnn = drnn.deep_rnn(cell, param_dtype=jnp.float64)
    return rnn, registry.fill(registry.seed_of(name), registry.shapes_of(rnn)[0])


def replace(params, **weights):
    """Change weights of the one layer's cell."""
    layer = params.layers[0]
    return params._replace(layers=(layer._replace(cell=layer.cell._replace(**weights)),))


def run(rnn, params, schedule="layerwise"):
    """Give y and dx: what both networks have, whatever their parameters."""
    rng = registry.seed_of("x")
    x, weights = rng.normal(size=(T, B, IN)), rng.normal(size=(T, B, rnn.plan.width))

    def loss(x):
        y = rnn.apply(params, x, schedule=schedule)[1]
        return jnp.vdot(weights, y), y

    grad, y = jax.jit(jax.grad(loss, has_aux=True))(x)
    return y, grad


def test_lstm_with_zero_peepholes_is_lstm():
    rnn, params = drawn(drnn.lstm(H, peepholes=True))
    peepholes = jax.tree.map(np.zeros_like, params.layers[0].cell.peepholes)
    params = replace(params, peepholes=peepholes)
    plain = drnn.deep_rnn(drnn.lstm(H), param_dtype=jnp.float64)
    assert_close(run(rnn, params), run(plain, replace(params, peepholes=None)), 1e-13)


def test_lstm_with_the_identity_as_projection_is_lstm():
    rnn, params = drawn(drnn.lstm(H, projection_size=H))
    params = replace(params, w_p=np.eye(H))
    plain = drnn.deep_rnn(drnn.lstm(H), param_dtype=jnp.float64)
    assert_close(run(rnn, params), run(plain, replace(params, w_p=None)), 1e-13)


def test_lstm_whose_input_gate_is_one_minus_forget_is_coupled():
    """σ(-z) = 1 - σ(z): weights of i the opposite of those of f."""
    coupled, params = drawn(drnn.lstm(H, coupled=True))
    cell = params.layers[0].cell
    whole = {
        name: np.concatenate([-np.split(w, 3, axis=-1)[0], w], axis=-1)
        for name, w in (("w_x", cell.w_x), ("w_h", cell.w_h), ("b", cell.b))
    }
    plain = drnn.deep_rnn(drnn.lstm(H), param_dtype=jnp.float64)
    assert_close(run(plain, replace(params, **whole)), run(coupled, params), 1e-13)


@pytest.mark.parametrize("make", [drnn.lstm, drnn.gru, drnn.elman, drnn.minimal_gated])
def test_zero_biases_are_no_biases(make):
    rnn, params = drawn(make(H))
    zeros = {
        field: np.zeros_like(value)
        for field, value in params.layers[0].cell._asdict().items()
        if field.startswith("b")
    }
    bare = drnn.deep_rnn(make(H, use_bias=False), param_dtype=jnp.float64)
    without = replace(params, **dict.fromkeys(zeros))
    assert_close(run(rnn, replace(params, **zeros)), run(bare, without), 1e-13)


def test_the_two_grus_differ_but_not_where_the_reset_gate_is_open():
    """With r = 1, and no b_hn, the order of reset and product does not count."""
    after, params = drawn(drnn.gru(H))
    before = drnn.deep_rnn(drnn.gru(H, reset_after=False), param_dtype=jnp.float64)
    params = replace(params, b_hn=np.zeros(H))
    other = replace(params, b_hn=None)
    assert np.abs(run(after, params)[0] - run(before, other)[0]).max() > 1e-3
    b = params.layers[0].cell.b.copy()
    b[:H] = 100.0
    params, other = replace(params, b=b), replace(other, b=b)
    assert_close(run(after, params), run(before, other), 1e-12)


def test_gru_whose_gates_are_shared_is_minimal_gated():
    """f = r = 1 - z, in the form that resets before the product."""
    mgu, params = drawn(drnn.minimal_gated(H))
    cell = params.layers[0].cell
    shared = {
        name: np.concatenate([f, -f, n], axis=-1)
        for name, (f, n) in (
            (name, np.split(w, 2, axis=-1))
            for name, w in (("w_x", cell.w_x), ("w_h", cell.w_h), ("b", cell.b))
        )
    }
    rnn, other = drawn(drnn.gru(H, reset_after=False))
    assert_close(run(rnn, replace(other, **shared)), run(mgu, params), 1e-13)


@pytest.mark.parametrize("schedule", ["reference", "layerwise"])
def test_independent_is_elman_with_a_diagonal_matrix(schedule):
    rnn, params = drawn(drnn.independent(H, jnp.tanh))
    w_h = np.diag(params.layers[0].cell.w_h)
    elman, other = drawn(drnn.elman(H))
    cell = params.layers[0].cell
    other = replace(other, w_x=cell.w_x, w_h=w_h, b=cell.b)
    assert_close(run(rnn, params, schedule), run(elman, other, schedule), 1e-13)


def test_linear_elman_is_a_sum_of_powers():
    """y_t = Σ_s W_h^(t-s) (W_x x_s + b), with no recurrence to compute it."""
    rnn, params = drawn(drnn.elman(H, lambda z: z))
    cell = params.layers[0].cell
    y, _ = run(rnn, params)
    x = registry.seed_of("x").normal(size=(T, B, IN))
    for t in range(T):
        expected = sum(
            (x[s] @ cell.w_x + cell.b) @ np.linalg.matrix_power(cell.w_h, t - s)
            for s in range(t + 1)
        )
        np.testing.assert_allclose(y[t], expected, rtol=1e-10, atol=1e-12)
