"""Equinox's `GRUCell`, which takes one row, under `vmap` in a scan."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.peers.contract import library
from experiments.benchmarks.scans.code import Code, Scan, draw, mean_square, normal


def loss(scan: Scan, cell: Any, x: jax.Array) -> jax.Array:
    """Run the cell over x `[T, B, H]` and return the loss."""

    def step(h: jax.Array, x_t: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = jax.vmap(cell)(x_t, h)
        return h, h

    return mean_square(scan(step, jnp.zeros_like(x[0]), x)[1])


def build(
    rng: np.random.Generator, code: str, batch_size: int, num_steps: int, hidden_size: int
) -> Code:
    """Draw the cell."""
    del code
    eqx = library("equinox")
    shapes = eqx.filter_eval_shape(eqx.nn.GRUCell, hidden_size, hidden_size, key=jax.random.key(0))
    return Code(draw(rng, shapes), normal(rng, num_steps, batch_size, hidden_size), loss)
