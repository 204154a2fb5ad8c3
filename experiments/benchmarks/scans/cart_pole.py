"""The cart and pole of Barto, Sutton and Anderson (1983), as Gym's CartPole has them."""

import jax
import jax.numpy as jnp

FORCE, GRAVITY, SECONDS = 10.0, 9.8, 0.02
POLE, MASS, HALF_LENGTH = 0.1, 1.1, 0.5  # the pole's mass, and that of both
FARTHEST, STEEPEST = 2.4, 0.2095
LONGEST = 500  # steps of an episode


def begin(key: jax.Array, batch_size: int) -> jax.Array:
    """Draw where episodes begin, x `[B, 4]`: place, speed, angle and its speed."""
    return jax.random.uniform(key, (batch_size, 4), minval=-0.05, maxval=0.05)


def move(
    x: jax.Array, age: jax.Array, action: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Push left (0) or right (1), and begin again where it fell, went far, or is over.

    Returns:
      x `[B, 4]`, the age of its episodes `[B]`, and whether they are new ones.
    """
    _, speed, angle, turn = x.T
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    pushed = FORCE * (2.0 * action - 1.0) + POLE * HALF_LENGTH * turn**2 * sin
    inertia = HALF_LENGTH * (4 / 3 - POLE * cos**2 / MASS)
    d_turn = (GRAVITY * sin - cos * pushed / MASS) / inertia
    d_speed = (pushed - POLE * HALF_LENGTH * d_turn * cos) / MASS
    x = x + SECONDS * jnp.stack([speed, d_speed, turn, d_turn], axis=-1)
    done = (jnp.abs(x[:, 0]) > FARTHEST) | (jnp.abs(x[:, 2]) > STEEPEST) | (age + 1 >= LONGEST)
    fresh = begin(key, x.shape[0])
    return jnp.where(done[:, None], fresh, x), jnp.where(done, 0, age + 1), done
