"""Flax linen's own cells, as `nn.RNN` runs them: a scan of the cell, parameters closed over."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.scans.code import Code, Scan, draw, mean_square, normal

CELLS = {"flax-lstm": nn.OptimizedLSTMCell, "flax-gru": nn.GRUCell, "flax-simple": nn.SimpleCell}


def build(
    rng: np.random.Generator, code: str, batch_size: int, num_steps: int, hidden_size: int
) -> Code:
    """Draw one layer of a cell of CELLS."""
    cell = CELLS[code](features=hidden_size)
    x = normal(rng, num_steps, batch_size, hidden_size)

    def initial_carry(x: jax.Array) -> Any:
        return cell.initialize_carry(jax.random.key(0), x[0].shape)

    def loss(scan: Scan, params: Any, x: jax.Array) -> jax.Array:
        def step(carry: Any, x_t: jax.Array) -> Any:
            return cell.apply(params, carry, x_t)

        return mean_square(scan(step, initial_carry(x), x)[1])

    shapes = jax.eval_shape(
        lambda x: cell.init(jax.random.key(0), initial_carry(x), x[0]), jnp.zeros_like(x)
    )
    return Code(draw(rng, shapes), x, loss)
