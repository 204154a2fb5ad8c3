"""Two cells as a user writes them, in about 20 lines each, and their oracles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax import factory, split_cell, step_cell
from tests.oracle import OracleCell, sigmoid, zeros


class LeakyParams(NamedTuple):
    w_x: jax.Array
    w_h: jax.Array
    leak: jax.Array


class LeakyState(NamedTuple):
    h: jax.Array


@factory
def leaky(size):
    """h = (1 - a) ⊙ h + a ⊙ tanh(W_x x + W_h h), a = σ(leak): `update` has a parameter."""

    def init(key, input_size):
        w_x = jax.random.normal(key, (input_size, size))
        return LeakyParams(w_x, jnp.eye(size), jnp.zeros(size))

    def initial_state(params, batch_shape):
        del params
        return LeakyState(jnp.zeros((*batch_shape, size)))

    def update(params, state, x_proj, h_proj):
        a = jax.lax.broadcast_to_rank(jax.nn.sigmoid(params.leak), x_proj.ndim)
        h = (1 - a) * state.h + a * jnp.tanh(x_proj + h_proj)
        return LeakyState(h), h

    return split_cell(
        init,
        initial_state,
        project_input=lambda params, x: x @ params.w_x,
        project_state=lambda params, state: state.h @ params.w_h,
        update=update,
        output_size=size,
        output="h",
    )


def oracle_leaky():
    def step(p, s, x, norm_x=lambda z: z, norm_h=lambda z: z):
        a = sigmoid(p.leak)
        h = (1 - a) * s["h"] + a * np.tanh(norm_x(x @ p.w_x) + norm_h(s["h"] @ p.w_h))
        return {"h": h}, h, {}

    return OracleCell(step, zeros)


class TransitionParams(NamedTuple):
    w_x: jax.Array
    w_h: jax.Array
    w_deep: jax.Array
    w_y: jax.Array


class TransitionState(NamedTuple):
    h: jax.Array
    sum: jax.Array


class TransitionGates(NamedTuple):
    u: jax.Array


@factory
def deep_transition(size):
    """u = tanh(W_x x + W_h h), h = tanh(W_deep u): no split, y of another width than h."""

    def init(key, input_size):
        k_x, k_y = jax.random.split(key)
        return TransitionParams(
            w_x=jax.random.normal(k_x, (input_size, size)),
            w_h=jnp.eye(size),
            w_deep=jnp.eye(size),
            w_y=jax.random.normal(k_y, (size, 3)),
        )

    def initial_state(params, batch_shape):
        del params
        return TransitionState(jnp.zeros((*batch_shape, size)), jnp.zeros((*batch_shape, 2)))

    def gates(params, state, x, h_proj):
        assert h_proj is None
        return TransitionGates(jnp.tanh(x @ params.w_x + state.h @ params.w_h))

    def step(params, state, x):
        u = gates(params, state, x, None).u
        h = jnp.tanh(u @ params.w_deep)
        return TransitionState(h, 0.5 * state.sum + h[..., :2]), h @ params.w_y

    return step_cell(init, initial_state, step, output_size=3, gates=gates, output=False)


def oracle_deep_transition():
    def step(p, s, x, norm_x=lambda z: z, norm_h=lambda z: z):
        u = np.tanh(x @ p.w_x + s["h"] @ p.w_h)
        h = np.tanh(u @ p.w_deep)
        return {"h": h, "sum": 0.5 * s["sum"] + h[:2]}, h @ p.w_y, {"u": u}

    return OracleCell(step, zeros)
