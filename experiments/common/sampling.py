"""From logits to one drawn index: temperature, top-k, top-p.

    p = softmax(logits / temperature), restricted to
        top-k: the k largest, then
        top-p: the fewest largest whose probabilities (renormalised after top-k)
               add up to at least p (Holtzman et al. 2020, "nucleus sampling").

The most probable index is always kept. Equal logits are taken in order of their
index, so that exactly k remain.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.common.errors import InputError


class Sampling(NamedTuple):
    """How to draw; `checked` makes one."""

    temperature: float = 1.0  # 0: always the most probable
    top_k: int | None = None  # None: all
    top_p: float = 1.0  # 1: all


def checked(temperature: float, top_k: int | None, top_p: float) -> Sampling:
    """Return the settings as a `Sampling`.

    Raises:
      InputError: temperature negative or not finite, top_k < 1, top_p outside (0, 1].
    """
    if not 0.0 <= temperature < float("inf"):
        raise InputError(
            f"sampling: temperature must be finite and >= 0, got {temperature}; 0 takes "
            "the most probable symbol, 1 draws from the model as it is"
        )
    if top_k is not None and top_k < 1:
        raise InputError(f"sampling: top_k must be >= 1, got {top_k}; leave it away for all")
    if not 0.0 < top_p <= 1.0:
        raise InputError(f"sampling: top_p must be in (0, 1], got {top_p}; 1 keeps all")
    return Sampling(temperature, top_k, top_p)


def restrict(logits: jax.Array, top_k: int | None, top_p: float) -> jax.Array:
    """Set the logits outside top-k and top-p to -inf.

    Args:
      logits: `[*B, V]`, float.
      top_k: how many to keep; more than V, or None, keeps all.
      top_p: the probability to keep, in (0, 1].

    Returns:
      `[*B, V]`, the logits' dtype.
    """
    order = jnp.argsort(logits, axis=-1, descending=True, stable=True)
    rank = jnp.argsort(order, axis=-1)
    if top_k is not None:
        logits = jnp.where(rank < top_k, logits, -jnp.inf)
    if top_p < 1.0:
        p = jnp.take_along_axis(jax.nn.softmax(logits, axis=-1), order, axis=-1)
        before = jnp.cumsum(p, axis=-1) - p  # what the more probable ones add up to
        kept = jnp.take_along_axis(before < top_p, rank, axis=-1)
        logits = jnp.where(kept | (rank == 0), logits, -jnp.inf)
    return logits


def sample(key: jax.Array, logits: jax.Array, sampling: Sampling) -> jax.Array:
    """Draw one index for each row.

    Args:
      key: a PRNG key; not used at temperature 0.
      logits: `[*B, V]`, float.
      sampling: how.

    Returns:
      `[*B]`, int32.
    """
    if sampling.temperature == 0.0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    # Less the largest first, so that a tiny temperature gives -inf and never inf - inf.
    logits = logits - logits.max(axis=-1, keepdims=True)
    logits = restrict(logits / sampling.temperature, sampling.top_k, sampling.top_p)
    return jax.random.categorical(key, logits, axis=-1).astype(jnp.int32)
