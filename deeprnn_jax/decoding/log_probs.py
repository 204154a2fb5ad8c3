"""Log-probabilities in float32 or wider, that are never NaN and never above 0."""

import jax
import jax.numpy as jnp

from deeprnn_jax.precision import accumulation_dtype
from deeprnn_jax.types import Array


def widen(x: Array) -> Array:
    """Give x in float32, or in its own dtype where that is wider."""
    return x.astype(accumulation_dtype(x.dtype))


def log_softmax(logits: Array) -> Array:
    """Give log-probabilities in float32 or wider, with -inf in place of NaN.

    A row with NaN or +inf among its logits, or with nothing but -inf, is -inf throughout:
    such a model gives no probability to anything.
    """
    return without_nan(jax.nn.log_softmax(widen(logits), axis=-1))


def without_nan(log_probs: Array) -> Array:
    """Give -inf, what cannot be, for NaN, which would win every comparison for the best."""
    return jnp.where(jnp.isnan(log_probs), -jnp.inf, log_probs)


def log_of_either(a: Array, b: Array) -> Array:
    """Give log p(A or B) of the log-probabilities of two things that exclude each other.

    Two that are all there is add up to 1, and by rounding to more: in float32 the largest
    of a confident step's probabilities comes to exactly 1, with the others beside it. No
    probability is above 1, so what is above is rounding; cut off in each sum, it does not
    grow over the steps.
    """
    return jnp.minimum(jnp.logaddexp(a, b), 0.0)
