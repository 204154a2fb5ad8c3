"""CTC decoding against sums over all alignments, and against a beam that is a dict."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprnn_jax.decoding import LanguageModel, ctc_greedy, ctc_prefix_beam
from tests.decoding import oracles
from tests.decoding.models import draw_confident, language_model, units_first
from tests.versions import enable_x64

greedy = jax.jit(ctc_greedy, static_argnames="blank")


@functools.partial(jax.jit, static_argnames=("beam_size", "blank"))
def search(logits, lengths, beam_size, blank=0):
    return ctc_prefix_beam(logits, lengths, beam_size=beam_size, blank=blank)


def draw_logits(seed, num_steps, rows, size, scale=2.0):
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(num_steps, rows, size))


def labels_of(result, *place):
    """Give the labels at a place as a tuple, and see that the rest is blank."""
    labels, length = result.labels[place].tolist(), int(result.lengths[place])
    assert len(set(labels[length:])) <= 1
    return tuple(labels[:length])


LENGTHS = np.array([5, 0, 1, 4, 5, 2])


@pytest.mark.parametrize("blank", [0, 2])
def test_greedy_follows_the_best_path(x64, blank):
    logits = draw_logits(0, 5, 6, 3)
    logits[:, 4, 1] += 4.0  # repetitions
    for row, length in enumerate(LENGTHS):
        logits[length:, row] = np.nan  # is not read
    got = jax.device_get(greedy(logits, LENGTHS, blank=blank))
    assert got.labels.dtype == got.lengths.dtype == np.int32
    for row, length in enumerate(LENGTHS):
        log_probs = oracles.log_softmax(logits[:length, row])
        expected = oracles.collapse(log_probs.argmax(-1), blank)
        assert labels_of(got, row) == expected
        assert (got.labels[row, len(expected) :] == blank).all()
        total = log_probs.max(-1).sum() if length else 0.0
        np.testing.assert_allclose(got.log_probs[row], total, rtol=1e-12)


def test_greedy_keeps_labels_that_a_blank_parts():
    path = jnp.array([0, 1, 1, 0, 1, 2, 2, 1, 0, 0])
    got = ctc_greedy(jax.nn.one_hot(path, 3))
    assert labels_of(got) == (1, 1, 2, 1)
    assert got.labels.shape == (10,)


def test_greedy_takes_a_step_without_a_distribution_for_a_blank():
    path = np.array([[0, 0, 1, 1, 1, 0]] * 5).T
    logits = np.array(3.0 * jax.nn.one_hot(path, 3))
    logits[3, 1] = [0.0, np.nan, 5.0]
    logits[3, 2] = -np.inf
    logits[3, 3] = [np.inf, 0.0, 0.0]
    logits[3:, 4] = np.nan  # past the end
    got = ctc_greedy(logits, np.array([6, 6, 6, 6, 3]), blank=2)
    assert labels_of(got, 0) == (0, 1, 0)
    for row in (1, 2, 3):
        assert labels_of(got, row) == (0, 1, 1, 0)
    assert labels_of(got, 4) == (0, 1)
    assert np.isneginf(got.log_probs).tolist() == [False, True, True, True, False]


def test_greedy_compares_logits_and_not_their_rounded_log_probabilities():
    logits = np.array([[0.0, 1e-9, 2e-9], [1.0, 1.0, 0.0]], np.float32)
    assert labels_of(ctc_greedy(logits, blank=1)) == (2, 0)


def test_a_wide_beam_is_the_sum_over_all_alignments(x64):
    blank = 1
    logits = draw_logits(1, 5, 6, 3)
    logits[1, 3, 2] = -np.inf  # some alignments cannot be
    for row, length in enumerate(LENGTHS):
        logits[length:, row] = np.nan
    beam_size = 70  # there are 63 sequences of up to 5 of 2 labels
    got = jax.device_get(search(logits, LENGTHS, beam_size, blank))
    for row, length in enumerate(LENGTHS):
        expected = oracles.all_alignments(oracles.log_softmax(logits[:length, row]), blank)
        num_found = int((got.scores[row] > -np.inf).sum())
        found = [labels_of(got, row, k) for k in range(num_found)]
        assert len(found) == len(set(found))
        assert set(found) == set(expected)
        np.testing.assert_allclose(
            got.log_probs[row, :num_found], [expected[labels] for labels in found], rtol=1e-12
        )
        np.testing.assert_array_equal(got.scores[row], got.log_probs[row])
        assert (np.diff(got.scores[row, :num_found]) <= 0).all()
        assert (got.lengths[row, num_found:] == 0).all()
        assert (got.labels[row, num_found:] == blank).all()
        total = np.logaddexp.reduce(got.scores[row, :num_found])
        np.testing.assert_allclose(total, 0.0, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 9]), st.sampled_from([0.3, 2.0, 8.0]))
def test_a_narrow_beam_is_the_dict(seed, beam_size, scale):
    """Prefixes leave the beam and come back, some with their extensions still in it."""
    logits = draw_logits(seed, 14, 4, 3, scale)
    rng = np.random.default_rng(seed)
    logits[:, 2][rng.random((14, 3)) < 0.2] = -np.inf
    lengths = np.array([14, 9, 12, 3])
    with enable_x64(True):
        got = jax.device_get(search(logits, lengths, beam_size))
    for row, length in enumerate(lengths):
        log_probs = oracles.log_softmax(logits[:length, row])
        expected = oracles.prefix_beam(log_probs, 0, beam_size)
        found = [labels_of(got, row, k) for k in range(len(expected))]
        assert found == [labels for labels, _ in expected]
        np.testing.assert_allclose(
            got.log_probs[row, : len(found)], [total for _, total in expected], rtol=1e-9
        )
        assert (got.scores[row, len(found) :] == -np.inf).all()


def test_2000_steps_in_float32():
    """The numbers of float64, and no more than the sum over all alignments."""
    rng = np.random.default_rng(2)
    path = np.repeat(rng.integers(0, 6, size=250), 8)
    logits = rng.normal(size=(2000, 6)) + 7.0 * np.eye(6)[path]
    got = jax.device_get(search(logits.astype(np.float32), None, 8))
    best = jax.device_get(greedy(logits.astype(np.float32)))
    log_probs = oracles.log_softmax(logits)
    expected = oracles.prefix_beam(log_probs, 0, 8)
    np.testing.assert_allclose(got.scores, [total for _, total in expected], rtol=1e-4)
    assert labels_of(got, 0) == expected[0][0]
    assert got.scores[0] >= best.log_probs
    for k in range(8):
        exact = oracles.ctc_log_prob(log_probs, labels_of(got, k), 0)
        assert exact - 3.0 < got.scores[k] <= exact + 1e-3


@pytest.mark.parametrize("num_steps", [8, 2000])
def test_no_probability_is_above_1(num_steps):
    """Confident steps, whose probabilities are rounded to a sum above 1 in float32."""
    logits = draw_confident(num_steps, 5, rows=16).astype(np.float32)
    got = jax.device_get(search(logits, None, 4))
    assert (got.log_probs <= 0).all()
    assert (got.scores <= 0).all()
    assert (jax.device_get(greedy(logits)).log_probs <= 0).all()
    for row in range(1 if num_steps > 100 else 4):  # the oracle takes its time
        exact = oracles.ctc_log_prob(oracles.log_softmax(logits[:, row]), labels_of(got, row, 0), 0)
        np.testing.assert_allclose(got.log_probs[row, 0], exact, atol=1e-4)


def test_rows_do_not_depend_on_their_neighbours_or_their_padding():
    lengths = np.array([6, 0, 3, 5])
    logits = draw_logits(3, 6, 4, 3).astype(np.float32)
    logits[:, 3] = np.nan
    together = jax.device_get(search(logits, lengths, beam_size=3))
    for row in range(4):
        alone = jax.device_get(
            search(logits[:, row : row + 1], lengths[row : row + 1], beam_size=3)
        )
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[row], b[0])
    cut = jax.device_get(search(logits[:3, 2:3], np.array([3]), beam_size=3))
    np.testing.assert_array_equal(together.labels[2, :, :3], cut.labels[0])
    np.testing.assert_array_equal(together.scores[2], cut.scores[0])
    assert together.scores[1].tolist() == [0.0, -np.inf, -np.inf]
    assert (together.scores[3] == -np.inf).all()


@pytest.mark.parametrize("num_steps", [0, 1])
def test_no_step_and_one(num_steps):
    logits = jnp.log(jnp.broadcast_to(jnp.array([0.5, 0.2, 0.3]), (num_steps, 2, 3)))
    got, best = search(logits, None, 4), greedy(logits)
    assert got.labels.shape == (2, 4, num_steps)
    assert best.labels.shape == (2, num_steps)
    assert best.lengths.tolist() == [0, 0]
    expected = [0.5, 0.3, 0.2, 0.0] if num_steps else [1.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(jnp.exp(got.scores), [expected] * 2, rtol=1e-6)
    assert got.lengths.tolist() == [[0, num_steps, num_steps, 0]] * 2
    np.testing.assert_allclose(best.log_probs, got.scores[:, 0])


def test_the_blank_alone():
    got = ctc_prefix_beam(jnp.zeros((3, 1)), beam_size=2)
    assert got.scores.tolist() == [0.0, -np.inf]
    assert got.lengths.tolist() == [0, 0]


def test_vmap_and_any_batch_axes():
    logits, lengths = draw_logits(4, 6, 4, 3).astype(np.float32), np.array([6, 5, 2, 0])
    for decode in (functools.partial(search, beam_size=3), greedy):

        @jax.jit
        def run(logits, lengths, decode=decode):
            square = decode(logits.reshape(6, 2, 2, 3), lengths.reshape(2, 2))
            mapped = jax.vmap(decode, in_axes=(1, 0))(logits, lengths)
            return decode(logits, lengths), square, mapped

        for a, b, c in zip(*jax.device_get(run(logits, lengths)), strict=True):
            np.testing.assert_array_equal(a, b.reshape(a.shape))
            np.testing.assert_array_equal(a, c)


def test_bfloat16_logits_are_summed_in_float32():
    logits, lengths = jnp.asarray(draw_logits(5, 6, 4, 3), jnp.bfloat16), np.array([6, 5, 2, 0])
    for decode in (functools.partial(search, beam_size=3), greedy):
        got = decode(logits, lengths)
        assert got.log_probs.dtype == jnp.float32
        for a, b in zip(got, decode(logits.astype(jnp.float32), lengths), strict=True):
            np.testing.assert_array_equal(a, b)


def model_log_probs(sequences, start, end):
    """Read whole label sequences by `apply`: what the language model gives each."""
    rnn, params, _ = language_model(size=3)
    read = np.zeros((5, 31), int)  # of 2 labels, there are 31 sequences of up to 4
    for n, labels in enumerate(sequences):
        read[: 1 + len(labels), n] = start, *labels
    _, logits = rnn.apply(params, np.eye(3, dtype=np.float32)[read])
    log_probs = oracles.log_softmax(logits)
    targets = [[*labels] + ([] if end is None else [end]) for labels in sequences]
    return [
        sum(log_probs[t, n, label] for t, label in enumerate(target))
        for n, target in enumerate(targets)
    ]


@pytest.mark.parametrize(("end", "bonus", "axis"), [(None, 0.7, 0), (0, 0.0, 1)])
def test_a_deep_network_as_language_model(end, bonus, axis):
    """With a wide beam: all alignments, and all labels read by `apply`."""
    rnn, params, step = language_model(size=3)
    state = rnn.initial_state(params, 3)
    if axis == 1:
        step, state = units_first(step, state)
    logits = draw_logits(6, 4, 3, 3).astype(np.float32)
    lengths = np.array([4, 2, 0])
    start = np.array([0, 1, 2])
    model = LanguageModel(step, state, start, weight=0.4, end_token=end, state_axes=axis)
    got = jax.device_get(
        jax.jit(
            lambda logits, lengths: ctc_prefix_beam(
                logits, lengths, beam_size=32, language_model=model, insertion_bonus=bonus
            )
        )(logits, lengths)
    )
    for row, length in enumerate(lengths):
        exact = oracles.all_alignments(oracles.log_softmax(logits[:length, row]), 0)
        found = [labels_of(got, row, k) for k in range(len(exact))]
        assert set(found) == set(exact)
        np.testing.assert_allclose(
            got.log_probs[row, : len(exact)], [exact[labels] for labels in found], rtol=1e-5
        )
        expected = [
            exact[labels] + 0.4 * log_prob + bonus * len(labels)
            for labels, log_prob in zip(found, model_log_probs(found, start[row], end), strict=True)
        ]
        np.testing.assert_allclose(got.scores[row, : len(exact)], expected, rtol=1e-4, atol=1e-5)
        assert (np.diff(got.scores[row, : len(exact)]) <= 0).all()
        assert (got.scores[row, len(exact) :] == -np.inf).all()


def bigram_model(table, state_axes=0, **options):
    """Make a language model whose state is the last label, in a leaf of every form."""

    def step(state, tokens):
        last, shared = state
        return (tokens.astype(last.dtype), shared), shared[tokens]

    state = (jnp.zeros(4, int), table)
    return LanguageModel(step, state, 0, state_axes=(state_axes, None), **options)


@given(st.integers(0, 2**32 - 1))
def test_a_narrow_beam_with_a_language_model_is_the_dict(seed):
    """A weight and a bonus a row; also with a negative weight, what cannot be stays so."""
    logits = draw_logits(seed, 10, 4, 3)
    table = np.random.default_rng(seed).normal(size=(3, 3))
    table[2, 1] = -np.inf  # the model turned off says nothing here either
    lengths = np.array([10, 7, 9, 10])
    weights, bonuses = np.array([1.3, 0.0, -0.6, 0.7]), np.array([0.8, -0.5, 0.8, 0.0])
    with enable_x64(True):
        got = jax.device_get(search_with_bigrams(logits, lengths, table, weights, bonuses))
    for row, length in enumerate(lengths):
        log_table = oracles.log_softmax(table)
        possible = log_table > -np.inf
        log_table[possible] *= weights[row]
        log_table[~possible] = -np.inf if weights[row] else 0.0

        def gain_of(labels, log_table=log_table, bonus=bonuses[row]):
            pairs = zip((0, *labels), labels, strict=False)
            return sum(log_table[a, b] for a, b in pairs) + bonus * len(labels)

        log_probs = oracles.log_softmax(logits[:length, row])
        expected = oracles.prefix_beam(log_probs, 0, 3, gain_of)
        expected = [entry for entry in expected if gain_of(entry[0]) > -np.inf]
        assert [labels_of(got, row, k) for k in range(len(expected))] == [k for k, _ in expected]
        scores = [total + gain_of(labels) for labels, total in expected]
        np.testing.assert_allclose(got.scores[row, : len(expected)], scores, rtol=1e-9, atol=1e-9)


@jax.jit
def search_with_bigrams(logits, lengths, table, weight, bonus):
    model = bigram_model(table, weight=weight)
    return ctc_prefix_beam(
        logits, lengths, beam_size=3, language_model=model, insertion_bonus=bonus
    )


LOGITS = jnp.zeros((5, 4, 3))
MODEL = bigram_model(jnp.zeros((3, 3)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beam_size": 0}, "beam_size must be an int of 1 or more, got 0"),
        ({"logits": jnp.zeros((5, 4, 3), int)}, "logits must be floating point, got int32"),
        ({"logits": jnp.zeros(5)}, r"logits must be \[T, \*B, V\] with V of 1 or more"),
        ({"logits": jnp.zeros((5, 4, 0))}, r"logits must be \[T, \*B, V\] with V of 1 or more"),
        ({"blank": 3}, r"blank must be an int in \[0, V=3\), an index of the logits, got 3"),
        ({"blank": -1}, "blank must be an int in"),
        ({"lengths": jnp.ones(4)}, "lengths must be an integer array, got float32"),
        ({"lengths": jnp.ones(5, int)}, r"lengths must be \[\*B\] = \(4,\)"),
        ({"lengths": np.array([0, 1, 2, 6])}, r"lengths must be in \[0, T=5\]"),
        ({"language_model": MODEL.step_fn}, "language_model must be a LanguageModel or None"),
        ({"language_model": MODEL._replace(start_token=jnp.zeros(3, int))}, "start_token must be"),
        (
            {"language_model": bigram_model(jnp.zeros((3, 4)))},
            "the language model must give as many logits .* got 4",
        ),
        ({"language_model": MODEL._replace(end_token=3)}, "the model's end_token must be an int"),
        ({"language_model": MODEL._replace(state_axes=1)}, "state must have the batch axes"),
        ({"insertion_bonus": np.nan}, "insertion_bonus must be finite, got nan"),
        ({"insertion_bonus": "1"}, r"insertion_bonus must be a number or .* got '1'"),
        (
            {"insertion_bonus": jnp.ones((4, 2))},
            r"insertion_bonus must be .* \[\*B\] = \(4,\), one a row, got .* shape \(4, 2\)",
        ),
        (
            {"language_model": MODEL._replace(weight=np.array([0.0, 0.0, 0.0, np.inf]))},
            "the model's weight must be finite",
        ),
        ({"language_model": MODEL._replace(weight=jnp.ones(2))}, "the model's weight must be a"),
    ],
)
def test_refuses(changes, message):
    arguments = {"logits": LOGITS, "lengths": None, "beam_size": 2} | changes
    with pytest.raises(ValueError, match=f"ctc_prefix_beam: {message}"):
        ctc_prefix_beam(**arguments)
    if not {"beam_size", "language_model", "insertion_bonus"} & set(changes):
        del arguments["beam_size"]
        with pytest.raises(ValueError, match=f"ctc_greedy: {message}"):
            ctc_greedy(**arguments)
