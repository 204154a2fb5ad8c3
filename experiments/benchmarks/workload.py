"""What a row is run on: our network, its parameters, and the inputs all peers share."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import deeprnn_jax as drnn
from experiments.benchmarks.grid import Row

DROPOUT_RATE = 0.25


class Workload(NamedTuple):
    """One row, with numbers."""

    row: Row
    rnn: drnn.DeepRNN
    params: drnn.DeepParams
    x: np.ndarray  # [T, B, I], float32
    dtype: str  # of the products: float32 or bfloat16
    key: jax.Array | None  # turns dropout on, in the rows that have it


def _cell(row: Row) -> drnn.Cell:
    size = row.hidden_size
    if row.cell == "rnn":
        return drnn.elman(size)
    if row.cell == "lstm_norm":
        return drnn.layer_norm(drnn.lstm(size))
    if row.cell == "lstm_dropout":
        return drnn.variational_dropout(drnn.lstm(size), DROPOUT_RATE)
    if row.cell == "lstm":
        return drnn.lstm(size)
    return drnn.gru(size, reset_after=row.cell == "gru")


def make_workload(row: Row, dtype: str = "float32", seed: int = 0) -> Workload:
    """Draw a row's parameters and inputs.

    Args:
      row: the row.
      dtype: of the products; parameters are float32.
      seed: of parameters and inputs.
    """
    rnn = drnn.deep_rnn(
        _cell(row),
        row.num_layers,
        bidirectional=row.bidirectional,
        compute_dtype=jnp.dtype(dtype),
    )
    key = jax.random.key(seed)
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: rnn.init(key, row.input_size))
    params = jax.tree_util.tree_map_with_path(partial(_draw, rng, row.hidden_size), shapes)
    x = rng.normal(size=(row.num_steps, row.batch_size, row.input_size)).astype(np.float32)
    return Workload(row, rnn, params, x, dtype, key if row.cell == "lstm_dropout" else None)


def _draw(rng: np.random.Generator, hidden_size: int, path: Any, shape: Any) -> jax.Array:
    """Draw one array: matrices as torch does, each bias so that a lost one is seen.

    A GRU's b_hn is zero: nnx has none. (`init` is not used: its orthogonal matrices take
    seconds to compile, in every row.)
    """
    name = path[-1].name
    if name.startswith("w_"):
        value = rng.uniform(-1, 1, shape.shape) / np.sqrt(hidden_size)
    elif name == "b_hn":
        value = np.zeros(shape.shape)
    else:
        value = 0.1 * rng.normal(size=shape.shape) + (1 if name.startswith("gain") else 0)
    return jnp.asarray(value, shape.dtype)


def dropout_masks(workload: Workload) -> list[np.ndarray]:
    """Return the masks of variational dropout that our network draws, one `[B, H]` a layer.

    A unit is dropped where h_0 has no gradient: only the recurrent product reads it.
    """
    state = workload.rnn.initial_state(workload.params, workload.row.batch_size)

    def total(state: Any) -> jax.Array:
        x = jnp.asarray(workload.x[:1])
        return jnp.sum(workload.rnn.apply(workload.params, x, state, key=workload.key)[1])

    return [np.asarray(layer.h != 0) for layer in jax.grad(total)(state)]
