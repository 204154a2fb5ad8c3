"""Matrices with orthonormal rows, by Gram and Schmidt's method in blocks.

`jax.nn.initializers.orthogonal` takes the Q of a LAPACK QR decomposition. On CPU, LAPACK
calls of XLA's runtime can wait for each other for ever when two networks, or two stacks of
layers, are drawn under one jit (jaxlib 0.10.2 on 2 cores, from 256 units on). Products alone
cannot. Gram and Schmidt's Q is the same one, that whose R has a positive diagonal.

Done once, the method loses orthogonality as the square of the condition number; done twice,
it is orthogonal to rounding (Giraud et al. 2005, "Rounding error analysis of the classical
Gram-Schmidt orthogonalization process", theorem 2).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.made import made_function
from deeprnn_jax.types import Array

_BLOCK = 32  # rows; products with fewer are slow, and within a block there are only vectors


@jax.jit  # traced once a shape, and not once a layer and gate
def orthonormal_rows(a: Array) -> Array:
    """Make the rows of a matrix orthonormal, one after the other.

    Args:
      a: `[rows, columns]` of full rank, no more rows than columns; floating point of 32 bits
        or more.

    Returns:
      Q of the same shape and dtype: its first k rows span what the first k of `a` do, and
      each has a positive product with its own row of `a`.
    """
    rows = a.shape[0]
    size = min(_BLOCK, rows)
    num_blocks = -(-rows // size)
    # Rows of zeros fill up the last block; they stay zero.
    blocks = jnp.pad(a, [(0, num_blocks * size - rows), (0, 0)])

    def orthonormalise(index: Array, q: Array) -> Array:
        block = lax.dynamic_slice_in_dim(blocks, index * size, size)
        block = lax.fori_loop(0, 2, lambda _, one: _within_block(_without(one, q)), block)
        return lax.dynamic_update_slice_in_dim(q, block, index * size, axis=0)

    q = lax.fori_loop(0, num_blocks, orthonormalise, jnp.zeros_like(blocks))
    return q[:rows]


def _without(x: Array, q: Array) -> Array:
    """Take from vectors `[..., columns]` their parts along the rows of q; zero rows take none."""
    along = jnp.matmul(x, q.T, precision=lax.Precision.HIGHEST)
    return x - jnp.matmul(along, q, precision=lax.Precision.HIGHEST)


def _within_block(block: Array) -> Array:
    def orthonormalise(index: Array, q: Array) -> Array:
        row = _without(_without(block[index], q), q)
        norm = jnp.sqrt(jnp.sum(jnp.square(row)))
        return q.at[index].set(row / jnp.where(norm > 0, norm, 1))

    return lax.fori_loop(0, block.shape[0], orthonormalise, jnp.zeros_like(block))


@made_function
def orthogonal(scale: float = 1.0, column_axis: int = -1) -> Callable[..., Array]:
    """Draw a matrix uniformly from the orthogonal ones.

    The draws are those of `jax.nn.initializers.orthogonal`, to rounding, with the same key.
    Where a matrix is not square, its shorter side's vectors are orthonormal.

    Args:
      scale: what the matrix is multiplied by.
      column_axis: the axis of the columns; all others together are the rows.

    Returns:
      An initialiser `(key, shape, dtype=float32) -> array`. It raises ValueError for a
      shape of fewer than two axes, and for a complex dtype.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> w = drnn.initializers.orthogonal()(jax.random.key(0), (3, 3))
      >>> bool(abs(w @ w.T - jax.numpy.eye(3)).max() < 1e-6)
      True

    References:
      Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
      neural networks", section 3.
    """

    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"orthogonal: dtype must be a real floating one, got {dtype}")
        if len(shape) < 2:
            raise ValueError(
                f"orthogonal: needs a shape of two or more axes, got {tuple(shape)}; "
                "for a vector use uniform() or zeros"
            )
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        columns = shape[column_axis]
        rows = math.prod(shape) // columns
        # At least float32: neither the draw nor the method is of use in 16 bits.
        exact = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32
        tall = (max(rows, columns), min(rows, columns))
        q = orthonormal_rows(jax.random.normal(key, tall, exact).T)
        q = q if rows < columns else q.T
        q = q.reshape(*(n for i, n in enumerate(shape) if i != column_axis % len(shape)), columns)
        return (scale * jnp.moveaxis(q, -1, column_axis)).astype(dtype)

    return init
