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
from experiments.common.updates import num_parameters
from experiments.text_generation.batches import Batch
from experiments.text_generation.config import Config
from experiments.text_generation.data import Data, Vocabulary
from experiments.text_generation.evaluate import lay_out, make_evaluate
from experiments.text_generation.experiment import EXPERIMENT
from experiments.text_generation.model import build
from experiments.text_generation.problem import make_problem, optimizer
from experiments.text_generation.use import stream_ids, stream_text

V = 11
FACTS = {"level": "character", "vocabulary": list("abcdefghijk")}
SMALL = Config(hidden_size=8, embedding_size=8, steps=10, warmup_steps=2, batch_size=3)
SMALLEST = dataclasses.replace(SMALL, cell="elman", num_layers=1)  # where steps are compiled


@functools.cache  # to compile each model once
def make(config=SMALL):
    """A compiled model, and parameters of its shapes that cost no compiled initialiser."""
    model = build(config, FACTS)
    model = model._replace(apply=jax.jit(model.apply), step=jax.jit(model.step))
    rng = np.random.default_rng(0)
    return model, jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype),
        jax.eval_shape(model.init, jax.random.key(0)),
    )


def symbols(*shape, seed=0):
    return np.random.default_rng(seed).integers(V, size=shape).astype(np.int32)


# Every cell, and every option that changes the model, in some of their combinations.
VARIANTS = [
    {"cell": "lstm", "tied_embeddings": True},
    {"cell": "elman", "embedding_size": 6, "skip": "dense"},
    {"cell": "minimal_gated", "weight_drop": 0.3, "dropout": 0.3, "embedding_dropout": 0.3},
    {"cell": "independent", "schedule": "reference"},
    {
        "cell": "gru",
        "tied_embeddings": True,
        "embedding_size": 6,
        "skip": "residual",
        "normalize_inputs": True,
    },
]


def test_every_cell_is_among_the_variants():
    assert {options["cell"] for options in VARIANTS} == set(CELLS)


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


def test_a_single_piece_reads_the_text_exactly():
    model, params = make(SMALLEST)
    before, text = symbols(20), symbols(150, seed=1)
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


def trained(**sampling):
    config = dataclasses.replace(SMALLEST, **sampling)
    return Trained(Path(), config, FACTS, *make(SMALLEST), best_step=1, best_value=None)


def test_greedy_writing_follows_the_largest_logit():
    """Over several stretches of symbols that are drawn at once, the last of them cut short."""
    model, params = make(SMALLEST)
    prompt = symbols(3)
    pieces = list(stream_ids(trained(temperature=0.0, sample_length=50), prompt))
    written = np.concatenate(pieces)
    assert [len(piece) for piece in pieces] == [20, 20, 10]
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


def test_a_batch_carries_the_state_on_and_a_fresh_one_does_not():
    model, params = make(SMALLEST)
    ids, vocabulary = symbols(100), Vocabulary(tuple(FACTS["vocabulary"]), "character")
    data = Data("", "", vocabulary, ids, ids, None, 0)
    loss_fn = jax.jit(make_problem(SMALLEST, data, model).loss_fn)
    x, labels = symbols(8, 3), symbols(8, 3, seed=1)
    initial = EXPERIMENT.first_carry(SMALLEST, model, params)
    first, state = loss_fn(params, Batch(x, labels, True), initial, None)
    for fresh in (True, False):
        loss, _ = loss_fn(params, Batch(x, labels, fresh), state, None)
        assert (loss == first) == fresh
    # Two chunks in one: the mean of their losses.
    whole = (np.concatenate([x, x]), np.concatenate([labels, labels]))
    both, _ = loss_fn(params, Batch(*whole, True), initial, None)
    np.testing.assert_allclose(both, (first + loss) / 2, rtol=1e-5)
