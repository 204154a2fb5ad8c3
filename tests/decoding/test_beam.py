"""Beam search against exhaustive search, against lists, and over states of every form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deeprnn_jax as drnn
from deeprnn_jax.decoding import Sampling, beam_search, generate, gnmt_penalty, power_penalty
from tests.decoding import oracles
from tests.decoding.models import (
    draw_confident,
    history_logits,
    language_model,
    table_state,
    table_step,
    units_first,
)
from tests.versions import enable_x64

END = 1


@functools.partial(jax.jit, static_argnames=("beam_size", "num_results", "normalize", "end"))
def search_tables(tables, divisors, beam_size, num_results, normalize=True, end=END):
    """Search tables `[*B, T, histories, V]`."""
    batch_shape = tables.shape[:-3]
    return beam_search(
        table_step(tables),
        table_state(batch_shape),
        jnp.zeros(batch_shape, int),
        end_token=end,
        beam_size=beam_size,
        max_steps=tables.shape[-3],
        num_results=num_results,
        length_penalty=lambda lengths: divisors,
        normalize=normalize,
    )


@functools.partial(jax.jit, static_argnames=("beam_size", "num_results"))
def search_one_by_one(tables, divisors, beam_size, num_results):
    """Search tables `[B, T, histories, V]` each in a loop of its own, which stops by itself."""
    return jax.lax.map(lambda table: search_tables(table, divisors, beam_size, num_results), tables)


def assert_row_is(got, row, expected, *, exact=False, end=END):
    """Compare a row of hypotheses with a list of (tokens, score, log-probability, finished)."""
    num_results, num_steps = got.tokens.shape[-2:]
    expected = expected[:num_results]
    for n, (tokens, score, log_prob, finished) in enumerate(expected):
        assert got.tokens[row, n].tolist() == [*tokens] + [end] * (num_steps - len(tokens))
        assert got.lengths[row, n] == len(tokens)
        assert got.finished[row, n] == finished
        rtol = 0 if exact else 1e-12
        np.testing.assert_allclose(got.scores[row, n], score, rtol=rtol)
        np.testing.assert_allclose(got.log_probs[row, n], log_prob, rtol=rtol)
    rest = slice(len(expected), None)
    assert (got.lengths[row, rest] == 0).all()
    assert not got.finished[row, rest].any()
    assert (got.tokens[row, rest] == end).all()
    assert (got.scores[row, rest] == -np.inf).all()
    assert (got.log_probs[row, rest] == -np.inf).all()


def divisors_of(penalty, num_steps):
    lengths = np.arange(1, num_steps + 1, dtype=np.float64)
    return np.ones(num_steps) if penalty is None else np.asarray(penalty(lengths))


PENALTIES = {
    "none": None,
    "gnmt": gnmt_penalty(0.8),
    "mean": power_penalty(1.0),
    "short": power_penalty(-0.7),
    "uneven": lambda lengths: 1.0 + (lengths * 7) % 3,
}


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_a_wide_beam_is_exhaustive_search(x64, penalty):
    size, num_steps, rows = 3, 4, 6
    rng = np.random.default_rng(1)
    tables = np.stack([history_logits(rng, size, num_steps) for _ in range(rows)])
    divisors = divisors_of(penalty, num_steps)
    got = jax.device_get(search_tables(tables, divisors, size**num_steps, size**num_steps))
    for row in range(rows):
        expected = oracles.exhaustive(oracles.log_softmax(tables[row]), END, 1 / divisors)
        assert_row_is(got, row, expected)


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(PENALTIES)))
def test_equal_scores_come_in_the_documented_order(seed, name):
    """Small whole numbers as log-probabilities: many ties, and no rounding."""
    rng = np.random.default_rng(seed)
    tables = -rng.integers(0, 3, size=(8, 3, 9, 3)).astype(np.float64)
    tables[rng.random(tables.shape) < 0.1] = -np.inf
    divisors = divisors_of(PENALTIES[name], 3)
    with enable_x64(True):
        got = jax.device_get(search_tables(tables, divisors, 27, 27, normalize=False))
    for row in range(8):
        expected = oracles.exhaustive(tables[row], END, 1 / divisors)
        assert_row_is(got, row, expected, exact=True)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 1), (3, 1), (2, 5)]),
    st.sampled_from(list(PENALTIES)),
    st.sampled_from([0.0, 2.0, -4.0]),
)
def test_a_narrow_beam_is_the_search_without_its_stop(seed, sizes, name, lift):
    """Rows that end soon and late, with impossible tokens, NaN and +inf among them."""
    beam_size, num_results = sizes
    rng = np.random.default_rng(seed)
    tables = np.stack([history_logits(rng, 4, 5) for _ in range(8)])
    tables[..., END] += lift
    tables[:3][rng.random((3, *tables.shape[1:])) < 0.5] = -np.inf
    tables[2:4][rng.random((2, *tables.shape[1:])) < 0.02] = np.nan
    tables[4][rng.random(tables.shape[1:]) < 0.02] = np.inf
    divisors = divisors_of(PENALTIES[name], 5)
    with enable_x64(True):
        got = jax.device_get(search_one_by_one(tables, divisors, beam_size, num_results))
    for row in range(8):
        log_probs = oracles.log_softmax(tables[row])
        expected = oracles.beam(log_probs, END, 1 / divisors, beam_size, num_results)
        assert_row_is(got, row, expected)


def draw_tables(seed):
    """Draw four tables of one shape, for which a search is compiled once."""
    rng = np.random.default_rng(seed)
    return np.stack([history_logits(rng, 4, 5, np.float32) for _ in range(4)])


def test_rows_do_not_depend_on_their_neighbours():
    """One row alone, beside others and in another place: the same bits."""
    tables = draw_tables(2)
    tables[1, ..., END] += 9.0  # ends at once
    tables[2, ..., END] = -np.inf  # never
    tables[3] = np.nan
    divisors = divisors_of(gnmt_penalty(), 5).astype(np.float32)
    together = jax.device_get(search_tables(tables, divisors, 3, 3))
    turned = jax.device_get(search_tables(tables[::-1].copy(), divisors, 3, 3))
    for row in range(4):
        alone = jax.device_get(search_tables(tables[row : row + 1], divisors, 3, 3))
        for a, b, c in zip(alone, together, turned, strict=True):
            np.testing.assert_array_equal(a[0], b[row])
            np.testing.assert_array_equal(a[0], c[3 - row])
    assert together.finished[1].all()
    assert not together.finished[2].any()
    assert (together.lengths[2] == 5).all()
    assert (together.scores[3] == -jnp.inf).all()


def test_vmap_and_any_batch_axes():
    tables, exponents = draw_tables(3), np.array([[1.0], [0.0], [0.6], [-0.7]], np.float32)
    divisors = np.arange(1, 6, dtype=np.float32) ** exponents
    # each row's penalty for all rows
    flat = [jax.device_get(search_tables(tables, each, 3, 3)) for each in divisors]
    square = search_tables(tables.reshape(2, 2, *tables.shape[1:]), divisors[0], 3, 3)
    square = jax.device_get(square)
    mapped = jax.vmap(lambda table, each: search_tables(table, each, 3, 3))(tables, divisors)
    mapped = jax.device_get(mapped)
    for *a, b, c in zip(*flat, square, mapped, strict=True):
        np.testing.assert_array_equal(a[0], b.reshape(a[0].shape))
        for row in range(4):
            np.testing.assert_array_equal(a[row][row], c[row])


def test_it_stops_when_nothing_can_change():
    """Row 1 goes on for longer than row 0; neither needs all 50 steps."""
    calls = []

    def step(state, tokens):
        jax.debug.callback(lambda: calls.append(None))
        late = (state == 5)[..., None]
        at_end = jnp.array([[0.0, 9.0, 0.0]])
        return state + 1, jnp.where(late, at_end, jnp.array([[1.0, -9.0, 0.0]]))

    def run(start):
        calls.clear()
        got = beam_search(
            step, start, jnp.zeros(2, int), end_token=1, beam_size=2, max_steps=50, num_results=1
        )
        jax.effects_barrier()
        return got

    got = run(jnp.array([5, 2]))
    assert len(calls) == 4
    assert got.lengths.tolist() == [[1], [4]]
    assert got.finished.all()


def test_it_does_not_stop_while_a_longer_one_may_pass():
    """Two tokens would not do, but four have a better mean: -1.1 / 4 > -0.4."""

    def step(t, tokens):
        first = jnp.log(jnp.array([[0.33, 0.67, 0.0]]))
        not_yet, surely = jnp.array([[0.0, -np.inf, -np.inf]]), jnp.eye(3)[1:2] * 99
        end = jnp.where((t < 3)[..., None], not_yet, surely)
        return t + 1, jnp.where((t == 0)[..., None], first, end)

    got = beam_search(
        step,
        jnp.int32(0),
        0,
        end_token=1,
        beam_size=2,
        max_steps=4,
        num_results=1,
        length_penalty=power_penalty(),
    )
    assert got.tokens.tolist() == [[0, 0, 0, 1]]


def test_one_beam_is_greedy():
    rnn, params, step = language_model()
    start = jnp.arange(4)
    state = rnn.initial_state(params, 4)
    greedy = Sampling(temperature=0.0)

    @jax.jit
    def run(state):
        _, drawn = generate(step, state, start, 12, jax.random.key(0), greedy, end_token=3)
        return drawn, beam_search(step, state, start, end_token=3, beam_size=1, max_steps=12)

    drawn, got = run(state)
    np.testing.assert_array_equal(got.tokens[:, 0], drawn.tokens.T)
    np.testing.assert_array_equal(got.lengths[:, 0], drawn.lengths)
    np.testing.assert_allclose(got.scores[:, 0], drawn.log_probs.sum(0), rtol=1e-5)


def test_a_deep_networks_state_follows_its_hypothesis():
    """Read whole by `apply`, each hypothesis has the probability that the search gave it."""
    rnn, params, step = language_model()
    rows, beam_size, num_steps = 3, 4, 8
    start = jnp.array([0, 2, 4])
    got = jax.jit(
        lambda state: beam_search(
            step, state, start, end_token=3, beam_size=beam_size, max_steps=num_steps
        )
    )(rnn.initial_state(params, rows))
    first = jnp.broadcast_to(start[:, None, None], (rows, beam_size, 1))
    read = jnp.concatenate([first, got.tokens[..., :-1]], axis=-1)
    x = jax.nn.one_hot(jnp.moveaxis(read, -1, 0), 5)
    _, logits = rnn.apply(params, x)
    log_probs = jnp.take_along_axis(
        jax.nn.log_softmax(logits), jnp.moveaxis(got.tokens, -1, 0)[..., None], axis=-1
    )[..., 0]
    inside = jnp.arange(num_steps)[:, None, None] < got.lengths[None]
    total = jnp.where(inside, log_probs, 0.0).sum(0)
    np.testing.assert_allclose(got.log_probs, total, rtol=1e-5)
    sequences = {tuple(tokens) for tokens in got.tokens[0].tolist()}
    assert len(sequences) == beam_size
    assert (jnp.diff(got.scores, axis=-1) <= 0).all()


@pytest.mark.parametrize("batch_shape", [(3,), (2, 3)])
def test_batch_axes_may_begin_elsewhere(batch_shape):
    """The same network, its states with the units first: `[H, *B]`."""
    rnn, params, step = language_model()
    state, start = rnn.initial_state(params, batch_shape), jnp.zeros(batch_shape, int)
    settings = {"end_token": 3, "beam_size": 4, "max_steps": 6}

    @jax.jit
    def run(state):
        first = beam_search(*units_first(step, state), start, state_axes=1, **settings)
        return first, beam_search(step, state, start, **settings)

    got, expected = run(state)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def make_attention_decoder(memory):
    """Make a step that reads its last context, and attends to a memory `[B, S, D]`."""
    decoder = drnn.deep_rnn(drnn.gru(6), 2, output_size=6)
    shapes = jax.eval_shape(lambda: decoder.init(jax.random.key(0), 5 + 6))
    rng = np.random.default_rng(4)
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), s.dtype), shapes)
    readout = jnp.asarray(rng.normal(size=(12, 5)), jnp.float32)

    def step(state, tokens):
        rnn_state, context = state["rnn"], state["context"]
        x = jnp.concatenate([jax.nn.one_hot(tokens, 5), context], axis=-1)
        rnn_state, query = decoder.step(params, rnn_state, x)
        weights = jax.nn.softmax(jnp.einsum("bkd,bsd->bks", query, memory))
        context = jnp.einsum("bks,bsd->bkd", weights, memory)
        logits = jnp.concatenate([query, context], axis=-1) @ readout
        return {"rnn": rnn_state, "context": context}, logits

    rows = memory.shape[0]
    state = {"rnn": decoder.initial_state(params, rows), "context": jnp.zeros((rows, 6))}
    return step, state


def test_a_decoder_fed_by_attention():
    """Each hypothesis, read alone step by step, has the probability that the search gave it."""
    memory = jnp.asarray(np.random.default_rng(5).normal(size=(2, 7, 6)), jnp.float32)
    step, state = make_attention_decoder(memory)
    got = jax.jit(
        lambda state: beam_search(
            step,
            state,
            jnp.zeros(2, int),
            end_token=1,
            beam_size=3,
            max_steps=6,
            length_penalty=gnmt_penalty(),
        )
    )(state)
    got = jax.device_get(got)
    read = jax.jit(step)
    for n in range(3):
        one = jax.tree.map(lambda leaf: leaf[:, None], state)
        tokens, totals = jnp.zeros((2, 1), int), np.zeros(2)
        for t in range(6):
            one, logits = read(one, tokens)
            tokens = got.tokens[:, n, t, None]
            log_probs = oracles.log_softmax(logits[:, 0])[np.arange(2), tokens[:, 0]]
            totals += np.where(t < got.lengths[:, n], log_probs, 0.0)
        np.testing.assert_allclose(got.log_probs[:, n], totals, rtol=1e-4)
        divisor = ((5.0 + got.lengths[:, n]) / 6.0) ** 0.6
        np.testing.assert_allclose(got.scores[:, n], totals / divisor, rtol=1e-4)


def test_what_is_shared_is_not_copied():
    """A part of the state without axes reaches the step as it was given."""
    shared = jnp.arange(7.0)
    seen = []

    def step(state, tokens):
        table, count = state
        seen.append((table.shape, count.shape))
        return (table, count + 1), jax.nn.one_hot(count % 3, 3) + table[None, None, :3]

    state = shared, jnp.zeros((2,), int)
    beam_search(
        step, state, jnp.zeros(2, int), end_token=0, beam_size=4, max_steps=3, state_axes=(None, 0)
    )
    assert set(seen) == {((7,), (2, 4))}


def test_bfloat16_logits_are_searched_in_float32():
    tables, ones = jnp.asarray(draw_tables(6), jnp.bfloat16), np.ones(5, np.float32)
    got = search_tables(tables, ones, 3, 3)
    assert got.scores.dtype == jnp.float32
    for a, b in zip(got, search_tables(tables.astype(jnp.float32), ones, 3, 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_vocabulary_of_the_end_alone():
    got = search_tables(jnp.zeros((2, 3, 1, 1)), jnp.ones(3), 2, 2, end=0)
    assert got.lengths.tolist() == [[1, 0], [1, 0]]
    assert got.scores.tolist() == [[0.0, -np.inf]] * 2


def test_one_step():
    table = jnp.log(jnp.array([[[0.2, 0.5, 0.3]]]))
    got = search_tables(table[None], jnp.ones(1), 3, 4)
    assert got.tokens[0, :, 0].tolist() == [1, 2, 0, 1]  # the finished one, then the others
    assert got.finished[0].tolist() == [True, False, False, False]
    np.testing.assert_allclose(jnp.exp(got.scores[0]), [0.5, 0.3, 0.2, 0.0], rtol=1e-6)


def test_penalties():
    lengths = np.array([1.0, 7.0, 13.0])
    np.testing.assert_allclose(gnmt_penalty(1.0)(lengths), [1.0, 2.0, 3.0])
    np.testing.assert_allclose(gnmt_penalty(0.5)(lengths), np.sqrt([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(power_penalty()(lengths), lengths)
    for penalty, name in ((gnmt_penalty, "gnmt_penalty"), (power_penalty, "power_penalty")):
        for alpha in ("0.6", float("nan"), float("inf"), True, np.array(np.inf), np.ones(2)):
            with pytest.raises(ValueError, match=f"{name}: alpha must be a finite number"):
                penalty(alpha)


@pytest.mark.parametrize("penalty", [gnmt_penalty, power_penalty])
def test_a_penalty_may_be_traced(penalty):
    """One search for each exponent is the searches one after the other."""
    table = jnp.asarray(draw_tables(7)[0])

    def search(alpha):
        return beam_search(
            table_step(table),
            table_state(()),
            0,
            end_token=END,
            beam_size=3,
            max_steps=5,
            length_penalty=penalty(alpha),
        )

    alphas = [-0.7, 0.0, 0.6, 2.0]
    together = jax.jit(jax.vmap(search))(jnp.array(alphas))
    one_by_one = jax.jit(lambda: [search(alpha) for alpha in alphas])()
    for i, alone in enumerate(one_by_one):
        np.testing.assert_array_equal(together.tokens[i], alone.tokens)
        np.testing.assert_allclose(together.scores[i], alone.scores, rtol=1e-6)
    assert len(np.unique(together.tokens, axis=0)) > 1


def test_no_probability_is_above_1():
    """Confident steps, whose probabilities are rounded to a sum above 1 in float32."""
    logits = jnp.asarray(draw_confident(100, 5, rows=16).astype(np.float32))

    def step(t, tokens):
        return t + 1, jnp.broadcast_to(logits[t[0, 0]][:, None], (16, 4, 5))

    got = beam_search(
        step, jnp.zeros(16, int), jnp.zeros(16, int), end_token=1, beam_size=4, max_steps=100
    )
    assert (got.log_probs <= 0).all()
    assert (got.scores <= 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beam_size": 0}, "beam_size must be an int of 1 or more, got 0"),
        ({"max_steps": 2.0}, "max_steps must be an int of 1 or more, got 2.0"),
        ({"num_results": 0}, "num_results must be an int of 1 or more"),
        ({"normalize": 1}, "normalize must be True or False"),
        ({"start_token": "a"}, "start_token must be an int or an integer array .* got 'a'"),
        ({"end_token": 3}, r"end_token must be an int in \[0, V=3\).* got 3"),
        ({"end_token": jnp.array(1)}, "end_token must be an int in"),
        ({"length_penalty": 0.6}, r"length_penalty must be a function.*gnmt_penalty\(0.6\)"),
        ({"length_penalty": lambda n: n - 1.0}, "length_penalty must give finite divisors above 0"),
        ({"length_penalty": lambda n: 1.0}, r"must give a divisor for each length \[max_steps=4\]"),
        ({"start_token": jnp.zeros(3, int)}, r"state must have the batch axes \(3,\).*state_axes"),
        ({"state_axes": 1}, r"state must have the batch axes \(2,\).* from axis 1"),
        ({"state_axes": -1}, "state_axes must be an int of 0 or more, None, or a tree"),
        ({"state_axes": (0, 0, 0)}, "state_axes must be an int, or a tree of ints over the first"),
        ({"step_fn": lambda s, t: (s, jnp.ones((2, 3)))}, r"must return .* axes \(2, 4\) of its"),
    ],
)
def test_refuses(changes, message):
    table = jnp.zeros((2, 4, 27, 3))
    arguments = {
        "step_fn": table_step(table),
        "state": table_state((2,)),
        "start_token": jnp.zeros(2, int),
        "end_token": 1,
        "beam_size": 4,
        "max_steps": 4,
    }
    with pytest.raises(ValueError, match=f"beam_search: .*{message}"):
        beam_search(**arguments | changes)


def test_refuses_under_jit_what_it_can_know():
    @jax.jit
    def search(state):
        return beam_search(
            table_step(jnp.zeros((2, 4, 27, 3))),
            state,
            jnp.zeros(2, int),
            end_token=1,
            beam_size=4,
            max_steps=4,
            length_penalty=lambda lengths: -lengths,
        )

    with pytest.raises(ValueError, match="must give finite divisors above 0, got"):
        search(table_state((2,)))
