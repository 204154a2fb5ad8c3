"""Gradient flow and memory horizons: closed forms, flags, and ten thousand steps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import analysis
from deeprnn_jax.analysis.watching import norm_of
from tests import registry
from tests.comparing import assert_close
from tests.registry import IN, B, T

pytestmark = pytest.mark.usefixtures("x64")


def linear(w, dtype=np.float64):
    """Make a linear network h_t = w h_{t-1} + x_t of one unit, and its parameters."""
    rnn = drnn.deep_rnn(drnn.elman(1, lambda z: z, use_bias=False), param_dtype=dtype)
    weights = {"layer_0/cell/w_x": np.ones((1, 1)), "layer_0/cell/w_h": np.full((1, 1), w)}
    arrays = {name: weight.astype(dtype) for name, weight in weights.items()}
    return rnn, rnn.from_dict(arrays, 1)


@pytest.mark.parametrize("stack_layers", [False, True])
def test_two_directions(stack_layers):
    """At its end each direction of the last layer has its last output alone to give account of."""
    rnn = drnn.deep_rnn(
        drnn.lstm(4), 3, bidirectional=True, param_dtype=jnp.float64, stack_layers=stack_layers
    )
    params = registry.fill(registry.seed_of("both"), registry.shapes_of(rnn)[0])
    x = registry.seed_of("x").normal(size=(T, B, IN))

    @jax.jit
    def run(params, x):
        flow = analysis.gradient_flow(rnn, params, x, lambda y: jnp.sum(y**2))
        return flow, rnn.apply(params, x)[1]

    flow, y = run(params, x)
    assert flow.shape == (3, 2, T, B)
    assert_close(flow[2, 0, -1], np.linalg.norm(2 * y[-1, :, :4], axis=-1), 1e-10)
    assert_close(flow[2, 1, 0], np.linalg.norm(2 * y[0, :, 4:], axis=-1), 1e-10)
    assert np.abs(flow[:, 0] - flow[:, 1]).min() > 1e-6


def test_dropout_is_that_of_apply():
    """With a key, the norms are those of the network that this key makes."""
    rnn = drnn.deep_rnn(drnn.weight_drop(drnn.gru(4), 0.5), 2, dropout=0.5, param_dtype=jnp.float64)
    params = registry.fill(registry.seed_of("drop"), registry.shapes_of(rnn)[0])
    x, key = np.ones((1, B, IN)), jax.random.key(3)

    def loss(y):
        return jnp.sum(y**3)

    @jax.jit
    def run(params):
        dropped = analysis.gradient_flow(rnn, params, x, loss, key=key)
        return dropped, analysis.gradient_flow(rnn, params, x, loss), rnn.apply(params, x, key=key)

    dropped, plain, (_, y) = run(params)
    assert_close(dropped[1, 0], np.linalg.norm(3 * y[0] ** 2, axis=-1), 1e-10)
    assert np.abs(dropped - plain).max() > 1e-3


def test_the_horizon_of_a_linear_network():
    """By lag |w|^k; where it stays above one hundredth, the horizon is all of the row."""
    rnn, params = linear(0.9)

    @jax.jit
    def run(w, x):
        arrays = rnn.to_dict(params) | {"layer_0/cell/w_h": w[None, None]}
        return analysis.memory_horizon(rnn, rnn.from_dict(arrays, 1), x, jnp.sum)

    for w, expected in ((0.9, 44), (-0.5, 7), (0.95, 60)):
        found = run(jnp.asarray(w), np.ones((60, 1)))
        assert_close(found.by_lag[0], np.abs(w) ** np.arange(60), 1e-12)
        assert found.horizon[0] == expected == min(60, math.ceil(math.log(0.01, abs(w))))


def test_lags_count_a_rows_own_real_steps():
    rnn, params = linear(0.9)
    _, mask, _ = registry.every_edge()
    lengths = np.array([T, 0, 4, T, T])
    resets = np.zeros((T, B), bool)
    resets[2, 3] = True
    x = np.where((mask & (np.arange(T)[:, None] < lengths))[..., None], 1.0, np.nan)
    found = analysis.memory_horizon(
        rnn, params, x, jnp.sum, lengths=lengths, mask=mask, resets=resets, fraction=0.7
    )
    lags = np.arange(T)[:, None]
    expected = np.where(lags < [T, 0, 4, T, 3], 0.9**lags, np.nan)
    expected[4:, 3] = 0  # before the reset
    assert_close(found.by_lag[0], expected, 1e-12)
    assert np.array_equal(np.isnan(found.by_lag[0]), np.isnan(expected))
    np.testing.assert_array_equal(found.horizon[0], [4, 0, 4, 4, 3])


def test_ten_thousand_steps_in_float32_without_a_gradient_a_step_kept():
    rnn, params = linear(0.995, np.float32)

    def run(x):
        return analysis.memory_horizon(rnn, params, x, jnp.sum)

    x = jnp.ones((10_000, 1), jnp.float32)
    found = jax.jit(run)(x)
    assert found.by_lag.dtype == jnp.float32
    seen = np.asarray(found.by_lag[0])
    np.testing.assert_allclose(seen[:4000], 0.995 ** np.arange(4000), rtol=1e-3)
    assert found.horizon[0] == 919
    wide = drnn.deep_rnn(drnn.linear_attention(64, 4))
    shapes = registry.shapes_of(wide, 1, ())[0]
    flow = jax.jit(lambda p, x: analysis.gradient_flow(wide, p, x, lambda y: jnp.sum(y[-1])))
    used = flow.lower(shapes, x).compile().memory_analysis().temp_size_in_bytes
    states = 10_000 * 4 * 16 * 16 * 4
    assert used < states / 2


def test_small_and_large_gradients_have_a_norm():
    rows = jnp.array([[3e-30, 4e-30], [3e30, 4e30], [0, 0]], jnp.float32)
    np.testing.assert_allclose(norm_of(rows, 1), [5e-30, 5e30, 0], rtol=1e-6)


def test_narrow_products_and_vmap():
    """With bfloat16 the norms are near; under vmap, each is its own."""
    cell = drnn.gru(8)
    wide, narrow = drnn.deep_rnn(cell), drnn.deep_rnn(cell, compute_dtype=jnp.bfloat16)
    params = registry.fill(registry.seed_of("narrow"), registry.shapes_of(wide)[0], 0.3, np.float32)
    x = registry.seed_of("x").normal(size=(2, T, B, IN)).astype(np.float32)

    def of(rnn, x):
        return analysis.gradient_flow(rnn, params, x, lambda y: jnp.sum(y[-1].astype(jnp.float32)))

    @jax.jit
    def run(x):
        return jax.vmap(lambda x: of(wide, x))(x), of(wide, x[1]), of(narrow, x[1])

    both, exact, near = run(x)
    assert both.dtype == near.dtype == jnp.float32
    assert_close(both[1], exact, 1e-5)
    np.testing.assert_allclose(near, exact, rtol=0.1, atol=0.02)
    assert np.abs(near - exact).max() > 0
