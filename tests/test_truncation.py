"""Truncated backpropagation: the values of the whole, the gradients of the chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from tests import registry
from tests.comparing import assert_close
from tests.registry import IN, B, T

pytestmark = pytest.mark.usefixtures("x64")
NETWORK = registry.Network(
    (("lstm", 4, "learned_initial_state"), ("gru", 3, "none")), skip="dense", output_size=2
)
FLAGS = dict(zip(("lengths", "mask", "resets"), registry.every_edge(), strict=True))


def case(flags):
    data = registry.data_for(NETWORK)
    return NETWORK.build(), data.params, data.x, data.state, (FLAGS if flags else {})


@pytest.mark.parametrize(("chunk_size", "flags"), [(1, True), (2, False), (4, True), (100, True)])
def test_values_are_those_of_the_whole(chunk_size, flags):
    """With a chunk that remains, too, and with chunks longer than the sequence."""
    rnn, params, x, state, flags = case(flags)

    @jax.jit
    def run(params, x, state):
        chunked = drnn.truncated(rnn, params, x, state, chunk_size=chunk_size, **flags)
        return chunked, rnn.apply(params, x, state, **flags)

    chunked, whole = run(params, x, state)
    assert_close(chunked, whole, 1e-12)


@pytest.mark.parametrize(("schedule", "flags"), [("reference", False), ("layerwise", True)])
def test_gradients_are_those_of_a_loop_that_stops_them(schedule, flags):
    """Chunks of 4 and 2 steps: the first still reaches the state that was given."""
    rnn, params, x, state, flags = case(flags)
    cotangents = registry.seed_of("truncated").normal(size=(T, B, 2))

    def loss_of(run):
        def loss(params, x, state):
            state, y = run(params, x, state)
            total = jnp.vdot(cotangents, y)
            return total + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(state))

        return jax.grad(loss, argnums=(0, 1, 2))

    def by_hand(params, x, state):
        real = np.arange(T)[:, None] < flags["lengths"] if flags else np.ones((T, B), bool)
        real = real & flags.get("mask", True)
        resets = flags.get("resets", np.zeros((T, B), bool))
        ys = []
        for part in (slice(0, 4), slice(4, T)):
            if part.start:
                state = jax.lax.stop_gradient(state)
            state, y = rnn.apply(
                params,
                x[part],
                state,
                mask=real[part],
                resets=resets[part],
                schedule=schedule,
            )
            ys.append(y)
        return state, jnp.concatenate(ys)

    def by_library(params, x, state):
        return drnn.truncated(rnn, params, x, state, chunk_size=4, schedule=schedule, **flags)

    def whole(params, x, state):
        return rnn.apply(params, x, state, schedule=schedule, **flags)

    got, expected, untruncated = jax.jit(
        lambda *inputs: tuple(loss_of(run)(*inputs) for run in (by_library, by_hand, whole))
    )(params, x, state)
    assert_close(got, expected, 1e-10)
    assert np.abs(got[1][:4] - untruncated[1][:4]).max() > 1e-4


def test_a_loss_on_one_chunk_reaches_that_chunk_alone():
    rnn, params, x, state, _ = case(False)

    def loss(x, state):
        return jnp.sum(drnn.truncated(rnn, params, x, state, chunk_size=2)[1][2:4])

    dx, dstate = jax.jit(jax.grad(loss, argnums=(0, 1)))(x, state)
    assert not np.any(dx[:2])
    assert np.all(np.any(dx[2:4], axis=-1))
    assert not np.any(dx[4:])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(dstate))


def test_no_state_means_the_initial_one_and_batches_of_any_rank():
    rnn, params, x, _, _ = case(False)

    @jax.jit
    def run(params, x):
        one = drnn.truncated(rnn, params, x[:, 0], chunk_size=4)
        two = drnn.truncated(rnn, params, x[:, None], chunk_size=4)
        return one, two, rnn.apply(params, x)

    one, two, whole = run(params, x)
    np.testing.assert_allclose(one[1], whole[1][:, 0], rtol=1e-12)
    np.testing.assert_allclose(two[1][:, 0], whole[1], rtol=1e-12)


def test_each_chunk_draws_its_own_dropout():
    network = registry.stack_of("elman", depth=2, dropout=0.5)
    rnn = network.build()
    params = registry.fill(registry.seed_of("chunks"), registry.shapes_of(rnn)[0])
    # no recurrence and the same input at every step: steps differ by dropout alone
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: 0 * leaf if path[-1].name == "w_h" else leaf, params
    )
    x = np.ones((T, B, IN))

    @jax.jit
    def run(x, key):
        return (
            drnn.truncated(rnn, params, x, chunk_size=2, key=key)[1],
            drnn.truncated(rnn, params, x, chunk_size=2, key=key, train=False)[1],
            drnn.truncated(rnn, params, x, chunk_size=2, train=False)[1],
        )

    y, evaluated, plain = run(x, jax.random.key(0))
    chunks = {np.asarray(y[t : t + 2]).tobytes() for t in range(0, T, 2)}
    assert len(chunks) == T // 2
    np.testing.assert_array_equal(evaluated, plain)
    again, *_ = run(x, jax.random.key(0))
    np.testing.assert_array_equal(again, y)


def test_narrow_states_go_from_chunk_to_chunk():
    rnn = drnn.deep_rnn(drnn.lstm(4), compute_dtype=jnp.bfloat16, state_dtype=jnp.bfloat16)
    params, state = registry.shapes_of(rnn)
    x = jax.ShapeDtypeStruct((T, B, IN), jnp.float32)
    end, y = jax.eval_shape(
        lambda *inputs: drnn.truncated(rnn, *inputs, chunk_size=4), params, x, state
    )
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(end)} == {jnp.dtype(jnp.bfloat16)}
