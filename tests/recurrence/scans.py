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


def _without_integers(slopes: Any) -> Any:
    """Leave out an integer's slope: what JAX gives as one is no array."""
    return jax.tree.map(lambda s: s if s.dtype != jax.dtypes.float0 else None, slopes)


class Scan:
    """A function of operands, a loss of its outputs, and the derivatives of both.

    Outputs are those of a run without a gradient, which is another program; of a function
    that is only compared with (`apart=False`) those of the run with it, which compiles sooner.
    """

    def __init__(self, run: Callable, weights: list[Any], *, apart: bool = True):
        self.run, self.weights, self.apart = run, weights, apart

    def loss(self, operands: Any) -> Any:
        """Give a loss that is linear in no output: its cotangents vary with the point."""
        return self._loss_and_outputs(operands)[0]

    def _loss_and_outputs(self, operands: Any) -> tuple[Any, Any]:
        outputs = self.run(*operands)
        leaves = jax.tree.leaves(outputs)
        inexact = [one for one in leaves if jnp.issubdtype(one.dtype, jnp.inexact)]
        terms = jax.tree.map(lambda w, a: jnp.real(jnp.vdot(w, jnp.sin(a))), self.weights, inexact)
        return sum(terms), outputs

    def first_order(self, operands: Any) -> tuple[Any, Any]:
        """Give the outputs and the gradient."""
        if self.apart:
            return self.run(*operands), jax.grad(self.loss)(operands)
        grads, outputs = jax.grad(self._loss_and_outputs, has_aux=True)(operands)
        return outputs, grads

    def slopes(self, operands: Any, direction: Any) -> tuple[Any, Any]:
        """Give the outputs and their derivatives along a direction."""
        outputs, slopes = jax.jvp(self.run, operands, direction)
        return outputs, _without_integers(slopes)

    def forward_mode(self, operands: Any, direction: Any) -> tuple[Any, Any]:
        """Give outputs and gradient, and the derivatives of both along a direction."""
        values, slopes = jax.jvp(self.first_order, (operands,), (direction,))
        return values, _without_integers(slopes)

    def reverse_over_reverse(self, operands: Any, direction: Any) -> Any:
        """Give H·d as the gradient of a slope."""
        return jax.grad(lambda at: inner(jax.grad(self.loss)(at), direction))(operands)
