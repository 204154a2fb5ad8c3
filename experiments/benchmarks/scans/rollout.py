"""The GRU of an actor-critic over a rollout, its state set to zero where an episode begins."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.scans.code import Code, Scan, draw, normal

NUM_ACTIONS = 6
EPISODE = 30  # steps, on average


def loss(scan: Scan, params: Any, data: Any) -> jax.Array:
    """Return the policy gradient's loss and the values'."""
    x, resets, actions, returns = data

    def step(h: jax.Array, inputs: Any) -> tuple[jax.Array, jax.Array]:
        x_t, reset = inputs
        h = jnp.where(reset[:, None], 0.0, h)
        r, z, n = jnp.split(x_t @ params["w_x"] + params["b"], 3, axis=-1)
        h_r, h_z, h_n = jnp.split(h @ params["w_h"], 3, axis=-1)
        z = jax.nn.sigmoid(z + h_z)
        n = jnp.tanh(n + jax.nn.sigmoid(r + h_r) * (h_n + params["b_hn"]))
        h = (1 - z) * n + z * h
        return h, h

    y = scan(step, jnp.zeros_like(x[0]), (x, resets))[1]
    log_probs = jax.nn.log_softmax(y @ params["policy"])
    taken = jnp.take_along_axis(log_probs, actions[..., None], axis=-1)[..., 0]
    advantages = returns - (y @ params["value"])[..., 0]
    return jnp.mean(jnp.square(advantages) - jax.lax.stop_gradient(advantages) * taken)


def build(
    rng: np.random.Generator, code: str, batch_size: int, num_steps: int, hidden_size: int
) -> Code:
    """Draw the network, and a rollout."""
    del code
    size = hidden_size
    shapes = {
        "w_x": (size, 3 * size),
        "w_h": (size, 3 * size),
        "b": (3 * size,),
        "b_hn": (size,),
        "policy": (size, NUM_ACTIONS),
        "value": (size, 1),
    }
    steps = (num_steps, batch_size)
    data = (
        normal(rng, *steps, size),
        jnp.asarray(rng.random(steps) < 1 / EPISODE),
        jnp.asarray(rng.integers(NUM_ACTIONS, size=steps), jnp.int32),
        normal(rng, *steps),
    )
    return Code(draw(rng, shapes), data, loss)
