"""The language model, its evaluation and its writing, at small sizes."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.common.networks import CELLS
from experiments.common.updates import (
    evaluated_params,
    initial_train_state,
    make_train_step,
    num_parameters,
)
from experiments.text_generation.batches import Batch
from experiments.text_generation.config import Config
from experiments.text_generation.evaluate import lay_out, make_evaluate
from experiments.text_generation.model import build
from experiments.text_generation.ngram import nats_per_symbol
from experiments.text_generation.problem import first_carry, make_loss, optimizer
from experiments.text_generation.use import stream_ids, stream_text

V = 11
FACTS = {"level": "character", "vocabulary": list("abcdefghijk")}
SMALL = Config(hidden_size=8, embedding_size=8, steps=10, warmup_steps=2, batch_size=3)
SMALLEST = dataclasses.replace(SMALL, cell="elman", num_layers=1)  # where steps are compiled


@functools.cache  # to compile each model once
def make(config=SMALL):
    """A model, and parameters of its shapes that cost no compiled initialiser."""
    model = build(config, FACTS)
    rng = np.random.default_rng(0)
    return model, jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype),
        jax.eval_shape(model.init, jax.random.key(0)),
    )


def symbols(*shape, seed=0):
    return np.random.default_rng(seed).integers(V, size=shape).astype(np.int32)


VARIANTS = [
    *({"cell": cell} for cell in CELLS),
    {"skip": "residual", "normalize_inputs": True},
    {"skip": "dense"},
    {"tied_embeddings": True},
    {"embedding_size": 6},
    {"tied_embeddings": True, "embedding_size": 6},
    {"weight_drop": 0.3, "dropout": 0.3, "embedding_dropout": 0.3},
    {"schedule": "reference"},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_step_gives_the_numbers_of_apply(options):
    model, params = make(dataclasses.replace(SMALL, **options))
    x = symbols(5, 2)
    start = model.initial_state(params, 2)
    after, logits = model.apply(params, x, start)
    assert logits.shape == (5, 2, V)
    assert logits.dtype == jnp.float32
    state = start
    for t in range(5):
        state, step_logits = model.step(params, x[t], state)
        np.testing.assert_allclose(step_logits, logits[t], atol=1e-5)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_key_turns_dropout_on():
    model, params = make(dataclasses.replace(SMALL, embedding_dropout=0.5))
    x, state = symbols(4, 2), model.initial_state(params, 2)
    plain = model.apply(params, x, state)[1]
    one, two = (model.apply(params, x, state, jax.random.key(k))[1] for k in (1, 2))
    assert not np.allclose(one, plain)
    assert not np.allclose(one, two)


def test_tying_shares_the_matrix():
    _, untied = make()
    _model, tied = make(dataclasses.replace(SMALL, tied_embeddings=True))
    assert tied.readout is None
    assert num_parameters(untied) - num_parameters(tied) == V * 8 + V


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 1.0), ({"tied_embeddings": True}, 0.25), ({"embedding_scale": 0.5}, 0.5)],
    ids=str,
)
def test_the_embedding_starts_at_its_scale(options, expected):
    config = dataclasses.replace(SMALLEST, embedding_size=16, hidden_size=4, **options)
    model = build(config, {"vocabulary": range(500)})
    embedding = jax.jit(lambda key: model.init(key).embedding)(jax.random.key(0))
    # 8,000 draws: their deviation is within 4 / sqrt(2 * 8000) = 3 % of the true one.
    np.testing.assert_allclose(np.std(embedding["params"]["embedding"]), expected, rtol=0.03)


def test_bfloat16_products_keep_float32_parameters_and_logits():
    model, params = make(dataclasses.replace(SMALL, compute_dtype="bfloat16"))
    exact_model, exact_params = make()
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    x, state = symbols(5, 2), model.initial_state(params, 2)
    _, logits = model.apply(params, x, state)
    _, exact = exact_model.apply(exact_params, x, state)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, exact, atol=0.1)
    assert not np.array_equal(logits, exact)


def one_by_one(model, params, before, text):
    """Nats of each symbol of a text, read in a single stream after `before`."""
    whole = np.concatenate([before, text])
    state = model.initial_state(params, 1)
    _, logits = model.apply(params, whole[:-1, None], state)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits[:, 0], whole[1:])
    return np.asarray(nats, np.float64)[len(before) - 1 :]


@pytest.mark.parametrize("length", [1, 150])
def test_a_single_piece_reads_the_text_exactly(length):
    model, params = make()
    before, text = symbols(20), symbols(length, seed=1)
    found = make_evaluate(model, lay_out(before, text, 1, 999))(params)
    expected = one_by_one(model, params, before, text).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_one_stream_starts_at_the_beginning_and_never_anew():
    """Against one call of `apply`, over a text of more symbols than a call runs over."""
    model, params = make(SMALLEST)
    before, text = symbols(20), symbols(2300, seed=1)
    layout = lay_out(before, text, streams=1, context=0)
    assert layout.x.shape == (2, 2048, 1)
    found = make_evaluate(model, layout)(params)
    expected = one_by_one(model, params, before[-1:], text)
    assert expected.shape == (2300,)
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-5)


@pytest.mark.parametrize(("streams", "chunk"), [(1, 2048), (4, 512), (20, 64), (2100, 64)])
def test_chunks_hold_about_as_many_symbols_whatever_the_streams(streams, chunk):
    layout = lay_out(np.arange(9), np.arange(200_000), streams, 8)
    assert layout.x.shape[1:] == (chunk, streams)


def test_streams_read_as_their_pieces_do_alone():
    model, params = make()
    before, text = symbols(200), symbols(100, seed=1)
    # 99 symbols of context reach back into `before` for each of four pieces.
    layout = lay_out(before, text, 4, 99)
    found = make_evaluate(model, layout)(params)
    pieces = [
        one_by_one(
            model,
            params,
            np.concatenate([before, text[:start]])[-100:],
            text[start : start + 25],
        )
        for start in (0, 25, 50, 75)
    ]
    np.testing.assert_allclose(found, np.concatenate(pieces).mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("num_before", "length", "streams", "context"),
    [(1, 1, 8, 16), (1, 50, 7, 0), (40, 50, 7, 16), (40, 3, 7, 16), (300, 999, 32, 256)],
)
def test_every_symbol_is_counted_once(num_before, length, streams, context):
    whole = np.arange(num_before + length)
    layout = lay_out(whole[:num_before], whole[num_before:], streams, context)
    layout = type(layout)(*(part.reshape(-1, part.shape[-1]) for part in layout))
    counted = np.sort(layout.labels[layout.counted])
    np.testing.assert_array_equal(counted, whole[num_before:])
    inside = layout.counted
    np.testing.assert_array_equal(layout.labels[inside], layout.x[inside] + 1)
    reach = min(context, num_before - 1)
    # A counted symbol has at least the context before it in its own stream.
    assert layout.counted.argmax(axis=0).min() == reach


def test_a_uniform_model_has_ln_v_nats():
    model, params = make()
    zeros = jax.tree.map(jnp.zeros_like, params)
    layout = lay_out(symbols(9), symbols(70, seed=1), 4, 5)
    found = make_evaluate(model, layout)(zeros)
    np.testing.assert_allclose(found, np.log(V), rtol=1e-6)
    np.testing.assert_allclose(nats_per_symbol(np.full(5, 1 / V)), np.log(V), rtol=1e-12)


def trained(**sampling):
    config = dataclasses.replace(SMALL, **sampling)
    return Trained(Path(), config, FACTS, *make(), best_step=1, best_value=None)


@pytest.mark.parametrize("length", [6, 50])
def test_greedy_writing_follows_the_largest_logit(length):
    """Over the symbols that are drawn at once, and over several of such stretches."""
    model, params = make()
    prompt = symbols(3)
    pieces = list(stream_ids(trained(temperature=0.0, sample_length=length), prompt))
    written = np.concatenate(pieces)
    assert len(written) == length
    assert len(pieces[0]) == min(length, 20)
    whole = np.concatenate([prompt, written])
    _, logits = model.apply(params, whole[:-1, None], model.initial_state(params, 1))
    np.testing.assert_array_equal(written, np.argmax(logits[2:, 0], axis=-1))


def test_writing_streams_and_repeats_with_its_seed():
    drawn = functools.partial(trained, temperature=1.0, sample_length=30)
    pieces = stream_text(drawn(sample_seed=3), "cab")
    assert next(pieces) == "cab"  # before anything is drawn
    first = "".join(pieces)
    assert len(first) == 30
    assert first[:10] != first[20:]  # each stretch has draws of its own
    assert "".join(stream_text(drawn(sample_seed=3), "cab")) == "cab" + first
    assert "".join(stream_text(drawn(sample_seed=4), "cab")) != "cab" + first


def test_an_empty_or_unknown_prompt_is_refused():
    with pytest.raises(InputError, match="the prompt is empty"):
        list(stream_text(trained(), ""))
    with pytest.raises(InputError, match="has no 'z'"):
        list(stream_text(trained(), "abz"))


def test_the_learning_rate_rises_and_falls_to_zero():
    _, schedule = optimizer(dataclasses.replace(SMALL, learning_rate=0.5))
    rates = [float(schedule(step)) for step in (0, 1, 2, 6, 10)]
    np.testing.assert_allclose(rates, [0.0, 0.25, 0.5, 0.25, 0.0], atol=1e-6)


def test_the_learning_rate_falls_step_by_step():
    """Zaremba et al. (2014): constant for some epochs, then halved at each of the rest."""
    config = dataclasses.replace(
        SMALL,
        rate_schedule="steps",
        learning_rate=1.0,
        warmup_steps=0,
        constant_steps=4,
        decay_interval=3,
    )
    _, schedule = optimizer(config)
    rates = [float(schedule(step)) for step in range(12)]
    np.testing.assert_allclose(rates, [1.0] * 4 + [0.5] * 3 + [0.25] * 3 + [0.125] * 2)


def test_gradient_descent_moves_by_the_clipped_gradient():
    config = dataclasses.replace(
        SMALL,
        optimizer="sgd",
        rate_schedule="steps",
        warmup_steps=0,
        learning_rate=2.0,
        constant_steps=9,
        clip_norm=5.0,
    )
    params, gradients = {"w": jnp.zeros(2)}, {"w": jnp.array([30.0, 40.0])}
    tx, _ = optimizer(config)
    updates, _ = tx.update(gradients, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], [-6.0, -8.0], rtol=1e-6)


def test_an_initial_scale_holds_for_every_parameter():
    model = build(dataclasses.replace(SMALLEST, init_scale=0.1), FACTS)
    params = jax.jit(model.init)(jax.random.key(0))
    for leaf in jax.tree.leaves(params):
        assert 0.08 < np.abs(leaf).max() <= 0.1
        assert abs(np.mean(leaf)) < 0.1 / np.sqrt(leaf.size) * 3


def test_only_matrices_decay():
    config = dataclasses.replace(SMALL, weight_decay=0.5, warmup_steps=0)
    _, params = make()
    params = jax.tree.map(lambda leaf: jnp.ones_like(leaf), params)
    tx, _ = optimizer(config)
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates = jax.jit(lambda p: tx.update(nothing, tx.init(p), p)[0])(params)
    moved = {
        jax.tree_util.keystr(path[-1:], simple=True)
        for path, leaf in jax.tree_util.tree_leaves_with_path(updates)
        if np.any(leaf)
    }
    assert moved == {"w_x", "w_h", "embedding", "kernel"}


shares_a_step = pytest.mark.xdist_group("text_model")  # one worker of pytest-xdist


@pytest.fixture(scope="module")
def training():
    """A compiled step and the state before it; the first step's learning rate is zero."""
    config = dataclasses.replace(SMALLEST, ema_decay=0.5, learning_rate=0.1)
    model = build(config, FACTS)
    tx, schedule = optimizer(config)
    params = jax.jit(model.init)(jax.random.key(0))
    state = initial_train_state(
        jax.random.key(1),
        lambda key: params,
        tx,
        carry_of=lambda params: first_carry(config, model, params),
        ema_decay=0.5,
    )
    return make_train_step(make_loss(model), tx, schedule, ema_decay=0.5), state


@shares_a_step
def test_a_step_carries_the_state_and_a_fresh_one_does_not(training):
    train_step, initial = training
    x, labels = symbols(8, 3), symbols(8, 3, seed=1)

    def losses(fresh):
        state = jax.tree.map(jnp.copy, initial)  # a step gives its buffers up
        state, first = train_step(state, Batch(x, labels, True))
        _, second = train_step(state, Batch(x, labels, fresh))
        return float(first.loss), float(second.loss)

    first, second = losses(fresh=True)
    assert first == second
    first, second = losses(fresh=False)
    assert first != second


@shares_a_step
def test_the_running_mean_is_that_of_the_parameters(training):
    train_step, initial = training
    state = jax.tree.map(jnp.copy, initial)  # a step gives its buffers up
    mean, weight = 0.0, 0.0
    for step in range(3):
        state, _ = train_step(state, Batch(symbols(8, 3), symbols(8, 3, seed=1), step == 0))
        mean = 0.5 * mean + 0.5 * np.asarray(state.params.embedding["params"]["embedding"])
        weight = 0.5 * weight + 0.5
    found = evaluated_params(state, 0.5).embedding["params"]["embedding"]
    np.testing.assert_allclose(found, mean / weight, rtol=1e-5)
    assert evaluated_params(state._replace(ema=None), 0.0) is state.params
