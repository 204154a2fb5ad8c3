"""What can be read off a layer: linear probes, and the similarity of two layers."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import check_flags, check_floating, check_key, check_size, is_int, is_number
from deeprnn_jax.types import Array


class Probe(NamedTuple):
    """How well labels are read off features: shares of held-out rows, in [0, 1]."""

    accuracy: Array  # [], over all rows
    error: Array  # [], its standard error, as if folds were independent
    baseline: Array  # [], the same with shuffled labels
    baseline_error: Array  # []


def probe(
    features: Array,
    labels: Array,
    num_classes: int,
    key: Array,
    *,
    mask: Array | None = None,
    num_folds: int = 5,
    folds: Array | None = None,
    l2: float = 1e-3,
) -> Probe:
    """Cross-validate a linear probe: are the classes linear in the features?

        S = Σ_c π_c Cov_c + l2 I      π_c, μ_c, Cov_c: share, mean and covariance of class c
        ŷ = argmax_c  μ_cᵀ S⁻¹ x - μ_cᵀ S⁻¹ μ_c / 2 + log π_c

    of the training rows, x standardised: linear discriminant analysis, in closed form. The baseline
    is all of it again with the labels shuffled: what there is to get without the features.
    `jax.vmap` over layers `[L, N, H]`.

    Args:
      features: `[*N, H]`, of any axes before the last, as y `[T, B, H]`.
      labels: int `[*N]`, in [0, num_classes).
      num_classes: C.
      key: a random key, for the shuffling.
      mask: bool `[*N]`, True = a real row; None: all.
      num_folds: K; each row is classified by a probe of the other folds' rows.
      folds: int `[*N]`, each row's fold, in [0, K): give rows of one sequence the same, or the
        probe is tested on what it has nearly seen. None: equal stretches along the first axis.
      l2: what is added to S, over the variance of a feature.

    Returns:
      `Probe(accuracy, error, baseline, baseline_error)`.

    Raises:
      ValueError: if an argument does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> features = jax.random.normal(jax.random.key(0), (3, 1000, 8))      # of three layers
      >>> labels = (features[1] @ jnp.ones(8) > 0).astype(int)               # linear in the second
      >>> key = jax.random.key(1)
      >>> found = jax.vmap(lambda h: drnn.analysis.probe(h, labels, 2, key))(features)
      >>> [bool(accuracy > 0.9) for accuracy in found.accuracy]
      [False, True, False]

    References:
      Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes".
      Deviation: Fisher's discriminant in place of cross-entropy, which needs iterations. Least
      squares on one-hot labels would not do: a class that lies between others is never its argmax
      (Hastie et al. 2009, "The elements of statistical learning", section 4.2).
    """
    _check_probe(features, labels, num_classes, key, folds, num_folds, l2)
    features = jnp.asarray(features)
    weight = _weight_of("probe", mask, features.shape[:-1], features.dtype)
    x = features.reshape(-1, features.shape[-1])
    x = jnp.where(weight[:, None] > 0, x, jnp.zeros_like(x))
    if folds is None:
        length = features.shape[0]
        stretch = jnp.arange(length) * num_folds // length
        folds = jnp.repeat(stretch, len(weight) // length)
    labels = jnp.asarray(labels, jnp.int32).reshape(-1)
    both = jnp.stack([labels, _shuffle(key, labels, weight)])
    folds = jnp.asarray(folds, jnp.int32).reshape(-1)
    right, rows = _cross_validate(x, both, weight, folds, num_classes, num_folds, l2)
    has_rows = rows > 0
    shares = right / jnp.maximum(rows, 1)[:, None]  # [K, 2]
    count_used = jnp.maximum(jnp.sum(has_rows), 2).astype(x.dtype)
    mean = jnp.sum(right, 0) / jnp.maximum(jnp.sum(rows), 1)
    spread = jnp.sum(jnp.where(has_rows[:, None], (shares - mean[None]) ** 2, 0), 0)
    error = jnp.sqrt(spread / ((count_used - 1) * count_used))
    return Probe(mean[0], error[0], mean[1], error[1])


def _cross_validate(
    x: Array, labels: Array, weight: Array, folds: Array, classes: int, num_folds: int, l2: float
) -> tuple[Array, Array]:
    """Give how many rows of each fold are right `[K, 2]`, for `labels [2, N]`, of how many."""
    total = jnp.maximum(jnp.sum(weight), 1)
    # one shift and scale for all folds: each takes its own mean off again
    x = (x - jnp.sum(x * weight[:, None], 0, keepdims=True) / total) * weight[:, None]
    deviation = jnp.sqrt(jnp.sum(x * x, 0, keepdims=True) / total)
    x = x / jnp.where(deviation > 0, deviation, jnp.ones_like(deviation))
    y = jax.nn.one_hot(labels, classes, dtype=x.dtype)  # [2, N, C]

    def of_fold(fold: Array) -> tuple[Array, Array]:
        held_out = weight * (folds == fold).astype(x.dtype)
        train = weight - held_out
        n = jnp.maximum(jnp.sum(train), 1)
        centred = x - train[None] @ x / n
        weighed = centred * train[:, None]
        covariance = weighed.T @ centred / n + l2 * jnp.eye(x.shape[1], dtype=x.dtype)

        def right(y: Array, labels: Array) -> Array:
            share = train[None] @ y / n  # [1, C]
            # a class without rows has a mean of zero, and is never the most likely one
            mean = weighed.T @ y / (n * jnp.maximum(share, 1 / n))
            within = covariance - (mean * share) @ mean.T
            w = jnp.linalg.solve(within, mean)
            bias = jnp.log(share) - jnp.sum(mean * w, 0, keepdims=True) / 2
            b = jnp.where(share > 0, bias, jnp.full_like(bias, -jnp.inf))
            guess = jnp.argmax(centred @ w + b, axis=-1).astype(labels.dtype)
            return held_out @ (guess == labels).astype(x.dtype)

        return jax.vmap(right)(y, labels), jnp.sum(held_out)

    return jax.lax.map(of_fold, jnp.arange(num_folds, dtype=jnp.int32))


def _shuffle(key: Array, labels: Array, weight: Array) -> Array:
    """Shuffle the labels of the real rows among these."""
    place = jnp.argsort(weight == 0, stable=True)  # the real rows first
    drawn = jax.random.uniform(key, labels.shape)
    order = jnp.argsort(jnp.where(weight > 0, drawn, jnp.full_like(drawn, 2)))
    return labels.at[place].set(labels[order])


def similarity(a: Array, b: Array, *, mask: Array | None = None) -> Array:
    """Give how alike two layers' features are, up to a rotation and a scale: linear CKA.

        ‖Aᵀ B‖² / (‖Aᵀ A‖ ‖Bᵀ B‖)      A, B centred, Frobenius norms

    Args:
      a: `[*N, H]`, of any axes before the last.
      b: `[*N, K]`, of the same rows.
      mask: bool `[*N]`, True = a real row; None: all.

    Returns:
      A number in [0, 1]; 1 for features that are a rotation of one another; NaN where one of
      them is constant.

    Raises:
      ValueError: if an argument does not fit.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> a = jax.random.normal(jax.random.key(0), (100, 8))
      >>> round(float(drnn.analysis.similarity(a, 3 * a[:, ::-1])), 4)
      1.0

    References:
      Kornblith et al. 2019, "Similarity of neural network representations revisited", eq. 4. With
      few rows it is biased upwards: take many more than there are features.
    """
    check_floating("similarity", "a", a)
    check_floating("similarity", "b", b)
    if a.shape[:-1] != b.shape[:-1]:
        raise ValueError(
            f"similarity: b must be [*N, K] of the rows of a, *N = {a.shape[:-1]}, got {b.shape}"
        )
    a, b = jnp.asarray(a), jnp.asarray(b)
    weight = _weight_of("similarity", mask, a.shape[:-1], a.dtype)
    a, b = (_centre(one.reshape(-1, one.shape[-1]), weight) for one in (a, b))
    across, within_a, within_b = (jnp.linalg.norm(p.T @ q) for p, q in ((a, b), (a, a), (b, b)))
    return across * across / (within_a * within_b)


def _centre(x: Array, weight: Array) -> Array:
    """Take the mean of the real rows off, and scale to unit size; zero the others."""
    x = jnp.where(weight[:, None] > 0, x, jnp.zeros_like(x))
    mean = jnp.sum(x, 0, keepdims=True) / jnp.maximum(jnp.sum(weight), 1)
    x = (x - mean) * weight[:, None].astype(x.dtype)
    return x / jnp.linalg.norm(x)


def _check_probe(
    features: Any, labels: Any, num_classes: Any, key: Any, folds: Any, num_folds: Any, l2: Any
) -> None:
    check_floating("probe", "features", features)
    check_key("probe", key)
    check_size("probe", "num_classes", num_classes)
    if not is_int(num_folds, at_least=2):
        raise ValueError(f"probe: num_folds must be an int of 2 or more, got {num_folds!r}")
    if not is_number(l2) or l2 <= 0:
        raise ValueError(f"probe: l2 must be a number above 0, got {l2!r}")
    if features.ndim < 2 or 0 in features.shape:
        raise ValueError(f"probe: features must be [*N, H], got shape {features.shape}")
    for name, value in (("labels", labels), ("folds", folds)):
        if value is None and name == "folds":
            continue
        dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.integer):
            found = type(value).__name__ if dtype is None else dtype
            raise ValueError(f"probe: {name} must be an integer array, got {found}")
        if shape != features.shape[:-1]:
            raise ValueError(
                f"probe: {name} must be [*N] = {features.shape[:-1]}, one a row of features, "
                f"got {shape}"
            )


def _weight_of(function: str, mask: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Give 1 for each real row, 0 for the others, flat."""
    if mask is None:
        return jnp.ones(math.prod(shape), dtype)
    check_flags(function, "mask", mask, shape, "True = a real row")
    return jnp.asarray(mask).reshape(-1).astype(dtype)
