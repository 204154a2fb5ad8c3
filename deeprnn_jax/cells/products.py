"""The products and sums that cells use, and the zeros that states begin with."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.types import Array


class GatedProjection(NamedTuple):
    """The recurrent projection of a cell whose gate acts before a second product.

    The state goes along because that second product must see it as the first did:
    with a modifier's mask, say.
    """

    gates: Array  # [*B, G*H]
    h: Array  # [*B, H]


def accumulation_dtype(dtype: Any) -> Any:
    """Give the dtype that sums are kept in: float32, or wider if `dtype` is."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits > 32 else jnp.dtype(jnp.float32)


def dot(x: Array, w: Array) -> Array:
    """Multiply x [..., K] by w [K, N] in w's dtype, summed in at least float32.

    Args:
      x: `[..., K]`, any floating dtype.
      w: `[K, N]`; its dtype is that of the product's operands.

    Returns:
      `[..., N]` in float32, or in w's dtype if that is wider.
    """
    rows = x.astype(w.dtype).reshape(-1, x.shape[-1])
    out = jnp.matmul(rows, w, preferred_element_type=accumulation_dtype(w.dtype))
    return out.reshape(*x.shape[:-1], w.shape[-1])


def zeros_state(params: Any, batch_shape: tuple[int, ...], size: int) -> Array:
    """Give zeros `[*B, size]` in the dtype that the parameters' sums have."""
    dtype = jax.tree.leaves(params)[0].dtype
    return jnp.zeros((*batch_shape, size), accumulation_dtype(dtype))


def add_bias(z: Array, b: Array | None) -> Array:
    """Add b [N] to z [..., N]; leave z as it is where the cell has no bias."""
    return z if b is None else z + lax.broadcast_to_rank(b, z.ndim)


def scale_units(gain: Array, z: Array) -> Array:
    """Multiply z [..., N] by gain [N], each unit by its own."""
    return lax.broadcast_to_rank(gain, z.ndim) * z
