"""What a code is: a loss with its numbers, and `scan` left open."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Scan = Callable[..., tuple[Any, Any]]  # called as jax.lax.scan is


class Code(NamedTuple):
    """A loss as its public code has it, its parameters, and its data."""

    params: Any  # what has a gradient
    data: Any
    loss: Callable[[Scan, Any, Any], jax.Array]  # (scan, params, data) -> scalar
    # (scan, params, data) -> (loss, new params); None: one step of gradient descent
    update: Callable[[Scan, Any, Any], tuple[jax.Array, Any]] | None = None


def draw(rng: np.random.Generator, shapes: Any) -> Any:
    """Draw parameters: weights of variance 1 / (3 fan_in), vectors small but not zero.

    (The libraries' own `init` is not used: its orthogonal matrices take seconds to compile.)

    Args:
      rng: the source.
      shapes: a tree of what has a shape, or of shapes, as `jax.eval_shape` gives it.
    """

    def one(shape: Any) -> jax.Array:
        sizes = getattr(shape, "shape", shape)
        fan_in = np.prod(sizes[:-1]) if len(sizes) > 1 else 100
        return jnp.asarray(rng.uniform(-1, 1, sizes) / np.sqrt(fan_in), jnp.float32)

    return jax.tree.map(one, shapes, is_leaf=lambda node: type(node) is tuple)


def normal(rng: np.random.Generator, *sizes: int) -> jax.Array:
    """Draw from the normal distribution."""
    return jnp.asarray(rng.normal(size=sizes), jnp.float32)


def mean_square(y: jax.Array) -> jax.Array:
    """Return the mean of y², the loss where a code is a layer alone."""
    return jnp.mean(jnp.square(y))
