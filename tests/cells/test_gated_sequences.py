"""The gated elementwise cells over sequences: flags, chunks, precision."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.cells.diagonal_gru import diagonal_gru
from deeprnn_jax.cells.diagonal_lstm import diagonal_lstm
from deeprnn_jax.cells.min_gru import min_gru
from deeprnn_jax.cells.min_lstm import min_lstm
from deeprnn_jax.cells.qrnn import qrnn
from deeprnn_jax.cells.sru import sru
from tests import oracle_gated, registry
from tests.comparing import assert_close
from tests.registry import IN, B, H, T

CELLS = {
    "min_gru": (min_gru(H), oracle_gated.min_gru()),
    "min_lstm": (min_lstm(H, jnp.tanh), oracle_gated.min_lstm(np.tanh)),
    "qrnn": (qrnn(H, width=3), oracle_gated.qrnn()),
    "sru": (sru(H), oracle_gated.sru()),
    "diagonal_gru": (diagonal_gru(H), oracle_gated.diagonal_gru()),
    "diagonal_lstm": (diagonal_lstm(H), oracle_gated.diagonal_lstm()),
}
each_cell = pytest.mark.parametrize("name", CELLS)


@cache
def case(name):
    """Give a network of float64, what it is run on, and its flags."""
    rnn = drnn.deep_rnn(CELLS[name][0], param_dtype=jnp.float64)
    rng = registry.seed_of(name)
    params, state = registry.shapes_of(rnn)
    params, state = registry.fill(rng, params), registry.fill(rng, state)
    flags = dict(zip(("lengths", "mask", "resets"), registry.every_edge(), strict=True))
    return rnn, (params, rng.normal(size=(T, B, IN)), state), flags


def run(name, schedule):
    """Give the end, y, and the gradients by parameters, x and state."""
    rnn, inputs, flags = case(name)

    def loss(*inputs):
        end, y = rnn.apply(*inputs, **flags, schedule=schedule)
        parts = jax.tree.leaves((end, y))
        weights = [registry.seed_of(str(part.shape)).normal(size=part.shape) for part in parts]
        return sum(jnp.vdot(w, part) for w, part in zip(weights, parts, strict=True)), (end, y)

    grads, found = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*inputs)
    return jax.tree.map(np.asarray, (found, grads))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["qrnn", "min_lstm"])
def test_schedules_agree_at_every_edge(name):
    """Of those that the contract runs by "parallel": one with a window, one with a quotient."""
    found, grads = run(name, "layerwise")
    assert_close((found, grads), run(name, "reference"), 1e-12)
    assert all(np.any(grad) for grad in jax.tree.leaves(grads))
    (end,), y = found
    _, (params, x, (start,)), flags = case(name)
    lengths, mask, resets = flags.values()
    cell = CELLS[name][1]
    for b in range(B):
        steps = [t for t in range(T) if mask[t, b] and t < lengths[b]]
        state = jax.tree.map(lambda leaf, b=b: leaf[b], start)._asdict()
        last, ys = oracle_gated.run_row(
            cell, params.layers[0].cell, state, x[steps, b], resets[steps, b]
        )
        expected = np.zeros((T, H))
        for t, one in zip(steps, ys, strict=True):
            expected[t] = one
        assert_close(y[:, b], expected, 1e-12)
        assert_close(jax.tree.map(lambda leaf, b=b: leaf[b], end)._asdict(), last, 1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["qrnn", "diagonal_lstm"])
def test_chunks_and_steps_are_the_whole(name):
    """Also where a cut goes through the window of a convolution."""
    rnn, (params, x, state), flags = case(name)

    @jax.jit
    def apply(x, state, mask, resets):
        return rnn.apply(params, x, state, mask=mask, resets=resets)

    mask, resets = flags["mask"], flags["resets"]
    half = T // 2
    middle, first = apply(x[:half], state, mask[:half], resets[:half])
    end, second = apply(x[half:], middle, mask[half:], resets[half:])
    assert_close((end, jnp.concatenate([first, second])), apply(x, state, mask, resets), 1e-13)
    step = jax.jit(rnn.step)
    one, ys = state, []
    for t in range(T):
        one, y = step(params, one, x[t])
        ys.append(y)
    whole = apply(x, state, np.ones_like(mask), np.zeros_like(resets))
    assert_close((one, jnp.stack(ys)), whole, 1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("width", "pooling", "num_steps"), [(1, "f", 5), (3, "ifo", 5), (4, "fo", 2)]
)
def test_qrnn_is_a_convolution_and_a_pooling(width, pooling, num_steps):
    """Also where there are fewer steps than taps."""
    rnn = drnn.deep_rnn(qrnn(H, width=width, pooling=pooling), param_dtype=jnp.float64)
    rng = registry.seed_of(pooling)
    params = registry.fill(rng, registry.shapes_of(rnn)[0])
    x = rng.normal(size=(num_steps, IN))
    expected = oracle_gated.convolved_qrnn(params.layers[0].cell, x, np.zeros(H), width, pooling)
    assert_close(np.asarray(rnn.apply(params, x)[1]), expected, 1e-13)


@each_cell
def test_narrow_products_and_a_wide_recurrence(name):
    """bfloat16 has 8 bits: products of it err by 1/256, the float32 state of 200 steps no more."""
    cell = CELLS[name][0]
    narrow, wide = drnn.deep_rnn(cell, compute_dtype=jnp.bfloat16), drnn.deep_rnn(cell)
    rng = registry.seed_of(name)
    params = registry.fill(rng, registry.shapes_of(wide)[0], dtype=np.float32)
    x = rng.normal(size=(200, IN)).astype(np.float32)
    (state,), y = narrow.apply(params, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}
    assert y.dtype == jnp.bfloat16
    expected = np.asarray(wide.apply(params, x)[1])
    error = np.abs(np.asarray(y, np.float32) - expected).max() / np.abs(expected).max()
    assert 1e-4 < error < 0.02
