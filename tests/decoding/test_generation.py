"""Writing in one scan: the numbers of a loop, ends, and any batch axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax.decoding import Sampling, generate, sample_logits
from tests.decoding.models import draw_confident, language_model

RNN, PARAMS, STEP = language_model()
V = 5
KEY = jax.random.key(3)
GREEDY = Sampling(temperature=0.0)
SAMPLING = Sampling(temperature=0.8, top_k=4, top_p=0.95)


def initial_state(batch_shape):
    return RNN.initial_state(PARAMS, batch_shape)


@pytest.fixture(scope="module")
def drawn():
    """Draw 12 tokens for three rows, and the same in a loop."""
    start = jnp.array([0, 2, 4])
    got = jax.jit(lambda key: generate(STEP, initial_state(3), start, 12, key, SAMPLING))(KEY)
    step = jax.jit(STEP)
    state, token, tokens, log_probs = initial_state(3), start, [], []
    for t in range(12):
        state, logits = step(state, token)
        token = sample_logits(jax.random.fold_in(KEY, t), logits, SAMPLING)
        tokens.append(np.asarray(token))
        wide = np.asarray(logits, np.float64)
        wide = wide - np.log(np.exp(wide).sum(-1, keepdims=True))
        log_probs.append(wide[np.arange(3), tokens[-1]])
    return got, (state, np.stack(tokens), np.stack(log_probs))


def test_is_the_loop(drawn):
    (state, got), (expected_state, tokens, log_probs) = drawn
    np.testing.assert_array_equal(got.tokens, tokens)
    np.testing.assert_allclose(got.log_probs, log_probs, atol=1e-5)
    assert got.lengths.tolist() == [12, 12, 12]
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected_state), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_rows_end_where_they_draw_the_end(drawn):
    (_, free), _ = drawn
    end = int(free.tokens[4, 1])  # row 1 ends at step 4 or before
    _, got = jax.jit(
        lambda: generate(
            STEP, initial_state(3), jnp.array([0, 2, 4]), 12, KEY, SAMPLING, end_token=end
        )
    )()
    for row in range(3):
        is_end = np.asarray(free.tokens[:, row]) == end
        length = int(np.argmax(is_end)) + 1 if is_end.any() else 12
        assert int(got.lengths[row]) == length
        np.testing.assert_array_equal(got.tokens[:length, row], free.tokens[:length, row])
        np.testing.assert_array_equal(got.tokens[length:, row], end)
        np.testing.assert_array_equal(got.log_probs[length:, row], 0.0)
        np.testing.assert_allclose(got.log_probs[:length, row], free.log_probs[:length, row])
    assert int(got.lengths[1]) <= 5


@pytest.mark.parametrize("batch_shape", [(), (2, 3)])
def test_any_batch_axes(batch_shape):
    start = jnp.full(batch_shape, 1)
    state, got = generate(STEP, initial_state(batch_shape), start, 4, KEY, GREEDY, end_token=0)
    assert got.tokens.shape == got.log_probs.shape == (4, *batch_shape)
    assert got.tokens.dtype == got.lengths.dtype == jnp.int32
    assert got.lengths.shape == batch_shape
    assert jax.tree.leaves(state)[0].shape == (*batch_shape, 8)


def test_greedy_goes_on_where_it_stopped():
    state, first = generate(STEP, initial_state(2), jnp.zeros(2, int), 5, KEY, GREEDY)
    _, second = generate(STEP, state, first.tokens[-1], 3, KEY, GREEDY)
    _, whole = generate(STEP, initial_state(2), jnp.zeros(2, int), 8, KEY, GREEDY)
    np.testing.assert_array_equal(jnp.concatenate([first.tokens, second.tokens]), whole.tokens)


def test_vmap_over_keys_is_one_after_the_other():
    def draw(key):
        return generate(STEP, initial_state(()), 1, 6, key, SAMPLING)[1]

    keys = jax.random.split(KEY, 4)
    together = jax.vmap(draw)(keys)
    one = jax.jit(draw)
    for i in range(4):
        np.testing.assert_array_equal(together.tokens[i], one(keys[i]).tokens)
    assert len(np.unique(together.tokens, axis=0)) > 1


def test_vmap_over_temperatures_is_one_after_the_other():
    def draw(temperature):
        settings = Sampling(temperature=temperature)
        return generate(STEP, initial_state(3), jnp.zeros(3, int), 6, KEY, settings)[1]

    temperatures = [0.0, 0.5, 3.0]
    together = jax.vmap(draw)(jnp.array(temperatures))
    traced = jax.jit(draw)
    for i, temperature in enumerate(temperatures):
        np.testing.assert_array_equal(together.tokens[i], draw(temperature).tokens)
        np.testing.assert_array_equal(together.tokens[i], traced(temperature).tokens)
    assert len(np.unique(together.tokens, axis=0)) == 3


def test_vmap_over_top_p_is_one_after_the_other():
    def draw(top_p):
        settings = Sampling(top_p=top_p)
        return generate(STEP, initial_state(3), jnp.zeros(3, int), 6, KEY, settings)[1]

    top_ps = [0.01, 0.6, 1.0]
    together = jax.vmap(draw)(jnp.array(top_ps))
    for i, top_p in enumerate(top_ps):
        np.testing.assert_array_equal(together.tokens[i], draw(top_p).tokens)


def test_a_certain_token_has_a_log_probability_of_0_at_most():
    """With what stands beside it, 1 is rounded in float32."""
    logits = jnp.asarray(draw_confident(100, 5).astype(np.float32))
    _, got = generate(lambda t, token: (t + 1, logits[t]), 0, 0, 100, KEY)
    assert (got.log_probs <= 0).all()


def test_draws_are_of_the_model():
    """Two dependent tokens of 4,000 rows come in the shares that the step gives them."""
    p_first = np.array([0.2, 0.5, 0.3])
    p_next = np.array([[0.1, 0.6, 0.3], [0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    table = jnp.log(jnp.asarray(np.concatenate([p_next, p_first[None]]), jnp.float32))
    n = 4000
    _, got = generate(lambda s, token: (s, table[token]), (), jnp.full(n, 3), 2, KEY)
    found = np.bincount(got.tokens[0] * 3 + got.tokens[1], minlength=9) / n
    np.testing.assert_allclose(found, (p_first[:, None] * p_next).ravel(), atol=2 / n**0.5)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling()])
def test_logits_without_a_distribution_give_token_0_of_no_probability(sampling):
    bad = jnp.array([[0.0, jnp.nan, 9.0], [-jnp.inf] * 3, [0.0, jnp.inf, 0.0], [0.0, 9.0, 0.0]])

    def step(t, token):
        return t + 1, jnp.where((t == 1)[..., None], bad, jnp.array([-jnp.inf, 0.0, -jnp.inf]))

    _, got = generate(step, jnp.zeros(4, int), jnp.zeros(4, int), 3, KEY, sampling)
    assert got.tokens[:, :3].T.tolist() == [[1, 0, 1]] * 3
    assert (got.log_probs[1, :3] == -jnp.inf).all()
    assert jnp.isfinite(got.log_probs[1, 3])
    np.testing.assert_array_equal(got.log_probs[::2], 0.0)


def test_bfloat16_logits_and_a_state_of_another_dtype():
    """The state takes the dtype in which the step keeps it."""

    def step(h, token):
        h = 0.5 * h.astype(jnp.bfloat16) + jax.nn.one_hot(token, 4, dtype=jnp.bfloat16)
        return h, h

    h, got = generate(step, jnp.zeros((2, 4)), jnp.array([1, 2]), 3, KEY, GREEDY)
    assert h.dtype == jnp.bfloat16
    assert got.log_probs.dtype == jnp.float32
    assert got.tokens.T.tolist() == [[1, 1, 1], [2, 2, 2]]


START = jnp.zeros(2, int)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "num_steps must be an int of 1 or more, got 0"),
        ({"key": 3}, "key must be one random key"),
        ({"sampling": 0.7}, r"sampling must be a Sampling, got 0.7; for example Sampling\("),
        ({"start_token": 1.0}, "start_token must be an int or an integer array"),
        ({"start_token": jnp.ones(2)}, "start_token must be .* got float32"),
        ({"end_token": 5}, r"end_token must be an int in \[0, V=5\).* got 5"),
        ({"end_token": -1}, "end_token must be an int in"),
        ({"step_fn": None}, "step_fn must be a function"),
        ({"step_fn": lambda s, t: t}, r"step_fn must return a pair \(state, logits\)"),
        ({"step_fn": lambda s, t: (s, t)}, "step_fn must return floating-point logits .* int32"),
        (
            {"step_fn": lambda s, t: (s, jnp.ones(5))},
            "step_fn must .* with the axes .2,. of its tokens, got",
        ),
        (
            {"step_fn": lambda s, t: (s[0], jnp.ones((2, 5)))},
            "step_fn must return a state like the one",
        ),
    ],
)
def test_refuses(changes, message):
    arguments = {
        "step_fn": STEP,
        "state": initial_state(2),
        "start_token": START,
        "num_steps": 3,
        "key": KEY,
    }
    with pytest.raises(ValueError, match=f"generate: {message}"):
        generate(**arguments | changes)


def test_refuses_a_state_that_changes_its_kind():
    with pytest.raises(ValueError, match="turns a state of int32 into float32"):
        generate(
            lambda s, t: (s.astype(jnp.float32), jnp.ones((2, 3))), jnp.zeros(2, int), START, 3, KEY
        )
