"""What a scan gives, with its derivatives of the first and second order, to be compared."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests import registry


def draw_weights(rng: np.random.Generator, run: Callable, *operands: Any) -> list[Any]:
    """Draw a weight for every number that a function gives, but for integers."""
    outputs = jax.tree.leaves(jax.eval_shape(run, *operands))
    inexact = [one for one in outputs if jnp.issubdtype(one.dtype, jnp.inexact)]
    return [registry.fill(rng, one, scale=1.0, dtype=one.dtype) for one in inexact]


def inner(a: Any, b: Any) -> Any:
    """Give the inner product of two trees of real numbers."""
    return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, a, b)))


class Scan:
    """A function of operands, a loss of its outputs, and the derivatives of both."""

    def __init__(self, run: Callable, weights: list[Any]):
        self.run, self.weights = run, weights

    def loss(self, operands: Any) -> Any:
        """Give a loss that is linear in no output: its cotangents vary with the point."""
        outputs = jax.tree.leaves(self.run(*operands))
        inexact = [one for one in outputs if jnp.issubdtype(one.dtype, jnp.inexact)]
        terms = jax.tree.map(lambda w, a: jnp.real(jnp.vdot(w, jnp.sin(a))), self.weights, inexact)
        return sum(terms)

    def first_order(self, operands: Any) -> tuple[Any, Any]:
        """Give the outputs and the gradient."""
        return self.run(*operands), jax.grad(self.loss)(operands)

    def forward_mode(self, operands: Any, direction: Any) -> tuple[Any, Any]:
        """Give outputs and gradient, and the derivatives of both along a direction."""
        values, slopes = jax.jvp(self.first_order, (operands,), (direction,))
        # an integer has no slope, and what JAX gives as one is no array
        return values, jax.tree.map(lambda s: s if s.dtype != jax.dtypes.float0 else None, slopes)

    def reverse_over_reverse(self, operands: Any, direction: Any) -> Any:
        """Give H·d as the gradient of a slope."""
        return jax.grad(lambda at: inner(jax.grad(self.loss)(at), direction))(operands)
