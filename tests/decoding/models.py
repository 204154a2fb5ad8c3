"""Models to decode from: tables whose numbers a test knows, and small networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import deeprnn_jax as drnn


def history_logits(rng, size, num_steps, dtype=np.float64):
    """Draw logits for every history of up to num_steps tokens.

    Returns:
      `[T, V^(T-1), V]`: at step t, the row of a history is its tokens as digits in base V.
    """
    return rng.normal(size=(num_steps, size ** (num_steps - 1), size)).astype(dtype)


def table_step(table):
    """Make a step that reads a table `[*B, T, histories, V]`; start tokens are not looked at."""
    size = table.shape[-1]

    def step(state, tokens):
        t, row = state  # [*B, K] each
        row = jnp.where(t == 0, 0, row * size + tokens)
        batch_ndim = table.ndim - 3
        rows = table.reshape(*table.shape[:batch_ndim], -1, size)
        index = t * table.shape[-2] + row
        extra = index.ndim - batch_ndim
        index = index.reshape(*index.shape[:batch_ndim], -1)
        logits = jnp.take_along_axis(rows, index[..., None], axis=-2, mode="clip")
        logits = logits.reshape(*t.shape, size) if extra else logits[..., 0, :]
        return (t + 1, row), logits

    return step


def table_state(batch_shape):
    return jnp.zeros(batch_shape, jnp.int32), jnp.zeros(batch_shape, jnp.int32)


def draw_confident(num_steps, size, rows=None):
    """Draw logits `[T, size]`, or `[T, rows, size]`, that are 20 higher for one of all."""
    shape = (num_steps,) if rows is None else (num_steps, rows)
    rng = np.random.default_rng(0)
    path = rng.integers(0, size, size=shape)
    return 20.0 * np.eye(size)[path] + 0.5 * rng.normal(size=(*shape, size))


@functools.cache
def language_model(size=5, hidden_size=8, num_layers=2, dtype=jnp.float32):
    """Give a network over tokens, its parameters and its step `(state, tokens)`."""
    rnn = drnn.deep_rnn(drnn.lstm(hidden_size), num_layers, output_size=size)
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), size))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), dtype), shapes)

    def step(state, tokens):
        return rnn.step(params, state, jax.nn.one_hot(tokens, size, dtype=dtype))

    return rnn, params, step


def units_first(step, state):
    """Give the same step and state with the last axis of each leaf first: `[H, *B]`."""

    def turn(state):
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), state)

    def turned_step(state, tokens):
        state, logits = step(jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), state), tokens)
        return turn(state), logits

    return turned_step, turn(state)
