"""flax.linen: `nn.RNN` over its cells, a layer after the other, time-major."""

from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax import interop
from experiments.benchmarks.peers.contract import NotRunError, Program
from experiments.benchmarks.peers.jax_program import JaxModel, make_program
from experiments.benchmarks.peers.linen_cells import make_cells
from experiments.benchmarks.workload import Workload


def build(workload: Workload) -> Program:
    """Make the program of linen's `RNN` and `Bidirectional` over its own cells."""
    from flax import linen as nn

    row = workload.row
    note, can_step = "", not row.bidirectional
    if row.cell in ("lstm_norm", "lstm_dropout"):
        cells, trees = make_cells(workload)
        note, can_step = "nn.RNN over a cell written for it: linen has none such", False
    elif row.cell in ("rnn", "lstm", "gru"):
        cells, trees = interop.to_linen(workload.rnn, workload.params)
    else:
        raise NotRunError(f"linen has no {row.cell}")

    def layer(cell: Any, tree: Any, x: jax.Array) -> Any:
        if not row.bidirectional:
            return nn.RNN(cell, time_major=True).apply({"params": {"cell": tree}}, x)
        both = nn.Bidirectional(nn.RNN(cell[0]), nn.RNN(cell[1]), time_major=True)
        params = {"forward_rnn": {"cell": tree[0]}, "backward_rnn": {"cell": tree[1]}}
        return both.apply({"params": params}, x)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        for cell, tree in zip(cells, params, strict=True):
            x = layer(cell, tree, x)
        return x

    def step(params: Any, state: Any, x_t: jax.Array) -> tuple[Any, jax.Array]:
        carries = []
        for cell, tree, carry in zip(cells, params, state, strict=True):
            carry, x_t = cell.apply({"params": tree}, carry, x_t)
            carries.append(carry)
        return carries, x_t

    state = None
    if can_step:
        zeros = jnp.zeros((row.batch_size, row.hidden_size), workload.dtype)
        state = [(zeros, zeros) if row.cell == "lstm" else zeros for _ in cells]
    model = JaxModel(trees, apply, step if can_step else None, state, note=note)
    return make_program(workload, model)
