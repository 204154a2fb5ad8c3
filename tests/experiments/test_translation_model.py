"""Attention, decoder, loss and search against what they should be."""

import dataclasses
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.machine_translation.attention import make_attention, masked_softmax
from experiments.machine_translation.batches import Batch
from experiments.machine_translation.config import Config
from experiments.machine_translation.evaluate import real_nats
from experiments.machine_translation.model import Model
from experiments.machine_translation.problem import make_loss, smoothed_nats
from experiments.machine_translation.subwords import END, START
from experiments.machine_translation.translate import (
    attention_weights,
    translate_batch,
    translate_ids,
)

TINY = Config(
    encoder_layers=1,
    encoder_size=5,
    decoder_layers=1,
    decoder_size=6,
    attention="luong",
    context_size=4,
    embedding_size=7,
    dropout=0.0,
    beam_size=8,
    length_penalty=0.0,
)
# The models that the tests share, because each one's functions take seconds to compile.
MODELS = {
    "luong": {"decoder_layers": 2},
    "dropout": {"decoder_layers": 2, "dropout": 0.5},
    "bahdanau": {"decoder_layers": 2, "attention": "bahdanau", "cell": "lstm"},
    "no feeding": {"input_feeding": False},
    "none": {"encoder_layers": 2, "attention": "none", "bidirectional": False},
}
SIZE = 11  # pieces of either side
KINDS = ["luong", "bahdanau"]

SOURCE = np.random.default_rng(0).integers(4, SIZE, (6, 3)).astype(np.int32)
LENGTHS = np.array([6, 0, 3], np.int32)
TARGET = np.random.default_rng(1).integers(4, SIZE, (5, 3)).astype(np.int32)


class Made(NamedTuple):
    """A model, parameters for it, and `apply` compiled."""

    model: Any
    params: Any
    apply: Any


@cache
def make(name: str) -> Made:
    """Return one of the models."""
    model = Model(dataclasses.replace(TINY, **MODELS[name]), SIZE, SIZE)
    params = drawn(model.init, jax.random.key(0))
    params = params._replace(b=params.b.at[END].add(2.0))  # translations come to an end
    return Made(model, params, jax.jit(model.apply))


def drawn(init, *args):
    """Return parameters not by `init`, which takes seconds to compile; and larger ones."""
    rng = np.random.default_rng(7)
    shapes = jax.eval_shape(lambda: init(*args))
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(0.0, 0.7, x.shape), x.dtype), shapes)


class GivenLogits:
    """A model of which the logits are known."""

    def __init__(self, logits):
        self.logits = logits

    def apply(self, *_):
        return jnp.asarray(self.logits), None


@pytest.mark.parametrize("kind", KINDS)
def test_attention_by_hand(kind):
    attention = make_attention(kind, query_size=5, context_size=4)
    params = drawn(attention.init, jax.random.key(1), 3)
    rng = np.random.default_rng(2)
    encoded = rng.normal(size=(6, 2, 3)).astype(np.float32)  # [S, B, M]
    queries = rng.normal(size=(2, 3, 5)).astype(np.float32)  # [B, N, Q]
    lengths = np.array([6, 4])
    contexts, weights = jax.jit(
        lambda params: attention.attend(
            params, attention.remember(params, encoded, lengths), queries
        )
    )(params)
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
    gradient = jax.jit(jax.grad(lambda s: masked_softmax(s, real)[0, 0]))(scores)
    assert gradient[0, 2] == 0.0
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["luong", "bahdanau", "no feeding", "none"])
def test_all_side_by_side_equals_a_row_alone_step_by_step(name):
    """So what is padded plays no part: alone there is none."""
    model, params, apply = make(name)
    logits, weights = apply(params, SOURCE, LENGTHS, TARGET)
    assert np.isfinite(logits[:, 1]).all()  # the row of length 0
    row, n = 2, LENGTHS[2]

    @jax.jit
    def by_steps(params):
        memory, state = model.encode(params, SOURCE[:n, row, None], jnp.array([n]))
        return jax.lax.scan(partial(model.step, params, memory), state, TARGET[:, row, None])[1]

    np.testing.assert_allclose(logits[:, row], by_steps(params)[:, 0], rtol=1e-4, atol=1e-5)
    if name == "none":
        assert weights.shape == (5, 3, 0)
    else:
        np.testing.assert_allclose(weights[:, [0, 2]].sum(-1), 1.0, rtol=1e-5)
        assert (weights[:, row, n:] == 0.0).all()


@pytest.mark.parametrize("name", ["luong", "bahdanau", "none"])
def test_the_source_decides_with_and_without_attention(name):
    """Any real source token reaches the logits; without attention by the state alone."""
    _, params, apply = make(name)
    before, _ = apply(params, SOURCE, LENGTHS, TARGET)
    for place in (0, 5):
        changed = SOURCE.copy()
        changed[place, 0] = 4 + (changed[place, 0] - 3) % (SIZE - 4)
        after, _ = apply(params, changed, LENGTHS, TARGET)
        assert np.abs(after - before)[0, 0].max() > 1e-4
        np.testing.assert_array_equal(after[:, 1:], before[:, 1:])


def test_equal_models_share_what_is_compiled():
    traced = []

    @partial(jax.jit, static_argnames="model")
    def of(model):
        traced.append(model)
        return jnp.zeros(())

    for seed in (99, 99, 98):
        of(Model(dataclasses.replace(TINY, **MODELS["luong"], seed=seed), SIZE, SIZE))
    assert [model.config.seed for model in traced] == [99, 98]


def test_dropout_needs_a_key_and_is_drawn_by_it():
    _, params, apply = make("dropout")
    plain, _ = make("luong").apply(params, SOURCE, LENGTHS, TARGET)
    one, again, other = (
        apply(params, SOURCE, LENGTHS, TARGET, jax.random.key(seed))[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - plain).max() > 1e-3


def test_smoothed_loss_over_real_tokens_by_brute_force():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(*TARGET.shape, SIZE)).astype(np.float32)
    model: Any = GivenLogits(logits)
    target_lengths = np.array([5, 0, 2], np.int32)
    labels = rng.integers(0, SIZE, TARGET.shape).astype(np.int32)
    batch = Batch(SOURCE, LENGTHS, TARGET, labels, target_lengths)
    for smoothing in (0.0, 0.1):
        loss, carry = jax.jit(make_loss(model, smoothing))(None, batch, None, None)
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
    np.testing.assert_allclose(real_nats(model, None, batch), exact, rtol=1e-4, atol=1e-5)


def test_smoothing_has_the_right_gradient():
    logits = jnp.array([[[0.3, -1.0, 2.0]]])
    loss = lambda x: smoothed_nats(x, jnp.array([[2]]), 0.3).sum()  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(logits)
    wanted = jnp.array([0.1, 0.1, 0.8])
    np.testing.assert_allclose(gradient[0, 0], jax.nn.softmax(logits[0, 0]) - wanted, atol=1e-6)


# Two rows and sixteen steps: of this shape all the searches are, and so compiled once.
TWO = np.pad(SOURCE[:, [0, 2]], ((0, 10), (0, 0)))


def read_again(tokens):
    """Return the logits by which translations `[2, N]` and their ends were chosen."""
    _, params, apply = make("luong")
    target = np.concatenate([[[START] * 2], tokens.T])
    return np.asarray(apply(params, TWO, LENGTHS[[0, 2]], target)[0])  # [N + 1, 2, V]


def test_a_beam_of_one_is_greedy():
    model, params, _ = make("luong")
    tokens, lengths = translate_batch(model, True, params, TWO, LENGTHS[[0, 2]])
    logits = read_again(tokens)
    for row, n in enumerate(lengths):
        best = logits[:, row].argmax(-1)
        assert n == tokens.shape[1] or best[n] == END
        np.testing.assert_array_equal(tokens[row, :n], best[:n])
        assert END not in best[:n]
    assert max(lengths) > 2


def test_a_wider_beam_finds_what_is_more_probable():
    model, params, _ = make("luong")

    def log_probs(tokens, lengths):
        labels = np.concatenate([tokens.T, [[END] * 2]])
        log_p = jax.nn.log_softmax(read_again(tokens))
        chosen = np.take_along_axis(np.asarray(log_p), labels[..., None], -1)[..., 0]
        return np.where(np.arange(len(labels))[:, None] <= lengths, chosen, 0.0).sum(0)

    assert model.config.beam_size > 1
    greedy, wide = (
        jax.device_get(translate_batch(model, how, params, TWO, LENGTHS[[0, 2]]))
        for how in (True, False)
    )
    better = log_probs(*wide) - log_probs(*greedy)
    assert better.min() >= -1e-4
    assert better.max() > 0.01


def test_translations_keep_their_order_and_empty_lines_stay_empty():
    model, params, _ = make("luong")
    greedy = partial(translate_batch, model, True)
    sources = [SOURCE[:n, i] for n, i in ((2, 0), (0, 0), (6, 1), (3, 2), (1, 1), (6, 0))]
    together = translate_ids(greedy, params, sources, batch_size=2, padding=16)
    assert len(together[1]) == 0
    assert len(set(map(bytes, together))) > 3  # they do differ
    for chosen in ([0, 2], [5, 3], [4, 1, 2]):  # beside another each time
        apart = translate_ids(
            greedy, params, [sources[i] for i in chosen], batch_size=2, padding=16
        )
        for i, found in zip(chosen, apart, strict=True):
            np.testing.assert_array_equal(found, together[i])
    assert translate_ids(greedy, params, [], 4, 16) == []


def test_very_long_lines_are_not_translated_side_by_side():
    shapes = []

    def first_ids(params, source, lengths):
        shapes.append(source.shape)
        return source.T[:, :1], np.minimum(lengths, 1)  # each line's first id

    sources = [np.full(n, i, np.int32) for i, n in enumerate((9_000, 5, 30, 8_100, 0, 20_000))]
    found = translate_ids(first_ids, None, sources, batch_size=4, padding=16)
    assert [ids.tolist() for ids in found] == [[0], [1], [2], [3], [], [5]]
    assert max(steps * rows for steps, rows in shapes if rows > 1) <= 16_384
    assert shapes[-1] == (20_000, 1)


def test_weights_of_a_sentence_are_those_of_apply():
    model, params, apply = make("luong")
    weights = attention_weights(model, params, SOURCE[:, 0], TARGET[1:, 0])
    read = TARGET.copy()
    read[0, 0] = START
    expected = apply(params, SOURCE, LENGTHS, read)[1][:, 0]
    assert weights.shape == (5, 6)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
