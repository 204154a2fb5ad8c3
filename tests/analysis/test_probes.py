"""Linear probes and CKA: against NumPy, and what must not change them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax import analysis
from tests.comparing import assert_close
from tests.registry import seed_of

KEY = jax.random.key(0)


def case(num_rows=300, size=6, classes=3, noise=0.5):
    rng = seed_of("probe")
    x = rng.normal(size=(num_rows, size)) * np.arange(1, size + 1) + 5
    scores = (x - 5) @ rng.normal(size=(size, classes)) / size
    return x, np.argmax(scores + noise * rng.normal(size=scores.shape), axis=-1)


def by_numpy(x, labels, classes, folds, l2):
    """Fit each fold by itself, class by class: the most likely of Gaussians of one covariance."""
    shares, right = [], 0
    x = (x - x.mean(0)) / x.std(0)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        of = [x[train][labels[train] == c] for c in range(classes)]
        within = sum(len(one) * np.cov(one.T, bias=True) for one in of) / np.sum(train)
        inverse = np.linalg.inv(within + l2 * np.eye(x.shape[1]))
        away = [x[test] - one.mean(0) for one in of]
        scores = [
            np.log(len(one) / np.sum(train)) - np.einsum("ni,ij,nj->n", d, inverse, d) / 2
            for one, d in zip(of, away, strict=True)
        ]
        guess = np.argmax(scores, axis=0)
        right += np.sum(guess == labels[test])
        shares.append(np.mean(guess == labels[test]))
    mean = right / len(x)
    spread = np.sum((np.array(shares) - mean) ** 2)
    return mean, np.sqrt(spread / (len(shares) - 1) / len(shares))


@pytest.mark.parametrize("own_folds", [False, True])
def test_against_numpy(own_folds, x64):
    x, labels = case()
    folds = np.arange(300) // 75
    if own_folds:
        folds = seed_of("folds").integers(0, 4, size=300)
    found = analysis.probe(
        x, labels, 3, KEY, num_folds=4, folds=folds if own_folds else None, l2=0.1
    )
    expected = by_numpy(x, labels, 3, folds, 0.1)
    assert_close([float(found.accuracy), float(found.error)], [*map(float, expected)], 1e-10)
    assert 0.5 < found.accuracy < 0.99
    assert found.baseline < 0.45


def test_labels_that_are_linear_are_found_and_others_are_not():
    rng = seed_of("layers")
    layers = rng.normal(size=(3, 500, 8)).astype(np.float32)
    labels = np.argmax(layers[1] @ rng.normal(size=(8, 4)), axis=-1)
    run = jax.jit(jax.vmap(lambda h: analysis.probe(h, labels, 4, KEY)))
    found = run(layers)
    assert found.accuracy.shape == found.baseline_error.shape == (3,)
    assert found.accuracy[1] > 0.85
    assert all(abs(found.accuracy[k] - found.baseline[k]) < 0.1 for k in (0, 2))
    # neither a scale nor a shift of a feature changes anything
    moved = run(layers * 10.0 ** np.arange(-4, 4, dtype=np.float32) + 3)
    np.testing.assert_allclose(moved.accuracy, found.accuracy, atol=0.011)


def test_a_class_between_others_is_found():
    """Of a number cut into eight, each class but two lies between others."""
    x = seed_of("between").uniform(size=(4000, 5)).astype(np.float32)
    found = analysis.probe(x, (8 * x[:, 2]).astype(int), 8, KEY)
    assert found.accuracy > 0.9
    assert abs(found.baseline - 1 / 8) < 0.04


def test_a_class_that_a_fold_has_not_is_never_its_guess():
    """Of three classes the third is in the last fold alone: all of these rows are wrong."""
    x, labels = case(500, classes=2, noise=0.0)
    labels = np.where(np.arange(500) >= 400, 2, labels)
    found = analysis.probe(x, labels, 3, KEY)
    assert 0.7 < found.accuracy < 0.8


def test_the_baseline_is_that_of_the_classes_frequencies():
    x, _ = case(2000)
    labels = (seed_of("rare").random(2000) < 0.2).astype(int)
    found = analysis.probe(x, labels, 2, KEY)
    assert_close(float(found.accuracy), 0.8, 0.03)
    assert_close(float(found.baseline), 0.8, 0.03)


def test_masked_rows_do_nothing():
    """Whatever they hold, and wherever they are; sequences go in as they are, [T, B, H]."""
    x, labels = case(300)
    x, labels = x.reshape(30, 10, 6), labels.reshape(30, 10)
    mask = np.arange(30)[:, None] < seed_of("lengths").integers(5, 31, size=10)
    folds = np.broadcast_to(np.arange(10) // 2, (30, 10))
    hidden = np.where(mask[..., None], x, np.nan), np.where(mask, labels, 7)
    found = analysis.probe(*hidden, 3, KEY, mask=mask, folds=folds)
    accuracy, error = by_numpy(x[mask], labels[mask], 3, folds[mask], 1e-3)
    assert_close([float(one) for one in found[:2]], [float(accuracy), float(error)], 1e-5)
    real = analysis.probe(x[mask], labels[mask], 3, KEY, folds=folds[mask])
    assert abs(real.baseline - found.baseline) < 0.15
    alike = analysis.similarity(hidden[0], hidden[0] ** 3, mask=mask)
    assert_close(float(alike), float(analysis.similarity(x[mask], x[mask] ** 3)), 1e-4)


def test_shuffled_labels_are_the_same_ones():
    labels, weight = jnp.arange(20), (jnp.arange(20) % 3 > 0).astype(jnp.float32)
    from deeprnn_jax.analysis.probes import _shuffle

    shuffled = np.asarray(_shuffle(KEY, labels, weight))
    real = np.asarray(weight) > 0
    assert sorted(shuffled[real]) == sorted(np.asarray(labels)[real])
    assert np.any(shuffled != labels)
    np.testing.assert_array_equal(shuffled[~real], labels[~real])


def test_similarity(x64):
    rng = seed_of("similarity")
    a, b = rng.normal(size=(200, 5)) + 3, rng.normal(size=(200, 7)) - 2
    p, q = a - a.mean(0), b - b.mean(0)
    expected = np.linalg.norm(p.T @ q) ** 2 / np.linalg.norm(p.T @ p) / np.linalg.norm(q.T @ q)
    assert_close(float(analysis.similarity(a, b)), float(expected), 1e-12)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert_close(float(analysis.similarity(a, 4 * a @ turn + 1)), 1.0, 1e-12)
    assert_close(float(analysis.similarity(a, b)), float(analysis.similarity(b, a)), 1e-12)
    assert np.isnan(analysis.similarity(a, np.ones((200, 2))))
    assert_close(
        float(analysis.similarity(a.reshape(20, 10, 5), b.reshape(20, 10, 7))), float(expected)
    )
