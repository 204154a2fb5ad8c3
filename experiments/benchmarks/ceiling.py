"""The best that the device does: a large square product in XLA."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

SIZES = {"cpu": 2048}  # 17 GFLOP, about 50 ms on two cores
ACCELERATOR_SIZE = 8192


def make_product(dtype: str, size: int | None = None) -> tuple[Callable[[], object], int]:
    """Return a call of one product, and its operations.

    Args:
      dtype: of the operands.
      size: N of `[N, N] @ [N, N]`; None: large enough for the device.
    """
    if size is None:
        size = SIZES.get(jax.default_backend(), ACCELERATOR_SIZE)
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (size, size), jnp.dtype(dtype)) for key in keys)
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(a, b)), 2 * size**3
