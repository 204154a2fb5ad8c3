"""A Kalman filter's log-likelihood, by whose gradient a linear model is fitted."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve

from experiments.benchmarks.scans.code import Code, Scan, draw, normal


def loss(scan: Scan, params: Any, y: jax.Array) -> jax.Array:
    """Return the mean negative log-likelihood of y `[T, D]`.

    x_t = A x_{t-1} + q_t, y_t = C x_t + r_t; q and r are normal, of variances Q and R.
    """
    a, c = params["A"], params["C"]
    q, r = jnp.diag(jnp.exp(params["log_q"])), jnp.diag(jnp.exp(params["log_r"]))

    def step(state: Any, y_t: jax.Array) -> tuple[Any, jax.Array]:
        mean, covariance = state
        mean, covariance = a @ mean, a @ covariance @ a.T + q
        error = y_t - c @ mean
        factor = cho_factor(c @ covariance @ c.T + r, lower=True)
        gain = cho_solve(factor, c @ covariance).T
        log_det = 2 * jnp.sum(jnp.log(jnp.diag(factor[0])))
        distance = error @ cho_solve(factor, error)
        log_likelihood = -0.5 * (distance + log_det + error.size * jnp.log(2 * jnp.pi))
        return (mean + gain @ error, covariance - gain @ c @ covariance), log_likelihood

    size = a.shape[0]
    return -jnp.mean(scan(step, (jnp.zeros(size), jnp.eye(size)), y)[1])


def build(rng: np.random.Generator, code: str, num_steps: int, num_states: int) -> Code:
    """Draw a model that half as many numbers are seen of as it has states."""
    del code
    num_seen = num_states // 2
    shapes = {
        "A": (num_states, num_states),
        "C": (num_seen, num_states),
        "log_q": (num_states,),
        "log_r": (num_seen,),
    }
    return Code(draw(rng, shapes), normal(rng, num_steps, num_seen), loss)
