"""From logits to one drawn index: temperature, top-k, top-p.

    p = softmax(logits / temperature), restricted to
        top-k: the k largest, then
        top-p: the fewest largest whose probabilities (renormalised after top-k)
               add up to at least p.

The most probable index is always kept. Equal logits are taken in order of their
index, so that exactly k remain.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deeprnn_jax.checks import check_floating, check_key, is_number
from deeprnn_jax.decoding.arguments import as_per_row, is_known, is_real
from deeprnn_jax.decoding.indexing import places_in, put
from deeprnn_jax.decoding.log_probs import widen
from deeprnn_jax.types import Array


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to draw from logits.

    A pytree whose leaves are the arrays among temperature and top_p: these may be traced,
    so that `jax.vmap` goes over them, with the draws that the same numbers give. Plain
    numbers are no leaves: they stay static where a `Sampling` is an argument of a jitted
    function, and one of them alone is hashable.

    Args:
      temperature: divides the logits; 1 is the model as it is, 0 always takes the
        most probable index, traced too. One for all rows, or an array `[*B]`.
      top_k: draw from the k most probable alone; None: from all. Static: shapes depend
        on it.
      top_p: draw from the fewest most probable that have this probability together;
        1: from all. One for all rows, or an array `[*B]`.

    Raises:
      ValueError: if temperature is negative or not finite, top_k is not an int of 1 or
        more, or top_p is outside (0, 1]. What is traced is not looked at: there a
        temperature below 0 or NaN is taken for 0, and a top_p that is not above 0 keeps
        the most probable alone.

    Example:
      >>> from deeprnn_jax.decoding import Sampling, sample_logits
      >>> Sampling(temperature=0.7, top_k=40)
      Sampling(temperature=0.7, top_k=40, top_p=1.0)

      Greedy and not, of the same logits:

      >>> import jax, jax.numpy as jnp
      >>> key, logits = jax.random.key(0), jnp.array([0.0, 2.0, 1.0])
      >>> draw = jax.vmap(lambda t: sample_logits(key, logits, Sampling(temperature=t)))
      >>> draw(jnp.array([0.0, 0.5, 1.0])).shape
      (3,)
    """

    temperature: Array | float = 1.0
    top_k: int | None = None
    top_p: Array | float = 1.0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not _is_inside(self.temperature, lambda values: (values >= 0) & (values < np.inf)):
            raise ValueError(
                f"Sampling: temperature must be finite and >= 0, got {self.temperature!r}; 0 "
                "takes the most probable symbol, 1 draws from the model as it is"
            )
        is_int = isinstance(self.top_k, int | np.integer) and not isinstance(self.top_k, bool)
        if self.top_k is not None and not (is_int and self.top_k >= 1):
            raise ValueError(
                f"Sampling: top_k must be an int of 1 or more, got {self.top_k!r}; leave it away "
                "for all"
            )
        if not _is_inside(self.top_p, lambda values: (values > 0) & (values <= 1)):
            raise ValueError(f"Sampling: top_p must be in (0, 1], got {self.top_p!r}; 1 keeps all")

    def tree_flatten(self) -> tuple[tuple, tuple]:
        """Give the arrays, None in the place of numbers, and what is static."""
        values = self.temperature, self.top_p
        arrays = tuple(None if is_number(value) else value for value in values)
        numbers = tuple(value if is_number(value) else None for value in values)
        return arrays, (numbers, self.top_k)

    @classmethod
    def tree_unflatten(cls, static: tuple, arrays: tuple) -> "Sampling":
        """Put both together, unchecked: JAX also puts other things in the place of arrays."""
        numbers, top_k = static
        temperature, top_p = (
            array if number is None else number
            for array, number in zip(arrays, numbers, strict=True)
        )
        sampling = object.__new__(cls)
        sampling.__dict__.update(temperature=temperature, top_k=top_k, top_p=top_p)
        return sampling


def _is_inside(value: Any, inside: Callable[[np.ndarray], Any]) -> bool:
    """Tell whether it is a real number, or an array of them, in a range as far as is known."""
    return is_real(value) and (not is_known(value) or bool(np.all(inside(np.asarray(value)))))


def restrict_logits(logits: Array, sampling: Sampling) -> Array:
    """Set the logits outside top-k and top-p to -inf.

    Args:
      logits: `[*B, V]`, floating point; the temperature must be in them already.
        NaN counts as the largest.
      sampling: what to keep; its temperature is not used. A top_k above V keeps all. A
        top_p of 1 that is an array sorts all V, for nothing.

    Returns:
      `[*B, V]`, the logits' dtype; what is kept is as it was.

    Raises:
      ValueError: if logits are not floating point or have no axis, or top_p is an array
        that is not `[*B]`.

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
    *batch_shape, size = logits.shape
    num_kept = size if sampling.top_k is None else min(sampling.top_k, size)
    keeps_all = is_number(sampling.top_p) and sampling.top_p == 1.0
    if num_kept == size and keeps_all:
        return logits
    values, indices = lax.top_k(logits, num_kept)  # the lower index first among equals
    kept = jnp.ones(values.shape, bool)
    if not keeps_all:
        p = jax.nn.softmax(widen(values), axis=-1)
        top_p = as_per_row("restrict_logits", "top_p", sampling.top_p, tuple(batch_shape), p.dtype)
        top_p = top_p[..., None]
        before = jnp.cumsum(p, axis=-1) - p  # what the more probable ones add up to
        # 1 keeps all, also where the sum comes to 1 by rounding before the last.
        kept = (before < top_p) | (places_in(values.shape) == 0) | (top_p >= 1.0)
    mask = put(jnp.zeros(logits.shape, bool), indices, kept)
    return jnp.where(mask, logits, -jnp.inf)


def sample_logits(key: Array, logits: Array, sampling: Sampling = Sampling()) -> Array:
    """Draw one index for each row.

    A row with NaN or +inf among its logits, or with nothing but -inf, is no distribution:
    it gives index 0, at every temperature. `generate` then gives the log-probability -inf.

    Args:
      key: a random key; has no part in what temperature 0 takes.
      logits: `[*B, V]`, floating point; probabilities are computed in float32 or wider.
      sampling: how.

    Returns:
      `[*B]`, int32.

    Raises:
      ValueError: if `key` is not a random key, logits are not floating point or have no
        axis, or temperature or top_p is an array that is not `[*B]`.

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
    drawn = jnp.argmax(logits, axis=-1)
    if not (is_number(sampling.temperature) and sampling.temperature == 0.0):
        # Less the largest first, so that a tiny temperature gives -inf and never inf - inf.
        wide = widen(logits) - widen(largest)
        temperature = as_per_row(
            "sample_logits", "temperature", sampling.temperature, logits.shape[:-1], wide.dtype
        )
        # Below the smallest normal number, 0 among them, some devices divide by 0.
        is_random = temperature >= jnp.finfo(wide.dtype).tiny
        scaled = wide / jnp.where(is_random, temperature, 1.0)[..., None]
        random = jax.random.categorical(key, restrict_logits(scaled, sampling), axis=-1)
        drawn = jnp.where(is_random, random, drawn)
    return jnp.where(jnp.isfinite(largest[..., 0]), drawn, 0).astype(jnp.int32)


def _check_logits(function: str, logits: Any) -> None:
    check_floating(function, "logits", logits)
    if logits.ndim < 1 or logits.shape[-1] < 1:
        raise ValueError(
            f"{function}: logits must be [*B, V] with V of 1 or more, got shape {logits.shape}"
        )
