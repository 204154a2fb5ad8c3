"""Fixed points that are known: of tanh units, and of a flip-flop's memory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import analysis
from tests.comparing import assert_close
from tests.registry import seed_of
from tests.versions import enable_x64


def tanh_units(w_h, dtype=np.float64):
    """Make h_t = tanh(W h_{t-1} + x_t), all units read one number."""
    size = len(w_h)
    rnn = drnn.deep_rnn(drnn.elman(size, use_bias=False), param_dtype=dtype)
    arrays = {"layer_0/cell/w_x": np.ones((1, size), dtype), "layer_0/cell/w_h": w_h.astype(dtype)}
    return rnn, rnn.from_dict(arrays, 1)


def find(rnn, params, starts, x_t, **options):
    state = rnn.initial_state(params, starts.shape[:-1])
    state = (state[0]._replace(h=jnp.asarray(starts)),)
    return jax.jit(lambda p, s, x: analysis.fixed_points(rnn, p, s, x, **options))(
        params, state, x_t
    )


def solve(w, x=0.0):
    """Give the outer root of h = tanh(w h + x), by iteration."""
    h = 1.0
    for _ in range(2000):
        h = np.tanh(w * h + x)
    return h


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_unit_has_three(dtype):
    with enable_x64(dtype == np.float64):
        rnn, params = tanh_units(np.array([[1.5]]), dtype)
        starts = np.linspace(-1, 1, 30).astype(dtype).reshape(5, 6, 1)
        found = find(rnn, params, starts, np.zeros(1, dtype))
        assert found.points.dtype == dtype
        assert found.points.shape == (30, 1)
        order = np.argsort(found.points[:3, 0])
        outer = solve(1.5)
        exact = 1e-5 if dtype == np.float32 else 1e-9
        np.testing.assert_allclose(found.points[:3, 0][order], [-outer, 0, outer], atol=exact)
        slopes = 1.5 * (1 - np.array([outer, 0, outer]) ** 2)
        np.testing.assert_allclose(found.eigenvalues[:3, 0][order].real, slopes, atol=10 * exact)
        np.testing.assert_allclose(found.jacobian[:3, 0, 0][order], slopes, atol=10 * exact)
        np.testing.assert_array_equal(found.is_stable[:3][order], [True, False, True])
        np.testing.assert_array_equal(found.is_fixed, np.arange(30) < 3)
        assert not np.any(found.is_stable[3:])


def test_two_units_have_nine_and_four_of_them_are_stable(x64):
    rnn, params = tanh_units(np.diag([2.0, 1.3]))
    starts = seed_of("starts").uniform(-1, 1, size=(200, 2))
    found = find(rnn, params, starts, np.zeros(1), max_points=20)
    assert found.points.shape == (20, 2)
    points = np.asarray(found.points[found.is_fixed])
    grid = [(a * solve(2.0), b * solve(1.3)) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    assert_close(points[np.lexsort(points.round(6).T[::-1])], np.array(grid), 1e-8)
    np.testing.assert_array_equal(found.is_stable[found.is_fixed], np.abs(points).min(-1) > 0.1)
    assert np.all(found.speed[found.is_fixed] < 1e-10)
    fewer = find(rnn, params, starts, np.zeros(1), max_points=4)
    assert np.all(fewer.is_fixed)
    assert fewer.points.shape == (4, 2)


def test_the_input_moves_them(x64):
    rnn, params = tanh_units(np.array([[0.5]]))
    found = find(rnn, params, np.zeros((3, 1)), np.array([0.7]))
    assert_close(found.points[0], np.array([solve(0.5, 0.7)]), 1e-9)
    np.testing.assert_array_equal(found.is_fixed, [True, False, False])


def test_what_is_far_away_or_still_moving_is_left_out(x64):
    rnn = drnn.deep_rnn(drnn.elman(1, lambda z: z, use_bias=False), param_dtype=jnp.float64)
    arrays = {"layer_0/cell/w_x": np.ones((1, 1)), "layer_0/cell/w_h": np.full((1, 1), 0.5)}
    params = rnn.from_dict(arrays, 1)
    starts = 10 + np.arange(4.0)[:, None] / 10
    near = find(rnn, params, starts, np.zeros(1), outlier=1e3)
    assert_close(near.points[near.is_fixed], np.zeros((1, 1)), 1e-8)
    far = find(rnn, params, starts, np.zeros(1), outlier=5.0)
    assert not np.any(far.is_fixed)
    # h = h + x has none: all points move by 0.1
    moving = rnn.from_dict(arrays | {"layer_0/cell/w_h": np.ones((1, 1))}, 1)
    assert not np.any(find(rnn, moving, starts, np.array([0.1]), outlier=1e3).is_fixed)


NUM_STEPS, ROWS = 24, 64


def flip_flop(key):
    """Draw pulses `[T, B, 3]`, and the sign of the last one of each channel."""
    k_on, k_sign = jax.random.split(key)
    on = jax.random.bernoulli(k_on, 0.2, (NUM_STEPS, ROWS, 3))
    x = jnp.where(on, jax.random.rademacher(k_sign, on.shape, jnp.float32), 0.0)

    def remember(last, pulse):
        last = jnp.where(pulse != 0, pulse, last)
        return last, last

    return x, jax.lax.scan(remember, jnp.zeros((ROWS, 3)), x)[1]


def train_flip_flop(rnn, num_updates=400):
    """Give the parameters of a network that keeps three bits."""
    params = rnn.init(jax.random.key(1), 3)
    with jax.numpy_dtype_promotion("standard"):
        optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, num_updates))

        def update(carry, key):
            params, memory = carry
            x, bits = flip_flop(key)
            loss, slope = jax.value_and_grad(
                lambda p: jnp.mean(jnp.square(rnn.apply(p, x)[1] - bits))
            )(params)
            change, memory = optimizer.update(slope, memory)
            return (optax.apply_updates(params, change), memory), loss

        keys = jax.random.split(jax.random.key(2), num_updates)
        (params, _), losses = jax.jit(lambda c: jax.lax.scan(update, c, keys))(
            (params, optimizer.init(params))
        )
    return params, losses


def test_an_lstm_that_keeps_three_bits_has_eight_stable_points():
    rnn = drnn.deep_rnn(drnn.lstm(12), output_size=3)
    params, losses = train_flip_flop(rnn)
    assert np.mean(losses[-10:]) < 0.05
    x, _ = flip_flop(jax.random.key(3))
    _, _, layers = rnn.inspect(params, x)
    starts = tuple(jax.tree.map(lambda leaf: leaf[4::4, :16], layer.state) for layer in layers)
    found = jax.jit(lambda p, s: analysis.fixed_points(rnn, p, s, jnp.zeros(3), max_steps=300))(
        params, starts
    )
    assert np.sum(found.is_stable) == 8
    assert np.sum(found.is_fixed) > 8  # and saddles between them
    state = analysis.to_state(rnn, params, found.points)
    h = np.asarray(state[0].h)[np.asarray(found.is_stable)]
    signs = np.sign(h @ np.asarray(params.readout.w) + np.asarray(params.readout.b))
    assert len({tuple(one) for one in signs.tolist()}) == 8
