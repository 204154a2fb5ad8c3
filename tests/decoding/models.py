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
