"""SpecAugment: bands and stretches of time that the network has to do without.

References:
  Park et al. 2019, "SpecAugment", sections 2.1 to 2.3; without time warping, which they
  found to matter least and which speed perturbation stands in for.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class SpecAugment(NamedTuple):
    """How much is masked.

    Attributes:
      band_masks: how many masks over bands.
      max_bands: the widest of these; each width is drawn evenly from 0 on.
      time_masks: how many masks over time.
      max_frames: the widest of these.
      max_share: and the widest as a share of the utterance.
    """

    band_masks: int
    max_bands: int
    time_masks: int
    max_frames: int
    max_share: float = 0.2

    def __call__(self, key: jax.Array, frames: jax.Array, num_frames: jax.Array) -> jax.Array:
        """Mask an utterance's own bands and times.

        Args:
          key: a PRNG key.
          frames: `[T, B, F]`, of mean 0 in each band.
          num_frames: int `[B]`, the real frames of each row.

        Returns:
          The frames, 0, their mean, where masked.
        """
        band_key, time_key = jax.random.split(key)
        size, batch_size, bands = frames.shape
        whole = jnp.full((batch_size,), bands)
        widest = jnp.minimum(self.max_bands, whole)
        masked_bands = _draw_masks(band_key, self.band_masks, widest, whole, bands)
        widest = jnp.minimum(self.max_frames, (self.max_share * num_frames).astype(jnp.int32))
        masked_times = _draw_masks(time_key, self.time_masks, widest, num_frames, size)
        return jnp.where(masked_bands[None] | masked_times.T[..., None], 0.0, frames)


def _draw_masks(
    key: jax.Array, count: int, widest: jax.Array, length: jax.Array, size: int
) -> jax.Array:
    """Return where the union of some random intervals lies, bool `[B, size]`.

    Args:
      key: a PRNG key.
      count: how many intervals.
      widest: int `[B]`; a width is drawn evenly from 0 ... widest.
      length: int `[B]`; an interval lies within 0 ... length.
      size: of the last axis.
    """
    width_key, start_key = jax.random.split(key)
    shape = (count, len(length))
    widest, length = (jnp.broadcast_to(leaf, shape) for leaf in (widest, length))
    width = jax.random.randint(width_key, shape, 0, widest + 1)
    start = jax.random.randint(start_key, shape, 0, jnp.maximum(length - width, 0) + 1)
    place = jnp.arange(size)[None, None]
    inside = (place >= start[..., None]) & (place < (start + width)[..., None])
    return inside.any(axis=0)
