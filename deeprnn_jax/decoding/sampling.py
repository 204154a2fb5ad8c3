"""From logits to one drawn index: temperature, top-k, top-p.

    p = softmax(logits / temperature), restricted to
        top-k: the k largest, then
        top-p: the fewest largest whose probabilities (renormalised after top-k)
               add up to at least p.

The most probable index is always kept. Equal logits are taken in order of their
index, so that exactly k remain.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deeprnn_jax.checks import check_floating, check_key, is_number
from deeprnn_jax.decoding.steps import places_in, widen
from deeprnn_jax.types import Array


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to draw from logits.

    Hashable and without arrays: a jitted function may take it as it is. For a temperature
    that is traced, or one a row, divide the logits by it and leave it 1 here: by
    `temperature[..., None]` before `sample_logits`, or in the step that `generate` reads,
    whose log-probabilities are then of the divided logits.

    Args:
      temperature: divides the logits; 1 is the model as it is, 0 always takes the
        most probable index.
      top_k: draw from the k most probable alone; None: from all.
      top_p: draw from the fewest most probable that have this probability together;
        1: from all.

    Raises:
      ValueError: if temperature is negative or not finite, top_k is not an int of 1 or
        more, or top_p is outside (0, 1].

    Example:
      >>> from deeprnn_jax.decoding import Sampling
      >>> Sampling(temperature=0.7, top_k=40)
      Sampling(temperature=0.7, top_k=40, top_p=1.0)
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not (is_number(self.temperature) and 0.0 <= self.temperature < float("inf")):
            raise ValueError(
                f"Sampling: temperature must be finite and >= 0, got {self.temperature!r}; 0 "
                "takes the most probable symbol, 1 draws from the model as it is"
            )
        is_int = isinstance(self.top_k, int | np.integer) and not isinstance(self.top_k, bool)
        if self.top_k is not None and not (is_int and self.top_k >= 1):
            raise ValueError(
                f"Sampling: top_k must be >= 1, got {self.top_k!r}; leave it away for all"
            )
        if not (is_number(self.top_p) and 0.0 < self.top_p <= 1.0):
            raise ValueError(f"Sampling: top_p must be in (0, 1], got {self.top_p!r}; 1 keeps all")


def restrict_logits(logits: Array, sampling: Sampling) -> Array:
    """Set the logits outside top-k and top-p to -inf.

    Args:
      logits: `[*B, V]`, floating point; the temperature must be in them already.
        NaN counts as the largest.
      sampling: what to keep; its temperature is not used. A top_k above V keeps all.

    Returns:
      `[*B, V]`, the logits' dtype; what is kept is as it was.

    Raises:
      ValueError: if logits are not floating point or have no axis.

    Example:
      >>> import jax.numpy as jnp
      >>> from deeprnn_jax.decoding import Sampling, restrict_logits
      >>> restrict_logits(jnp.array([1.0, 3.0, 2.0]), Sampling(top_k=2)).tolist()
      [-inf, 3.0, 2.0]

    References:
      Top-k: Fan et al. 2018. Top-p: Holtzman et al. 2020, "nucleus sampling"; here of
      what top-k left.
    """
    _check_logits("restrict_logits", logits)
    size = logits.shape[-1]
    num_kept = size if sampling.top_k is None else min(sampling.top_k, size)
    if num_kept == size and sampling.top_p == 1.0:
        return logits
    values, indices = lax.top_k(logits, num_kept)  # the lower index first among equals
    kept = jnp.ones(values.shape, bool)
    if sampling.top_p < 1.0:
        p = jax.nn.softmax(widen(values), axis=-1)
        before = jnp.cumsum(p, axis=-1) - p  # what the more probable ones add up to
        kept = (before < sampling.top_p) | (places_in(values.shape) == 0)
    none = jnp.zeros(logits.shape, bool)
    mask = jnp.put_along_axis(none, indices, kept, axis=-1, inplace=False)
    return jnp.where(mask, logits, -jnp.inf)


def sample_logits(key: Array, logits: Array, sampling: Sampling = Sampling()) -> Array:
    """Draw one index for each row.

    A row with NaN or +inf among its logits, or with nothing but -inf, is no distribution:
    it gives index 0, at every temperature. `generate` then gives the log-probability -inf.

    Args:
      key: a random key; not used at temperature 0.
      logits: `[*B, V]`, floating point; probabilities are computed in float32 or wider.
      sampling: how.

    Returns:
      `[*B]`, int32.

    Raises:
      ValueError: if `key` is not a random key, or logits are not floating point or have
        no axis.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from deeprnn_jax.decoding import Sampling, sample_logits
      >>> logits = jnp.array([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]])
      >>> sample_logits(jax.random.key(0), logits, Sampling(temperature=0.0)).tolist()
      [1, 0]
    """
    check_key("sample_logits", key)
    _check_logits("sample_logits", logits)
    logits = jnp.asarray(logits)
    largest = logits.max(axis=-1, keepdims=True)  # NaN where there is one
    if sampling.temperature == 0.0:
        drawn = jnp.argmax(logits, axis=-1)
    else:
        # Less the largest first, so that a tiny temperature gives -inf and never inf - inf.
        scaled = (widen(logits) - widen(largest)) / sampling.temperature
        drawn = jax.random.categorical(key, restrict_logits(scaled, sampling), axis=-1)
    return jnp.where(jnp.isfinite(largest[..., 0]), drawn, 0).astype(jnp.int32)


def _check_logits(function: str, logits: Any) -> None:
    check_floating(function, "logits", logits)
    if logits.ndim < 1 or logits.shape[-1] < 1:
        raise ValueError(
            f"{function}: logits must be [*B, V] with V of 1 or more, got shape {logits.shape}"
        )
