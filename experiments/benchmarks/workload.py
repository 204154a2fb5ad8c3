"""What a row is run on: our network, its parameters, and the inputs all peers share."""

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
    k_params, k_dropout = jax.random.split(jax.random.key(seed))
    rng = np.random.default_rng(seed)
    params = _with_bias(rnn.init(k_params, row.input_size), rng)
    x = rng.normal(size=(row.num_steps, row.batch_size, row.input_size)).astype(np.float32)
    return Workload(row, rnn, params, x, dtype, k_dropout if row.cell == "lstm_dropout" else None)


def _with_bias(params: drnn.DeepParams, rng: np.random.Generator) -> drnn.DeepParams:
    """Add noise to each b, so that one that is lost or in the wrong place is seen.

    A GRU's b_hn stays zero: nnx has none.
    """

    def noisy(path: Any, leaf: jax.Array) -> jax.Array:
        if getattr(path[-1], "name", None) != "b":
            return leaf
        return leaf + jnp.asarray(rng.normal(size=leaf.shape) * 0.1, leaf.dtype)

    return jax.tree_util.tree_map_with_path(noisy, params)


def dropout_masks(workload: Workload) -> list[np.ndarray]:
    """Return the masks of variational dropout that our network draws, one `[B, H]` a layer.

    A unit is dropped where h_0 has no gradient: only the recurrent product reads it.
    """
    state = workload.rnn.initial_state(workload.params, workload.row.batch_size)

    def total(state: Any) -> jax.Array:
        x = jnp.asarray(workload.x[:1])
        return jnp.sum(workload.rnn.apply(workload.params, x, state, key=workload.key)[1])

    gradient = workload.rnn.unstack(jax.grad(total)(state))
    return [np.asarray(layer.h != 0) for layer in gradient]
