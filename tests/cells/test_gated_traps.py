"""What breaks others in the gated elementwise cells: long memories, shut gates, broken episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from tests import oracle_gated, registry
from tests.cells.test_gated_sequences import CELLS, each_cell
from tests.comparing import assert_close
from tests.registry import IN, B, H, T

FIELDS = {"sru": "c", "qrnn": "c", "diagonal_lstm": "c"}  # what is kept; of others, h
# The biases that keep all of the state, and those that keep nothing of it, by gate.
SHUT = {
    "min_gru": ({0: 200.0}, {0: -200.0}),
    "min_lstm": ({0: -500.0, 1: -200.0}, {0: -200.0, 1: -500.0}),  # a quotient of 0 and 0
    "qrnn": ({0: 200.0}, {0: -200.0}),
    "sru": ({0: 200.0}, {0: -200.0}),
    "diagonal_gru": ({1: 200.0}, {1: -200.0}),
    "diagonal_lstm": ({0: 200.0}, {0: -200.0}),
}


def with_biases(rnn, biases):
    """Draw parameters of float32, and set the biases of some gates."""
    params = registry.fill(
        registry.seed_of("traps"), registry.shapes_of(rnn)[0], 0.1, dtype=np.float32
    )
    cell = params.layers[0].cell
    b = cell.b.reshape(-1, H).copy()
    for gate, value in biases.items():
        b[gate] = value
    return params._replace(layers=(params.layers[0]._replace(cell=cell._replace(b=b.reshape(-1))),))


@pytest.mark.parametrize(
    ("name", "biases"), [("min_gru", {0: 14.0}), ("min_lstm", {0: -14.0}), ("qrnn", {0: 14.0})]
)
def test_a_long_memory_in_float32(name, biases):
    """10,000 steps that each let in a millionth: near to float64.

    In float32, σ(14) is 14 spacings away from 1; with 1 - σ for what is let in, h is off by 1 %.
    """
    cell, expected = CELLS[name]
    rnn = drnn.deep_rnn(cell)
    params = with_biases(rnn, biases)
    x = registry.seed_of(name).normal(size=(10_000, IN)).astype(np.float32)
    (end,), y = jax.jit(rnn.apply)(params, x)
    wide = jax.tree.map(np.float64, params.layers[0].cell)
    start = cell.initial_state(params.layers[0].cell, ())._asdict()
    start = jax.tree.map(np.float64, start)
    last, ys = oracle_gated.run_row(expected, wide, start, np.float64(x), [False] * len(x))
    field = FIELDS.get(name, "h")
    np.testing.assert_allclose(getattr(end, field), last[field], rtol=1e-4)
    np.testing.assert_allclose(y, ys, rtol=1e-4, atol=1e-4 * np.abs(ys).max())


@each_cell
def test_gates_that_are_exactly_0_and_1(name):
    """Nothing is forgotten, or all of it; numbers and gradients are finite."""
    rnn = drnn.deep_rnn(CELLS[name][0])
    field = FIELDS.get(name, "h")
    rng = registry.seed_of(name)
    start = registry.fill(rng, registry.shapes_of(rnn)[1], dtype=np.float32)
    other = jax.tree.map(lambda leaf: leaf + 1, start)
    x = rng.normal(size=(50, B, IN)).astype(np.float32)

    def loss(params, x, start):
        end, y = rnn.apply(params, x, start)
        return jnp.sum(y) + jnp.sum(getattr(end[0], field)), getattr(end[0], field)

    run = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    for keeps, biases in zip((True, False), SHUT[name], strict=True):
        params = with_biases(rnn, biases)
        grads, end = run(params, x, start)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((grads, end)))
        if keeps:
            np.testing.assert_array_equal(end, getattr(start[0], field))
        elif name in ("min_gru", "min_lstm", "qrnn"):
            np.testing.assert_array_equal(end, run(params, x, other)[1])


@pytest.mark.parametrize("schedule", ["layerwise", "parallel"])
@each_cell
def test_nothing_of_a_broken_episode_gets_past_its_reset(name, schedule):
    """NaN in the state before a reset, and in x at a masked step.

    The gradient of x behind the reset sees neither; that of the weights sees the first, as
    every cell's, since the steps before the reset are theirs too.
    """
    rnn = drnn.deep_rnn(CELLS[name][0])
    if schedule == "parallel" and rnn.plan.cells[0].state_map is None:
        pytest.skip("its units read each other's past")
    rng = registry.seed_of(name)
    params, start = (registry.fill(rng, one, dtype=np.float32) for one in registry.shapes_of(rnn))
    x = rng.normal(size=(T, B, IN)).astype(np.float32)
    resets, mask = np.zeros((T, B), bool), np.ones((T, B), bool)
    resets[3], mask[1] = True, False

    @jax.jit
    def run(params, x, start):
        def loss(params, x):
            flags = {"mask": mask, "resets": resets}
            end, y = rnn.apply(params, x, start, **flags, schedule=schedule)
            return jnp.sum(y[3:] ** 2), (end, y[3:])

        (grads, slopes), found = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)
        return found, slopes[3:], grads

    clean = jax.tree.map(np.asarray, run(params, x, start))
    x[1] = np.nan
    assert_close(jax.tree.map(np.asarray, run(params, x, start)), clean, 1e-6)
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), start)
    assert_close(jax.tree.map(np.asarray, run(params, x, broken)[:2]), clean[:2], 1e-6)
