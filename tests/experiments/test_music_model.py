"""The model, its measure, the baselines and the drawing of frames."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.music_generation.baselines import baselines, count
from experiments.music_generation.batches import Batch
from experiments.music_generation.config import Config
from experiments.music_generation.data import Data
from experiments.music_generation.evaluate import nll_of
from experiments.music_generation.model import build
from experiments.music_generation.problem import make_problem
from experiments.music_generation.rolls import NUM_KEYS
from experiments.music_generation.use import compose, sample_frame

SMALL = Config(hidden_size=5, num_layers=2, dropout=0.0)


def drawn_by(temperature, min_notes, max_notes, **options):
    return dataclasses.replace(
        SMALL, temperature=temperature, min_notes=min_notes, max_notes=max_notes, **options
    )


def compiled(config):
    """The model with its functions jitted: a bare call compiles its loop again each time."""
    model = build(config, {})
    return model._replace(
        init=jax.jit(model.init), apply=jax.jit(model.apply), step=jax.jit(model.step)
    )


@pytest.fixture(scope="module")
def model():
    return compiled(SMALL)


@pytest.fixture(scope="module")
def params(model):
    """Of two models, with logits of a size at which numbers differ."""
    keys = jax.random.split(jax.random.key(0))
    return jax.tree.map(lambda leaf: 2.0 * leaf, jax.vmap(model.init)(keys))


def pieces_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.random((n, NUM_KEYS)) < 0.1).astype(np.uint8) for n in lengths]


def one(params, seed):
    return jax.tree.map(lambda leaf: leaf[seed], params)


def brute_force(model, params, piece):
    """The nats of each frame, by `step` a frame and probabilities in float64."""
    state, before, nats = model.initial_state(params, 1), np.zeros((1, NUM_KEYS), np.uint8), []
    for frame in piece:
        state, logits = model.step(params, jnp.asarray(before), state)
        p = 1.0 / (1.0 + np.exp(-np.asarray(logits[0], np.float64)))
        nats.append(-np.log(np.where(frame == 1, p, 1.0 - p)).sum())
        before = frame[None]
    return np.array(nats)


@pytest.fixture(scope="module")
def pieces():
    return pieces_of((3, 70, 2, 12, 64, 65))  # chunks are 64 frames


@pytest.fixture(scope="module")
def true_nats(model, params, pieces):
    return [[brute_force(model, one(params, s), piece) for piece in pieces] for s in range(2)]


def test_nll_is_that_of_brute_force_for_pieces_of_any_length(model, params, pieces, true_nats):
    nll = nll_of(model, params, pieces)
    assert nll.frames.dtype == np.float64
    for seed, nats in enumerate(true_nats):
        counted = [piece[1:] for piece in nats]
        np.testing.assert_allclose(nll.frames[seed], np.concatenate(counted).mean(), rtol=1e-5)
        by_pieces = np.mean([piece.mean() for piece in counted])
        np.testing.assert_allclose(nll.pieces[seed], by_pieces, rtol=1e-5)


def test_more_pieces_than_rows_side_by_side(model, params):
    many = pieces_of([2 + i % 7 for i in range(40)])
    whole = nll_of(model, params, many)
    halves = [nll_of(model, params, half) for half in (many[:33], many[33:])]
    frames = np.array([sum(len(p) - 1 for p in half) for half in (many[:33], many[33:])])
    joined = sum(n.frames * f for n, f in zip(halves, frames, strict=True)) / frames.sum()
    np.testing.assert_allclose(whole.frames, joined, rtol=1e-6)
    np.testing.assert_allclose(
        whole.pieces,
        sum(n.pieces * k for n, k in zip(halves, (33, 7), strict=True)) / 40,
        rtol=1e-6,
    )


def test_the_loss_counts_real_frames_alone(model, params, pieces, true_nats):
    """First frames too, since a model is to begin a piece by itself."""
    mine = [0, 3, 2]
    x = np.zeros((16, 3, NUM_KEYS), np.uint8)
    labels = np.zeros_like(x)
    for row, i in enumerate(mine):
        labels[: len(pieces[i]), row] = pieces[i]
        x[1 : len(pieces[i]), row] = pieces[i][:-1]
    lengths = np.array([len(pieces[i]) for i in mine], np.int32)
    expected = np.concatenate([true_nats[1][i] for i in mine]).mean()
    data = Data("", "", 1.0, tuple(pieces), tuple(pieces), tuple(pieces))
    loss_fn = jax.jit(make_problem(SMALL, data, model).loss_fn)
    found, _ = loss_fn(one(params, 1), Batch(x, labels, lengths), None, None)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    x[-1], labels[-1] = 1, 1  # padding has no part
    found, _ = loss_fn(one(params, 1), Batch(x, labels, lengths), None, None)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_without_the_frame_the_readout_is_smaller_and_still_equal_step_by_step():
    config = dataclasses.replace(SMALL, frame_to_readout=False, cell="elman", num_layers=1)
    model = compiled(config)
    params = model.init(jax.random.key(1))
    assert params.readout["params"]["kernel"].shape == (5, NUM_KEYS)
    (piece,) = pieces_of((4,))
    x = jnp.asarray(piece)[:, None]
    _, logits = model.apply(params, x, model.initial_state(params, 1))
    state = model.initial_state(params, 1)
    for t in range(4):
        state, step = model.step(params, x[t], state)
        np.testing.assert_allclose(step, logits[t], rtol=1e-5, atol=1e-6)


def test_dropout_needs_a_key(pieces):
    rates = {"dropout": 0.5, "input_dropout": 0.5, "weight_drop": 0.3}
    config = dataclasses.replace(SMALL, cell="elman", **rates)
    model = compiled(config)
    params = model.init(jax.random.key(0))
    x = jnp.asarray(pieces[3])[:, None]
    state = model.initial_state(params, 1)
    plain = model.apply(params, x, state)[1]
    dropped = [model.apply(params, x, state, None, jax.random.key(i))[1] for i in (0, 0, 1)]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], dropped[2])
    assert not np.allclose(dropped[0], plain)


def roll(*columns):
    """Frames by the keys 0, 1 and 2; the others are silent."""
    found = np.zeros((len(columns[0]), NUM_KEYS), np.uint8)
    found[:, : len(columns)] = np.array(columns).T
    return found


def test_baselines_by_hand():
    """One training piece of 5 frames, one piece of 2 frames to score."""
    train = [roll([1, 1, 0, 1, 1], [0, 0, 0, 0, 1])]
    scored = [roll([1, 1], [0, 1])]
    found = baselines(train, scored)
    silent = NUM_KEYS - 2
    # Key 0 goes on 2 of 3 times and begins 1 of 1; key 1 begins 1 of 4 times.
    chain = -np.log(2.5 / 4) - np.log(1.5 / 5) - silent * np.log(4.5 / 5)
    np.testing.assert_allclose(found["Markov chain a note"], chain)
    # In frames 2 to 5, key 0 sounds in 3 of 4, key 1 in 1.
    frequencies = -np.log(3.5 / 5) - np.log(1.5 / 5) - silent * np.log(4.5 / 5)
    np.testing.assert_allclose(found["note frequencies"], frequencies)
    # Of all keys 2 of 3 go on, and 2 of 1 + 4 + 86 x 4 begin.
    begins = 2.5 / (1 + 4 + silent * 4 + 1)
    repeat = -np.log(2.5 / 4) - np.log(begins) - silent * np.log(1 - begins)
    np.testing.assert_allclose(found["repeat the last frame"], repeat)


def test_counts_do_not_cross_pieces():
    counts = count([roll([1, 0]), roll([1, 0])])
    assert counts[1, 0, 0] == 2
    assert counts[0, 1, 0] == 0


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (drawn_by(0.0, 0, 88), [0, 2, 3]),
        (drawn_by(0.0, 0, 2), [0, 3]),
        (drawn_by(0.0, 4, 88), [0, 2, 3, 5]),
    ],
)
def test_the_number_of_notes_is_kept_by_the_most_probable(config, expected):
    logits = np.full((500, NUM_KEYS), -9.0, np.float32)  # a shape that is compiled once
    logits[:, [0, 1, 2, 3, 5]] = [3.0, -2.0, 0.5, 2.0, -1.0]
    frame = sample_frame(jax.random.key(0), jnp.asarray(logits), config)
    assert np.flatnonzero(frame[0]).tolist() == expected


def test_drawn_keys_come_before_more_probable_ones_that_were_not():
    logits = jnp.zeros((500, NUM_KEYS)).at[:, 7].set(1.0)
    key = jax.random.key(3)
    free = np.asarray(sample_frame(key, logits, drawn_by(1.0, 0, 88)))
    most = np.asarray(sample_frame(key, logits, drawn_by(1.0, 0, 5)))
    assert (most <= free).all()
    assert (most.sum(axis=1) == 5).all()
    np.testing.assert_array_equal(most[:, 7], free[:, 7])
    least = np.asarray(sample_frame(key, logits, drawn_by(1.0, 60, 88)))
    assert (least >= free).all()
    assert (least.sum(axis=1) == np.maximum(free.sum(axis=1), 60)).all()


def test_temperature_divides_the_logits():
    logits = jnp.full((500, NUM_KEYS), -2.0)
    for temperature in (0.5, 1.0, 2.0):
        drawn = sample_frame(jax.random.key(1), logits, drawn_by(temperature, 0, 88))
        expected = 1.0 / (1.0 + np.exp(2.0 / temperature))
        np.testing.assert_allclose(np.mean(drawn), expected, atol=0.008)


def test_composing_is_reading_what_was_drawn(model, params):
    """At temperature 0, against steps by hand; each composed frame is read back in."""
    params, (given,) = one(params, 0), pieces_of((5,))
    added = compose(model, params, given, drawn_by(0.0, 2, 4, sample_frames=6))
    assert added.shape == (6, NUM_KEYS)
    whole = np.concatenate([np.zeros((1, NUM_KEYS), np.uint8), given, added])
    _, logits = model.apply(params, jnp.asarray(whole)[:, None], model.initial_state(params, 1))
    for t, frame in enumerate(added):
        expected = sample_frame(jax.random.key(0), logits[5 + t, 0], drawn_by(0.0, 2, 4))
        np.testing.assert_array_equal(frame, expected)
    assert set(added.sum(axis=1)) <= {2, 3, 4}


def test_composing_from_nothing_depends_on_the_seed_alone(model, params):
    given = np.zeros((0, NUM_KEYS), np.uint8)
    pieces = [
        compose(model, one(params, 0), given, drawn_by(1.0, 0, 88, sample_frames=8, sample_seed=i))
        for i in (0, 0, 1)
    ]
    np.testing.assert_array_equal(pieces[0], pieces[1])
    assert not np.array_equal(pieces[0], pieces[2])
