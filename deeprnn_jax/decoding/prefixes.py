"""A beam of distinct label sequences, and which of them extends which, exactly.

Two ways lead to one prefix: B may stay as it is, and A may be extended by B's last
label where A is B without it. A search that keeps both as two counts B's probability
in parts. To find such pairs without comparing whole sequences at every step, the beam
carries the length of the longest common prefix of each pair, which a step changes by
at most one:

    lcp'(a, b) = m + [both are longer than m, with the same label at m],  m = lcp(a, b)

where a and b were extended or stayed: if they differed at m before, they still do; if
not, one of them ended there, and now has at most one label more.
"""

from typing import NamedTuple

import jax.numpy as jnp

from deeprnn_jax.types import Array

_NONE = -1  # no label stands there


class Prefixes(NamedTuple):
    """K label sequences a row."""

    labels: Array  # int32 [*B, K, U], -1 past the length
    lengths: Array  # int32 [*B, K]
    common: Array  # int32 [*B, K, K], the length of the longest common prefix


def empty_prefixes(shape: tuple[int, ...], max_length: int) -> Prefixes:
    """Give the empty sequence `[*B, K]` times; a search has but one of a row's alive."""
    return Prefixes(
        labels=jnp.full((*shape, max_length), _NONE, jnp.int32),
        lengths=jnp.zeros(shape, jnp.int32),
        common=jnp.zeros((*shape, shape[-1]), jnp.int32),
    )


def last_labels(prefixes: Prefixes, blank: int) -> Array:
    """Give the last label of each, `[*B, K]`; blank where there is none."""
    places = jnp.maximum(prefixes.lengths - 1, 0)[..., None]
    last = jnp.take_along_axis(prefixes.labels, places, axis=-1)[..., 0]
    return jnp.where(prefixes.lengths > 0, last, blank)


def find_parents(prefixes: Prefixes, alive: Array) -> tuple[Array, Array]:
    """Find for each prefix the one that it extends by one label.

    Args:
      prefixes: distinct where they are alive.
      alive: bool `[*B, K]`; the others are no one's parent or child.

    Returns:
      The parent's place, int32 `[*B, K]`, and whether there is one, bool `[*B, K]`.
    """
    child, parent = prefixes.lengths[..., :, None], prefixes.lengths[..., None, :]
    is_parent = (child == parent + 1) & (prefixes.common == parent)
    is_parent &= alive[..., :, None] & alive[..., None, :]
    return jnp.argmax(is_parent, axis=-1).astype(jnp.int32), is_parent.any(axis=-1)


def extend(prefixes: Prefixes, sources: Array, labels: Array, is_extended: Array) -> Prefixes:
    """Give the beam whose place k holds the one at `sources[k]`, with a label more or not.

    Args:
      prefixes: the beam before.
      sources: int32 `[*B, K]`.
      labels: int32 `[*B, K]`, what is put at the end where `is_extended`.
      is_extended: bool `[*B, K]`.
    """
    lengths = jnp.take_along_axis(prefixes.lengths, sources, axis=-1)
    rows = jnp.take_along_axis(prefixes.labels, sources[..., None], axis=-2)
    places = jnp.arange(rows.shape[-1], dtype=jnp.int32)
    is_new = is_extended[..., None] & (places == lengths[..., None])
    rows = jnp.where(is_new, labels[..., None], rows)
    common = jnp.take_along_axis(prefixes.common, sources[..., :, None], axis=-2)
    common = jnp.take_along_axis(common, sources[..., None, :], axis=-1)
    at_common = jnp.take_along_axis(rows, common, axis=-1, mode="fill", fill_value=_NONE)
    is_same = (at_common == at_common.mT) & (at_common != _NONE)
    return Prefixes(
        rows, lengths + is_extended.astype(jnp.int32), common + is_same.astype(jnp.int32)
    )
