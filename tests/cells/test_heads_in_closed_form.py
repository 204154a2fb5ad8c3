"""Cells with heads against other forms of the same equations, and numbers by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax import initializers
from deeprnn_jax.cells.gated_delta import gated_delta
from deeprnn_jax.cells.linear_attention import linear_attention
from deeprnn_jax.cells.mlstm import mlstm
from deeprnn_jax.cells.slstm import power_law, slstm
from tests import registry
from tests.cells.cells_with_heads import draw, run
from tests.comparing import assert_close
from tests.registry import IN, H

pytestmark = pytest.mark.usefixtures("x64")

STEPS = 9


def sequence(cell, name, scale=0.5):
    """Draw parameters and x [STEPS, IN], with the state before the first step."""
    params, state, _ = draw(cell, name, scale=scale)
    x = registry.seed_of(name).normal(size=(STEPS, IN))
    return params, jax.tree.map(np.zeros_like, state), x


# -- slstm ---------------------------------------------------------------------------------------


def plain_slstm(params, x, forget=jax.nn.sigmoid):
    """The published equations without the stabiliser, one head."""
    h = c = n = jnp.zeros(H)
    outputs = []
    for x_t in x:
        z = x_t @ params.w_x + h @ params.w_h[0] + params.b
        z_i, z_f, z_g, z_o = jnp.split(z, 4)
        i, f = jnp.exp(z_i), forget(z_f)
        c, n = f * c + i * jnp.tanh(z_g), f * n + i
        h = jax.nn.sigmoid(z_o) * c / n
        outputs.append(h)
    return jnp.stack(outputs)


@pytest.mark.parametrize("gate", ["sigmoid", "exp"])
def test_the_stabiliser_of_slstm_changes_no_output_and_no_gradient(gate):
    cell = slstm(H, forget_gate=gate)
    params, state, x = sequence(cell, "stabiliser")
    weights = registry.seed_of("weights").normal(size=(STEPS, H))
    forget = {"sigmoid": jax.nn.sigmoid, "exp": jnp.exp}[gate]

    def gradient_of(outputs):
        return jax.jit(
            jax.value_and_grad(lambda p, x: jnp.vdot(outputs(p, x), weights), argnums=(0, 1))
        )(params, x)

    found = gradient_of(lambda p, x: run(cell, p, state, x)[1])
    assert_close(found, gradient_of(lambda p, x: plain_slstm(p, x, forget)), 1e-11)


def test_a_row_of_slstm_starts_whatever_the_others_have_seen():
    """Published code restarts m only where n is 0 in all of the batch."""
    cell = slstm(H)
    params, _, _ = draw(cell, "rows")
    params = params._replace(b=params.b - 900)  # exp(z_i) is 0: only m makes n more than 0
    fresh = cell.initial_state(params, (2,))
    seen, _ = cell.step(params, fresh, cell.project_input(params, np.ones((2, IN))))
    state = jax.tree.map(lambda a, b: jnp.stack([a[0], b[1]]), fresh, seen)
    state, y = cell.step(params, state, cell.project_input(params, np.ones((2, IN))))
    alone, y_alone = cell.step(
        params, cell.initial_state(params, ()), cell.project_input(params, np.ones(IN))
    )
    assert_close(jax.tree.map(lambda a: a[0], (state, y)), (alone, y_alone), 1e-12)
    np.testing.assert_array_equal(alone.n, 1)


def test_n_of_slstm_is_at_least_one_and_never_below_the_input_gate():
    cell = slstm(H, 2, forget_gate="exp")
    params, state, x = sequence(cell, "least", scale=3.0)
    for x_t in x:
        x_proj, h_proj = cell.project_input(params, x_t), cell.project_state(params, state)
        gates = cell.gates(params, state, x_proj, h_proj)
        state, _ = cell.update(params, state, x_proj, h_proj)
        assert (state.n >= 1).all()
        assert (state.n >= gates.i).all()
        assert (np.maximum(gates.i, gates.f) == 1).all()


def test_heads_of_slstm_are_blocks_of_one_matrix():
    size = H // 2
    two, one = slstm(H, 2), slstm(H)
    params, state, x = draw(two, "blocks")
    whole = np.zeros((H, 4, H))
    for head, block in enumerate(params.w_h.reshape(2, size, 4, size)):
        units = slice(head * size, (head + 1) * size)
        whole[units, :, units] = block
    dense = params._replace(w_h=whole.reshape(1, H, 4 * H))
    expected = run(two, params, state, x[None])
    assert_close(run(one, dense, state, x[None]), expected, 1e-12)


def test_slstm_by_hand():
    """All weights 0: h = c / (2 n), c = f c + tanh(0.5) and n = f n + 1 after the first step."""
    cell = slstm(1)
    params, _, x = draw(cell, "by hand")
    params = jax.tree.map(np.zeros_like, params)._replace(b=np.array([0, np.log(3), 0.5, 0]))
    state, y = run(cell, params, cell.initial_state(params, ()), np.stack([x, x]))
    np.testing.assert_allclose(y, np.full((2, 1), np.tanh(0.5) / 2), rtol=1e-14)
    np.testing.assert_allclose(state.n, 1.75, rtol=1e-14)  # σ(log 3) = 3/4
    np.testing.assert_allclose(state.c, 1.75 * np.tanh(0.5), rtol=1e-14)


def test_slstm_begins_as_published():
    params = slstm(8, 2).init(jax.random.key(0), 3)
    _, b_f, *_ = b = params.b.reshape(4, 2, 4)
    assert not params.w_h.any()
    assert not np.delete(b, 1, axis=0).any()
    np.testing.assert_allclose(b_f, [5 - 12 * (np.arange(4) / 3) ** 0.3] * 2, rtol=1e-5)
    deep = power_law(1.0)(jax.random.key(0), (4,), jnp.float32)
    np.testing.assert_allclose(deep, 5 - 12 * (np.arange(4) / 3) ** 1.6, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(power_law()(jax.random.key(0), (1,), jnp.float32), [5.0])
    drawn = slstm(8, 2, w_h_init=initializers.identity()).init(jax.random.key(0), 3)
    blocks = drawn.w_h.reshape(2, 4, 4, 4).swapaxes(1, 2)  # [heads, gates, N, N]
    np.testing.assert_array_equal(blocks, np.broadcast_to(np.eye(4), blocks.shape))


# -- mlstm ---------------------------------------------------------------------------------------


def attention_of_mlstm(params, x, keys):
    """The published parallel form, one head: a matrix [T, T] of weights, not stabilised."""
    q, k, v, o, z_i, z_f = jnp.split(
        x @ params.w_x + params.b[None],
        [keys, 2 * keys, 2 * keys + H, 2 * keys + 2 * H, 2 * keys + 2 * H + 1],
        axis=1,
    )
    log_f = jnp.cumsum(jax.nn.log_sigmoid(z_f[:, 0]))
    weights = jnp.tril(jnp.exp(log_f[:, None] - log_f[None] + z_i.T))
    weights = weights * (q @ k.T) / np.sqrt(keys)
    total = jnp.maximum(jnp.abs(weights.sum(axis=1)), 1.0)
    return jax.nn.sigmoid(o) * (weights @ v) / total[:, None]


def test_mlstm_is_its_parallel_form_and_has_its_gradient():
    """To ε; so the state that is carried for stability has no part in the gradient."""
    keys = 3
    cell = mlstm(H, key_size=keys)
    params, state, x = sequence(cell, "parallel", scale=1.0)
    weights = registry.seed_of("weights").normal(size=(STEPS, H))

    def gradient_of(outputs):
        return jax.jit(
            jax.value_and_grad(lambda p, x: jnp.vdot(outputs(p, x), weights), argnums=(0, 1))
        )(params, x)

    found = gradient_of(lambda p, x: run(cell, p, state, x)[1])
    assert_close(found, gradient_of(lambda p, x: attention_of_mlstm(p, x, keys)), 1e-4)


def test_both_input_gates_of_mlstm_are_one_function():
    """exp(log σ(z)) = σ(z), where w_i is 0."""
    exponential, sigmoid = (mlstm(H, 2, input_gate=gate) for gate in ("exp", "sigmoid"))
    params, state, x = sequence(exponential, "gates")
    w_x, b = params.w_x.copy(), params.b.copy()
    w_x[:, -4:-2] = 0
    log = b.copy()
    log[-4:-2] = -np.logaddexp(0, -b[-4:-2])
    _, expected = run(sigmoid, params._replace(w_x=w_x), type_of(sigmoid, params), x)
    _, y = run(exponential, params._replace(w_x=w_x, b=log), state, x)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def type_of(cell, params):
    """Give the state before the first step in NumPy's float64."""
    return jax.tree.map(np.asarray, cell.initial_state(params, ()))


def test_where_m_begins_does_not_matter():
    """With nothing held, 0 and -50 give the same y: to ε, where m is below 0."""
    cell = mlstm(H, 2)
    params, state, x = sequence(cell, "m")
    _, expected = run(cell, params, state, x)
    _, y = run(cell, params, state._replace(m=np.full(2, -50.0)), x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-8)


def test_mlstm_by_hand():
    """One step: k = (1, 1)/√2, q = (1, 3), v = 5, i = e, o = 1/2: n·q = e · 4/√2, above 1."""
    cell = mlstm(1, key_size=2)
    params, state, _ = sequence(cell, "by hand")
    params = params._replace(w_x=0 * params.w_x, b=np.array([1.0, 3, 1, 1, 5, 0, 1, 0]))
    end, y = run(cell, params, state, np.ones((1, IN)))
    np.testing.assert_allclose(y, [[2.5]], rtol=1e-6)
    np.testing.assert_allclose(end.c, [[[5 / np.sqrt(2)]] * 2], rtol=1e-14)
    np.testing.assert_allclose(end.m, [1.0])


def test_mlstm_begins_as_published():
    params = mlstm(8, 4, key_size=3, output_norm="rms").init(jax.random.key(0), 5)
    assert not params.w_x[:, -8:].any()
    assert params.w_x[:, :-8].all()
    assert not params.b[:-8].any()
    assert 0 < np.abs(params.b[-8:-4]).max() < 0.5
    np.testing.assert_allclose(params.b[-4:], [3, 4, 5, 6], rtol=1e-6)
    np.testing.assert_array_equal(params.gain, 1)


# -- gated_delta ---------------------------------------------------------------------------------


def opened(params, **columns):
    """Give parameters of a cell of one head with one input, from the columns of w_x."""
    return params._replace(w_x=np.concatenate(list(columns.values()))[None])


def test_gated_delta_replaces_what_it_holds_under_a_key():
    """With b = 1 and a = 1 a read by the key gives the value last written, to √K."""
    cell = gated_delta(2, decay=False)
    params, state, _ = draw(cell, "replaces")
    key, large = np.array([3.0, 1.0]), 50.0
    for value in (np.array([2.0, 7.0]), np.array([4.0, 0.5])):
        weights = opened(params, q=key, k=key, v=value, b=np.array([large]))
        state, y = cell.step(weights, state, np.ones(1))
        expected = value / (1 + np.exp(-value)) / np.sqrt(2)
        np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_a_negative_eigenvalue_counts_modulo_two():
    """b = 2 along k turns what is held there: parity; b = 1 forgets it."""
    key, large, nothing = np.array([3.0, 3.0]), 50.0, np.zeros(2)
    for negative, factor in ((True, -1.0), (False, 0.0)):
        cell = gated_delta(2, decay=False, negative_eigenvalues=negative)
        params, state, _ = draw(cell, "parity")
        held = np.ones((1, 2, 2))
        weights = opened(params, q=key, k=key, v=nothing, b=np.array([large]))
        for count in range(1, 4):
            state, _ = cell.step(weights, state._replace(s=held), np.ones(1))
            held = np.asarray(state.s)
            np.testing.assert_allclose(held, factor**count, atol=1e-5)


def test_gated_delta_without_forgetting_is_delta():
    with_decay, without = (gated_delta(H, 2, decay=decay) for decay in (True, False))
    params, state, x = sequence(with_decay, "forgets")
    still = params._replace(decay=params.decay._replace(a_log=np.full(2, -100.0)))
    fewer = params._replace(w_x=params.w_x[:, :-2], decay=None)
    expected = run(without, fewer, state, x)
    assert_close(run(with_decay, still, state, x), expected, 1e-12)


def test_gated_delta_begins_as_published():
    params = gated_delta(64, 64).init(jax.random.key(0), 2)
    rate, step = np.exp(params.decay.a_log), np.logaddexp(0, params.decay.dt_bias)
    assert 0 < rate.min() < 2
    assert 14 < rate.max() < 16
    assert 0.00099 < step.min() < 0.002
    assert 0.05 < step.max() < 0.101


# -- linear_attention ----------------------------------------------------------------------------


def test_linear_attention_is_attention_without_softmax():
    cell = linear_attention(H)
    params, state, x = sequence(cell, "attention")
    q, k, v = np.split(x @ params.w_x, 3, axis=1)
    q, k = (np.where(u > 0, u + 1, np.exp(np.minimum(u, 0))) for u in (q, k))
    weights = np.tril(q @ k.T)
    expected = weights / weights.sum(axis=1, keepdims=True) @ v
    np.testing.assert_allclose(run(cell, params, state, x)[1], expected, rtol=1e-12)


@pytest.mark.parametrize("decay", ["head", "key"])
def test_a_decay_of_one_is_none(decay):
    """And one of 1/2 halves what is held."""
    cell, none = (linear_attention(H, 2, decay=d, normalizer=False) for d in (decay, None))
    params, state, x = sequence(cell, "one")
    more = params.w_x.shape[1] - 3 * H
    if decay == "head":
        still, half = (
            params.decay._replace(a_log=np.full(2, a_log), dt_bias=np.full(2, 50.0))
            for a_log in (-100.0, np.log(np.log(2) / 50))
        )
    else:
        still, half = np.full(H, 1e3), np.full(H, -np.log(2.0**16 - 1))
    w_x = params.w_x.copy()
    w_x[:, -more:] = 0
    expected = run(none, params._replace(w_x=w_x[:, :-more], decay=None), state, x)
    assert_close(run(cell, params._replace(w_x=w_x, decay=still), state, x), expected, 1e-12)
    ones = state._replace(s=np.ones_like(state.s))
    end, _ = run(cell, params._replace(w_x=w_x, decay=half), ones, np.zeros((3, IN)))
    np.testing.assert_allclose(end.s, 0.125, rtol=1e-10)
