"""The network and its loss: alignments by brute force, padding, masks."""

import dataclasses
import itertools
from functools import lru_cache
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.speech_recognition.augment import spec_augment
from experiments.speech_recognition.batches import Batch
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.data import prepare
from experiments.speech_recognition.model import Model, stack_frames
from experiments.speech_recognition.problem import ctc_loss, make_problem
from experiments.speech_recognition.utterances import Corpus, Utterance

TINY = Config(cell="elman", num_bands=3, num_layers=1, hidden_size=4, max_bands=2, dropout=0.2)


@jax.jit
def loss_and_gradient(logits, lengths, labels, num_labels):
    """Return the loss `[B]` and the gradient of its sum: one compilation for all tests."""

    def total(x):
        loss = ctc_loss(x, lengths, labels, num_labels)
        return loss.sum(), loss

    gradient, loss = jax.grad(total, has_aux=True)(logits)
    return loss, gradient


mask = jax.jit(spec_augment, static_argnums=3)


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@lru_cache
def compiled(config=TINY):
    """Parameters and the compiled function of a config; all tests' frames have one shape.

    The parameters are any that fit: to compile `init` takes longer than all else here.
    """
    model = Model(config, 5)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(leaf.dtype), shapes)
    return params, jax.jit(model.apply)


def log_prob(logits, labels):
    """Add up all alignments of `[T, V]` that give the labels."""
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        if [label for label, _ in itertools.groupby(path) if label != 0] == list(labels):
            total += np.prod([p[label] for p, label in zip(probs, path, strict=True)])
    return np.log(total)


@given(st.integers(0, 2**32 - 1))
def test_the_loss_is_the_sum_over_all_alignments_whatever_the_padding(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 2.0, (6, 3, 3)).astype(np.float32)
    lengths, num_labels = np.array([6, 4, 3]), np.array([2, 3, 1])
    labels = rng.integers(1, 3, (3, 3)).astype(np.int32)
    labels[1] = [1, 2, 1]  # three labels in four steps, which repetitions would not leave
    found, _ = loss_and_gradient(logits, lengths, labels, num_labels)
    for row, (steps, count) in enumerate(zip(lengths, num_labels, strict=True)):
        expected = -log_prob(logits[:steps, row].astype(float), labels[row, :count])
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-4)


def test_no_gradient_goes_to_padding():
    lengths, num_labels = np.array([6, 4, 3]), np.array([2, 2, 1])
    labels = np.array([[1, 1, 2], [1, 2, 2], [2, 1, 1]], np.int32)
    _, gradient = loss_and_gradient(normal(6, 3, 3), lengths, labels, num_labels)
    past = np.arange(6)[:, None] >= lengths
    np.testing.assert_array_equal(np.asarray(gradient)[past], 0.0)
    assert (np.abs(np.asarray(gradient)[~past]).max(axis=-1) > 0).all()


def test_labels_that_no_alignment_gives_are_told_from_a_loss():
    logits = np.zeros((6, 3, 3), np.float32)
    labels = np.array([[1, 1, 1], [1, 1, 1], [1, 2, 1]], np.int32)
    # Three equal labels need five steps; three that differ, three.
    found, _ = loss_and_gradient(logits, np.array([4, 5, 3]), labels, np.array([3, 3, 3]))
    assert found[0] > 1e4
    assert found[1] < 10
    assert found[2] < 10


def test_a_batchs_loss_is_by_the_label_not_by_the_row():
    class Fixed(Model):
        """A network that gives its parameters, whatever it hears."""

        def apply(self, params, frames, num_frames, key=None) -> Any:
            return params, num_frames

    logits, utterances = normal(6, 3, 3), [Utterance("u", "s", "A", np.ones(8000, np.float32))]
    batch = Batch(
        frames=np.zeros((6, 3, 1), np.float32),
        num_frames=np.array([6, 4, 3], np.int32),
        labels=np.array([[1, 1, 2], [1, 2, 2], [2, 1, 1]], np.int32),
        num_labels=np.array([3, 2, 1], np.int32),
    )
    nats, _ = loss_and_gradient(logits, *batch[1:])
    data = prepare(Corpus("tiny", "none", 8000, *[utterances] * 3, ""), TINY)
    loss_fn = make_problem(TINY, data, Fixed(TINY, 3)).loss_fn
    found, carry = jax.jit(loss_fn)(logits, batch, None, None)
    np.testing.assert_allclose(found, nats.sum() / 6, rtol=1e-6)
    assert carry is None


def test_stacked_frames_lie_side_by_side():
    frames = np.arange(7 * 2 * 3, dtype=np.float32).reshape(7, 2, 3)
    stack = jax.jit(stack_frames, static_argnums=1)
    x = np.asarray(stack(frames, 3))
    assert x.shape == (3, 2, 9)
    for t, row in itertools.product(range(2), range(2)):
        np.testing.assert_array_equal(x[t, row], frames[3 * t : 3 * t + 3, row].reshape(-1))
    np.testing.assert_array_equal(x[2, 1], [*frames[6, 1], 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(stack(frames, 1), frames)


def test_neither_padding_nor_neighbours_change_a_row():
    params, apply = compiled()
    frames, num_frames = normal(12, 2, 3), np.array([8, 12])
    frames[8, 0] = 0.0  # as the batches pad: the third step is 6, 7 and this
    logits, lengths = map(np.asarray, apply(params, frames, num_frames))
    np.testing.assert_array_equal(lengths, [3, 4])
    other = frames.copy()
    other[9:, 0] = 9.0
    other[:, 1] *= 2.0
    found = np.asarray(apply(params, other, num_frames)[0])
    np.testing.assert_array_equal(found[:3, 0], logits[:3, 0])
    swapped = np.asarray(apply(params, frames[:, ::-1], num_frames[::-1])[0])
    np.testing.assert_allclose(swapped[:3, 1], logits[:3, 0], rtol=1e-5, atol=1e-6)
    longer = np.asarray(apply(params, frames, np.array([12, 12]))[0])
    assert (longer[0, 0] != logits[0, 0]).any()


def test_a_step_hears_what_comes_later_if_and_only_if_bidirectional():
    frames = normal(12, 2, 3)
    changed = np.concatenate([frames[:-1], frames[-1:] + 1.0])
    for bidirectional in (True, False):
        params, apply = compiled(dataclasses.replace(TINY, bidirectional=bidirectional))
        first, second = (apply(params, x, np.array([12, 12]))[0] for x in (frames, changed))
        assert bool((np.asarray(first)[0] != np.asarray(second)[0]).any()) == bidirectional


def test_noise_is_on_with_a_key_only():
    params, apply = compiled()
    frames, count = normal(12, 2, 3), np.array([12, 12])
    plain = np.asarray(apply(params, frames, count)[0])
    np.testing.assert_array_equal(plain, apply(params, frames, count)[0])
    noisy = [np.asarray(apply(params, frames, count, jax.random.key(i))[0]) for i in range(2)]
    assert (noisy[0] != plain).any()
    assert (noisy[0] != noisy[1]).any()


def test_masks_stay_within_their_bounds():
    num_frames = np.array([20, 10], np.int32)
    bands, times = set(), set()
    config = Config(band_masks=1, max_bands=3, time_masks=1, max_frames=6)
    for seed in range(60):
        masked = mask(jax.random.key(seed), np.ones((20, 2, 8), np.float32), num_frames, config)
        kept = np.asarray(masked) == 1.0
        for row, longest in enumerate((4, 2)):  # a fifth of 20, and of 10
            off_bands = ~kept[:, row].any(axis=0)
            off_times = ~kept[:, row][:, ~off_bands].any(axis=1)
            # One run each, of the widths that are allowed, inside the row.
            assert np.flatnonzero(np.diff(np.pad(off_bands, 1).astype(int))).size in (0, 2)
            assert off_bands.sum() <= 3
            assert off_times.sum() <= longest
            assert not off_times[num_frames[row] :].any()
            bands.add(int(off_bands.sum()))
            times.add((row, int(off_times.sum())))
    assert bands == {0, 1, 2, 3}
    assert times == {(0, n) for n in range(5)} | {(1, n) for n in range(3)}


def test_no_masks_change_nothing():
    inputs = (jax.random.key(1), normal(20, 2, 8), np.array([20, 7], np.int32))
    # Of no width, and none in number: both kinds are drawn by one function.
    found = mask(*inputs, Config(max_bands=0, time_masks=0))
    np.testing.assert_array_equal(found, inputs[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stack": 0}, "--stack must be >= 1"),
        ({"dropout": 1.0}, "--dropout must be in"),
        ({"speeds": ()}, "--speeds"),
        ({"speeds": (0.9, 1.1)}, "with 1.0 among them"),
        ({"speeds": (1.0, 5.0)}, "different, 0.5 to 2"),
        ({"speeds": (1.0, 1.0)}, "different"),
        ({"max_bands": 99}, "at most --num-bands"),
        ({"warmup_steps": 400}, "below steps=400"),
        ({"keep_checkpoints": 1}, "--keep-checkpoints must be >= 2"),
        ({"voices": (2, 0, 1)}, "--voices must be three numbers >= 1"),
        ({"fusion_bonuses": ()}, "--fusion-bonuses must be one number or more"),
        ({"ngram": "word"}, "--ngram must be character for strings of digits"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
