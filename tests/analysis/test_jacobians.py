"""Jacobians of steps, and singular values of their products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import analysis
from deeprnn_jax.analysis.products import _log_singular_values, _multiply, _Product
from tests import registry
from tests.comparing import assert_close, assert_same
from tests.registry import IN, B, T

pytestmark = pytest.mark.usefixtures("x64")
NETWORK = registry.Network((("lstm", 4, "none"), ("mlstm", 4, "none"), ("gru", 3, "none")))


def test_a_states_vector_has_layers_then_fields_and_back():
    data, rnn = registry.data_for(NETWORK), NETWORK.build()
    vector = analysis.to_vector(rnn, data.params, data.state)
    flat = [leaf.reshape(B, -1) for leaf in jax.tree.leaves(data.state)]
    assert_same(vector, jnp.concatenate(flat, axis=-1))
    assert_same(analysis.to_state(rnn, data.params, vector), jax.tree.map(jnp.asarray, data.state))
    stacked = drnn.deep_rnn(drnn.lstm(4), 3, stack_layers=True, param_dtype=jnp.float64)
    params, state = registry.shapes_of(stacked, batch_shape=(2, B))
    state = registry.fill(registry.seed_of("stacked"), state)
    vector = analysis.to_vector(stacked, params, state)
    assert_same(vector[..., 8:12], state[1].h[0])
    assert_same(analysis.to_state(stacked, params, vector), jax.tree.map(jnp.asarray, state))


def test_a_steps_jacobian_is_that_of_each_row():
    data, rnn = registry.data_for(NETWORK), NETWORK.build()
    x = data.x[0]

    @jax.jit
    def run(params, state, x):
        found = analysis.jacobian(rnn, params, state, x)
        parts = [analysis.jacobian(rnn, params, state, x, layer=layer) for layer in range(3)]

        def step(vector, x_t):
            state, _ = rnn.step(params, analysis.to_state(rnn, params, vector), x_t)
            return analysis.to_vector(rnn, params, state)

        vector = analysis.to_vector(rnn, params, state)
        return found, parts, jax.vmap(jax.jacrev(step, argnums=(0, 1)))(vector, x)

    found, parts, expected = run(data.params, data.state, x)
    assert_close([*found], [*expected], 1e-10)
    sizes = np.cumsum([0, 8, 2 * 2 * 3 + 2 * 3 + 2, 3])
    assert found.state.shape == (B, sizes[-1], sizes[-1])
    for part, start, stop in zip(parts, sizes[:-1], sizes[1:], strict=True):
        assert_close(part.state, found.state[:, start:stop, start:stop], 1e-12)
        assert_close(part.input, found.input[:, start:stop], 1e-12)


def elman_case():
    rnn = drnn.deep_rnn(drnn.elman(4), param_dtype=jnp.float64)
    params = registry.fill(registry.seed_of("elman"), registry.shapes_of(rnn)[0])
    x = registry.seed_of("x").normal(size=(T, B, IN))
    return rnn, params, x, params.layers[0].cell


def test_jacobians_in_closed_form_with_flags():
    """Of h = tanh(W_x x + W_h h): diag(1 - h²) W_h, and diag(1 - h²) W_x."""
    rnn, params, x, own = elman_case()
    lengths, mask, resets = registry.every_edge()
    real = mask & (np.arange(T)[:, None] < lengths)
    x = np.where(real[..., None], x, np.nan)

    @jax.jit
    def run(x):
        flags = {"lengths": lengths, "mask": mask, "resets": resets}
        found = analysis.jacobians(rnn, params, x, **flags)
        part = analysis.jacobians(rnn, params, x, layer=0, **flags)
        return found, part, rnn.inspect(params, x, **flags)[2][0].state.h

    found, part, h = run(x)
    slope = (1 - np.asarray(h) ** 2)[..., None]
    keep = real[..., None, None]
    assert_close(found.state, np.where(keep, slope * own.w_h.T, np.eye(4)), 1e-12)
    assert_close(found.input, np.where(keep, slope * own.w_x.T, 0.0), 1e-12)
    assert_same(part, found)


def test_images_are_flat():
    cell = drnn.conv_gru(2, (2, 3), 3)
    rnn = drnn.deep_rnn(cell)
    params, state = registry.fill(
        registry.seed_of("images"), registry.shapes_of(rnn, 1, (B,)), dtype=np.float32
    )
    found = jax.jit(lambda p, s, x: analysis.jacobian(rnn, p, s, x))(
        params, state, np.ones((B, 2, 3, 1), np.float32)
    )
    assert found.state.shape == (B, 12, 12)
    assert found.input.shape == (B, 12, 6)


def test_singular_values_of_few_steps():
    rnn, params, x, _ = elman_case()

    @jax.jit
    def run(x):
        flags = {"resets": jnp.zeros((T, B), bool).at[3, 1].set(True)}
        found = analysis.singular_values(rnn, params, x, **flags)
        every = analysis.singular_values(rnn, params, x, every=2, **flags)
        return found, every, analysis.jacobians(rnn, params, x, **flags).state

    found, every, steps = run(x)
    product = np.broadcast_to(np.eye(4), (B, 4, 4))
    for t in range(T):
        start = np.where((np.arange(B) == 1)[:, None, None] & (t == 3), np.eye(4), product)
        product = steps[t] @ start
        expected = np.log(np.linalg.svd(np.asarray(product), compute_uv=False))
        assert_close(found[t], expected, 1e-9)
    assert_close(every, found[1::2], 1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-3)])
def test_products_whose_singular_values_are_known_span_a_thousand_powers(dtype, tolerance):
    """J_t = V_t exp(s_t) V_{t-1}ᵀ, V orthogonal: their logarithms are the sums of s_t."""
    rng, size, num_steps = seed(), 5, 2000
    turns = np.linalg.qr(rng.normal(size=(num_steps + 1, size, size)))[0]
    logs = np.linspace(0.5, -0.5, size) + 0.1 * rng.normal(size=(num_steps, size))
    steps = (turns[1:] * np.exp(logs)[:, None]) @ turns[:-1].swapaxes(1, 2)
    eye = jnp.eye(size, dtype=dtype)

    @jax.jit
    def run(steps):
        def multiply(product, step):
            return _multiply(step @ product.q, product), None

        product, _ = jax.lax.scan(multiply, _Product(eye, jnp.zeros(size, dtype), eye), steps)
        return _log_singular_values(product.logs, product.rows)

    expected = -np.sort(-logs.sum(0))
    assert expected[0] > 900
    assert expected[-1] < -900
    np.testing.assert_allclose(run(steps.astype(dtype)), expected, atol=tolerance * 10)


def seed():
    return registry.seed_of("products")


def test_equal_and_vanishing_singular_values():
    """A rotation's are 1; a shift's fall out one after the other, exactly."""
    turn = np.linalg.qr(seed().normal(size=(6, 6)))[0]
    shift = np.eye(6, k=1)

    @jax.jit
    def powers(step):
        def multiply(product, _):
            product = _multiply(step @ product.q, product)
            return product, _log_singular_values(product.logs, product.rows)

        eye = jnp.eye(6)
        return jax.lax.scan(multiply, _Product(eye, jnp.zeros(6), eye), length=100)[1]

    assert_close(powers(turn)[-1], np.zeros(6), 1e-12)
    found = powers(shift)[:7]
    expected = np.where(np.arange(6)[None] < 5 - np.arange(7)[:, None], 0.0, -np.inf)
    np.testing.assert_array_equal(found, expected)


def test_ten_thousand_steps_in_float32():
    rnn = drnn.deep_rnn(drnn.gru(3))
    params = registry.fill(seed(), registry.shapes_of(rnn, 1)[0], dtype=np.float32)
    x = seed().normal(size=(10_000, 1)).astype(np.float32)

    @jax.jit
    def run(x):
        spectrum = analysis.lyapunov_spectrum(rnn, params, x)
        return analysis.singular_values(rnn, params, x, every=5000), spectrum.exponents

    logs, exponents = run(x)
    assert logs[-1, -1] < -2000  # float32 ends at exp(-103)
    np.testing.assert_allclose(logs[-1] / 10_000, exponents, atol=2e-3)
