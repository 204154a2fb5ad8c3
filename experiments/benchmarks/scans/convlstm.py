"""A convolutional LSTM (Shi 2015, without peepholes) over frames `[T, B, side, side, C]`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.scans.code import Code, Scan, draw, mean_square, normal

KERNEL = 3


def loss(scan: Scan, params: Any, x: jax.Array) -> jax.Array:
    """Run the layer and return the loss."""

    def step(state: Any, x_t: jax.Array) -> tuple[Any, jax.Array]:
        h, c = state
        gates = jax.lax.conv_general_dilated(
            jnp.concatenate([x_t, h], axis=-1),
            params["w"],
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        i, f, g, o = jnp.split(gates + params["b"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros_like(x[0])
    return mean_square(scan(step, (zeros, zeros), x)[1])


def build(
    rng: np.random.Generator, code: str, batch_size: int, num_steps: int, side: int, channels: int
) -> Code:
    """Draw the layer: as many channels as its frames have."""
    del code
    shapes = {"w": (KERNEL, KERNEL, 2 * channels, 4 * channels), "b": (4 * channels,)}
    return Code(draw(rng, shapes), normal(rng, num_steps, batch_size, side, side, channels), loss)
