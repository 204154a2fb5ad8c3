"""SpecAugment: bands and stretches of time that the network has to do without.

References:
  Park et al. 2019, "SpecAugment", sections 2.1 to 2.3; without time warping, which they
  found to matter least and which speed perturbation stands in for.
"""

import jax
import jax.numpy as jnp

from experiments.speech_recognition.config import Config

_MAX_SHARE = 0.2  # the widest mask over time, as a share of the utterance


def spec_augment(
    key: jax.Array, frames: jax.Array, num_frames: jax.Array, config: Config
) -> jax.Array:
    """Mask each utterance's own bands and times.

    Args:
      key: draws the masks.
      frames: `[T, B, F]`, of mean 0 in each band.
      num_frames: int `[B]`, the real frames of each row.
      config: how many masks, and the widest of them; each width is drawn evenly from 0 on.

    Returns:
      The frames, 0, their mean, where masked.
    """
    band_key, time_key = jax.random.split(key)
    size, batch_size, bands = frames.shape
    whole = jnp.full((batch_size,), bands)
    widest = jnp.minimum(config.max_bands, whole)
    masked_bands = _draw_masks(band_key, config.band_masks, widest, whole, bands)
    widest = jnp.minimum(config.max_frames, (_MAX_SHARE * num_frames).astype(jnp.int32))
    masked_times = _draw_masks(time_key, config.time_masks, widest, num_frames, size)
    return jnp.where(masked_bands[None] | masked_times.T[..., None], 0.0, frames)


def _draw_masks(
    key: jax.Array, count: int, widest: jax.Array, length: jax.Array, size: int
) -> jax.Array:
    """Return where the union of `count` random intervals lies, bool `[B, size]`.

    Widths are drawn evenly from 0 ... widest `[B]`, places within 0 ... length `[B]`.
    """
    width_key, start_key = jax.random.split(key)
    shape = (count, len(length))
    widest, length = (jnp.broadcast_to(leaf, shape) for leaf in (widest, length))
    width = jax.random.randint(width_key, shape, 0, widest + 1)
    start = jax.random.randint(start_key, shape, 0, jnp.maximum(length - width, 0) + 1)
    place = jnp.arange(size)[None, None]
    inside = (place >= start[..., None]) & (place < (start + width)[..., None])
    return inside.any(axis=0)
