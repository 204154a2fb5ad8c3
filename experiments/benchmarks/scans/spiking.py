"""A recurrent layer of spiking neurons, trained by a surrogate of the spike's derivative.

Leaky integrate-and-fire neurons, reset by subtraction; the surrogate is SuperSpike's (Zenke
and Ganguli 2018), as public libraries have it: a function with its own backward rule.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.scans.code import Code, Scan, draw, mean_square

LEAK, THRESHOLD, SLOPE = 0.9, 1.0, 10.0
INPUT_RATE = 0.1  # spikes a step
# Sums of so rounded weights over spikes are exact in any order: no spike is a matter of rounding.
GRID = 2.0**-12


@jax.custom_vjp
def spike(v: jax.Array) -> jax.Array:
    """Return 1 where v is above 0; the derivative is 1 / (1 + SLOPE |v|)²."""
    return (v > 0).astype(v.dtype)


def _forward(v: jax.Array) -> tuple[jax.Array, jax.Array]:
    return spike(v), v


def _backward(v: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    return (cotangent / jnp.square(1 + SLOPE * jnp.abs(v)),)


spike.defvjp(_forward, _backward)


def loss(scan: Scan, params: Any, x: jax.Array) -> jax.Array:
    """Run the layer over spikes x `[T, B, H]` and return the loss of the rates it reads."""

    def step(state: Any, x_t: jax.Array) -> tuple[Any, jax.Array]:
        v, s = state
        v = LEAK * v + x_t @ params["w_x"] + s @ params["w_h"] - THRESHOLD * s
        s = spike(v - THRESHOLD)
        return (v, s), s

    zeros = jnp.zeros_like(x[0])
    rates = jnp.mean(scan(step, (zeros, zeros), x)[1], axis=0)
    return mean_square(rates @ params["readout"])


def build(
    rng: np.random.Generator, code: str, batch_size: int, num_steps: int, hidden_size: int
) -> Code:
    """Draw the layer, and spikes to read."""
    del code
    size = hidden_size
    shapes = {"w_x": (size, size), "w_h": (size, size), "readout": (size, size)}
    scaled = jax.tree.map(lambda w: GRID * jnp.round(2 * w / GRID), draw(rng, shapes))
    x = rng.random((num_steps, batch_size, size)) < INPUT_RATE
    return Code(scaled, jnp.asarray(x, jnp.float32), loss)
