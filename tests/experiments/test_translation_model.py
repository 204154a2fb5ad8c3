"""Attention, decoder, loss and search against what they should be."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from deeprnn_jax.decoding import Sampling, generate
from experiments.machine_translation.attention import make_attention, masked_softmax
from experiments.machine_translation.batches import Batch
from experiments.machine_translation.config import Config
from experiments.machine_translation.model import make_translator
from experiments.machine_translation.subwords import END, START
from experiments.machine_translation.translate import (
    GREEDY,
    Search,
    attention_weights,
    make_align,
    make_search,
    translate_ids,
)
from experiments.machine_translation.update import make_loss, make_score, smoothed_nats

TINY = Config(
    encoder_size=5,
    decoder_size=6,
    context_size=4,
    embedding_size=7,
    dropout=0.0,
)
SIZE = 11  # pieces of either side
KINDS = ["luong", "bahdanau"]

SOURCE = np.random.default_rng(0).integers(4, SIZE, (6, 3)).astype(np.int32)
LENGTHS = np.array([6, 0, 3], np.int32)
TARGET = np.random.default_rng(1).integers(4, SIZE, (5, 3)).astype(np.int32)


def make(**options):
    model = make_translator(dataclasses.replace(TINY, **options), SIZE, SIZE)
    params = jax.jit(model.init)(jax.random.key(0))
    # Larger than at the start, so that no part of the model is nearly idle.
    return model, jax.tree.map(lambda leaf: 2.0 * leaf, params)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_by_hand(kind):
    attention = make_attention(kind, query_size=5, context_size=4)
    params = attention.init(jax.random.key(1), memory_size=3)
    rng = np.random.default_rng(2)
    encoded = rng.normal(size=(6, 2, 3)).astype(np.float32)  # [S, B, M]
    queries = rng.normal(size=(2, 3, 5)).astype(np.float32)  # [B, N, Q]
    lengths = np.array([6, 4])
    memory = attention.remember(params, encoded, lengths)
    contexts, weights = attention.attend(params, memory, queries)
    w = jax.tree.map(np.asarray, params)
    for row in range(2):
        n = lengths[row]
        keys = encoded[:n, row] @ w.keys["params"]["kernel"]
        values = encoded[:n, row] @ w.values["params"]["kernel"]
        for i, q in enumerate(queries[row]):
            if kind == "luong":
                scores = np.array([q @ key for key in keys])
            else:
                projected = q @ w.query["params"]["kernel"] + w.query["params"]["bias"]
                v = w.score["params"]["kernel"][:, 0]
                scores = np.array([np.tanh(projected + key) @ v for key in keys])
            expected = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(weights[row, i, :n], expected, rtol=1e-5)
            np.testing.assert_allclose(contexts[row, i], expected @ values, rtol=1e-4, atol=1e-6)
            assert (np.asarray(weights[row, i, n:]) == 0.0).all()


def test_masked_positions_have_no_weight_and_no_gradient():
    scores = jnp.array([[1.0, 2.0, 90.0], [3.0, 1.0, 2.0]])
    real = jnp.array([[True, True, False], [False, False, False]])
    weights = masked_softmax(scores, real)
    np.testing.assert_allclose(weights[0], [1 / (1 + np.e), np.e / (1 + np.e), 0.0], rtol=1e-6)
    assert weights[1].tolist() == [0.0, 0.0, 0.0]
    gradient = jax.grad(lambda s: masked_softmax(s, real)[0, 0])(scores)
    assert gradient[0, 2] == 0.0
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("kind", [*KINDS, "none"])
def test_what_is_padded_plays_no_part(kind):
    """Rows alone, without padding, give what they give side by side."""
    model, params = make(attention=kind)
    logits, weights = model.apply(params, SOURCE, LENGTHS, TARGET)
    for row, n in enumerate(LENGTHS):
        if n == 0:
            assert np.isfinite(logits[:, row]).all()
            continue
        alone, seen = model.apply(
            params, SOURCE[:n, row, None], np.array([n]), TARGET[:, row, None]
        )
        np.testing.assert_allclose(logits[:, row], alone[:, 0], rtol=1e-4, atol=1e-5)
        if kind == "none":
            assert weights.shape == (5, 3, 0)
        else:
            np.testing.assert_allclose(weights[:, row, :n], seen[:, 0], atol=1e-6)
            np.testing.assert_allclose(weights[:, row].sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "luong", "cell": "lstm", "decoder_layers": 3},
        {"attention": "bahdanau"},
        {"input_feeding": False},
        {"attention": "none", "bidirectional": False},
    ],
    ids=str,
)
def test_reading_all_at_once_equals_step_by_step(options):
    model, params = make(**options)
    logits, _ = jax.jit(model.apply)(params, SOURCE, LENGTHS, TARGET)
    memory, state = model.encode(params, SOURCE, LENGTHS)
    step = jax.jit(model.step)
    for t in range(len(TARGET)):
        state, one = step(params, memory, state, TARGET[t])
        np.testing.assert_allclose(one, logits[t], rtol=1e-4, atol=1e-5)


def test_the_source_decides_with_and_without_attention():
    """Any real source token reaches the logits; without attention by the state alone."""
    for kind in (*KINDS, "none"):
        model, params = make(attention=kind)
        before, _ = model.apply(params, SOURCE, LENGTHS, TARGET)
        for place in (0, 5):
            changed = SOURCE.copy()
            changed[place, 0] = 4 + (changed[place, 0] - 3) % (SIZE - 4)
            after, _ = model.apply(params, changed, LENGTHS, TARGET)
            assert np.abs(after - before)[0, 0].max() > 1e-4
            np.testing.assert_array_equal(after[:, 1:], before[:, 1:])


def test_dropout_needs_a_key_and_is_drawn_by_it():
    model, params = make(dropout=0.5)
    read = partial(jax.jit(model.apply), params, SOURCE, LENGTHS, TARGET)
    plain, one, again, other = (
        read(key)[0] for key in (None, jax.random.key(0), jax.random.key(0), jax.random.key(1))
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - plain).max() > 1e-3


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_loss_over_real_tokens_by_brute_force(smoothing):
    model, params = make()
    target_lengths = np.array([5, 0, 2], np.int32)
    labels = np.random.default_rng(3).integers(0, SIZE, TARGET.shape).astype(np.int32)
    batch = Batch(SOURCE, LENGTHS, TARGET, labels, target_lengths)
    loss, carry = make_loss(model, smoothing)(params, batch, None, None)
    logits = np.asarray(model.apply(params, SOURCE, LENGTHS, TARGET)[0], np.float64)
    total, exact = 0.0, np.zeros(labels.shape)
    for row, n in enumerate(target_lengths):
        for t in range(n):
            log_p = logits[t, row] - np.log(np.exp(logits[t, row]).sum())
            wanted = np.full(SIZE, smoothing / SIZE)
            wanted[labels[t, row]] += 1.0 - smoothing
            total -= wanted @ log_p
            exact[t, row] = -log_p[labels[t, row]]
    assert carry is None
    np.testing.assert_allclose(loss, total / 7, rtol=1e-5)
    np.testing.assert_allclose(make_score(model)(params, batch), exact, rtol=1e-4, atol=1e-5)


def test_smoothing_has_the_right_gradient():
    logits = jnp.array([[[0.3, -1.0, 2.0]]])
    gradient = jax.grad(lambda x: smoothed_nats(x, jnp.array([[2]]), 0.3).sum())(logits)
    wanted = jnp.array([0.1, 0.1, 0.8])
    np.testing.assert_allclose(gradient[0, 0], jax.nn.softmax(logits[0, 0]) - wanted, atol=1e-6)


def test_a_beam_of_one_is_greedy():
    """Against the library's other loop, at temperature 0."""
    model, params = make()
    tokens, lengths = make_search(model, GREEDY)(params, SOURCE, LENGTHS)
    memory, state = model.encode(params, SOURCE, LENGTHS)
    _, drawn = generate(
        lambda state, token: model.step(params, memory, state, token),
        state,
        jnp.full(3, START),
        tokens.shape[1],
        jax.random.key(0),
        Sampling(0.0),
        end_token=END,
    )
    np.testing.assert_array_equal(tokens, drawn.tokens.T)
    ended = np.asarray(drawn.tokens[-1]) == END
    np.testing.assert_array_equal(lengths, drawn.lengths - ended)


def test_a_wider_beam_finds_what_is_more_probable():
    model, params = make()

    def log_prob(row, ids):
        target = jnp.array([[START, *ids]]).T
        logits, _ = model.apply(params, SOURCE[:, row, None], LENGTHS[row, None], target)
        labels = jnp.array([[*ids, END]]).T
        return -optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum()

    greedy, wide = (
        jax.device_get(make_search(model, search)(params, SOURCE, LENGTHS))
        for search in (GREEDY, Search(8, 0.0))
    )
    better = [
        float(log_prob(row, wide[0][row, : wide[1][row]]))
        - float(log_prob(row, greedy[0][row, : greedy[1][row]]))
        for row in (0, 2)
    ]
    assert min(better) >= -1e-4
    assert max(better) > 0.01


def test_translations_keep_their_order_and_empty_lines_stay_empty():
    model, params = make()
    find = make_search(model, Search(3, 0.6))
    sources = [SOURCE[:n, i] for n, i in ((2, 0), (0, 0), (6, 1), (3, 2), (1, 1))]
    together = translate_ids(find, params, sources, batch_size=2)
    assert len(together[1]) == 0
    for ids, found in zip(sources, together, strict=True):
        np.testing.assert_array_equal(translate_ids(find, params, [ids], 1)[0], found)
    assert translate_ids(find, params, [], 4) == []


def test_weights_of_a_sentence_are_those_of_apply():
    model, params = make()
    target = TARGET[:4, 0]
    weights = attention_weights(make_align(model), params, SOURCE[:, 0], target)
    read = np.concatenate([[START], target])[:, None]
    expected = model.apply(params, SOURCE[:, :1], LENGTHS[:1], read)[1][:, 0]
    assert weights.shape == (5, 6)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
