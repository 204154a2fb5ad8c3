"""A translator's decoder, two LSTM layers that attend to the encoder's outputs, in one scan.

Luong's attention with input feeding (2015, section 3.3), under teacher forcing.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.scans.code import Code, Scan, draw, mean_square, normal


def _lstm(weights: Any, state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    h, c = state
    gates = jnp.concatenate([x, h], axis=-1) @ weights["w"] + weights["b"]
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def loss(scan: Scan, params: Any, x: jax.Array) -> jax.Array:
    """Decode x `[T, B, H]`, the embedded target words, and return the loss."""
    weights, memory = params["weights"], params["memory"]  # memory [B, S, H]

    def step(carry: Any, x_t: jax.Array) -> tuple[Any, jax.Array]:
        first, second, attended = carry
        first, y = _lstm(weights["first"], first, jnp.concatenate([x_t, attended], axis=-1))
        second, y = _lstm(weights["second"], second, y)
        scores = jnp.einsum("bh,bsh->bs", y @ weights["query"], memory)
        context = jnp.einsum("bs,bsh->bh", jax.nn.softmax(scores), memory)
        attended = jnp.tanh(jnp.concatenate([context, y], axis=-1) @ weights["output"])
        return (first, second, attended), attended

    zeros = jnp.zeros_like(x[0])
    return mean_square(scan(step, ((zeros, zeros), (zeros, zeros), zeros), x)[1])


def build(
    rng: np.random.Generator,
    code: str,
    batch_size: int,
    num_steps: int,
    memory_size: int,
    hidden_size: int,
) -> Code:
    """Draw the decoder; the memory is among what has a gradient, the encoder's."""
    del code
    size = hidden_size
    weights = {
        "first": {"w": (3 * size, 4 * size), "b": (4 * size,)},
        "second": {"w": (2 * size, 4 * size), "b": (4 * size,)},
        "query": (size, size),
        "output": (2 * size, size),
    }
    memory = normal(rng, batch_size, memory_size, size)
    x = normal(rng, num_steps, batch_size, size)
    return Code({"weights": draw(rng, weights), "memory": memory}, x, loss)
