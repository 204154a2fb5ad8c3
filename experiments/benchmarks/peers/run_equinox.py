"""Equinox: its cells under `lax.scan`, and `vmap` over the batch, as its documents have it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.peers.contract import NotRunError, Program, library
from experiments.benchmarks.peers.jax_program import JaxModel, make_program
from experiments.benchmarks.workload import Workload


def _make_cell(workload: Workload, params: Any) -> Any:
    """Return an Equinox cell with our weights: gates in the same order, transposed."""
    import equinox as eqx

    is_lstm = workload.row.cell == "lstm"
    kind = eqx.nn.LSTMCell if is_lstm else eqx.nn.GRUCell
    input_size, size = params.w_x.shape[0], workload.row.hidden_size
    cell = kind(input_size, size, key=jax.random.key(0))
    values = [params.w_x.T, params.w_h.T, params.b] + ([] if is_lstm else [params.b_hn])

    def leaves(cell: Any) -> list[Any]:
        found = [cell.weight_ih, cell.weight_hh, cell.bias]
        return found if is_lstm else [*found, cell.bias_n]

    return eqx.tree_at(leaves, cell, [jnp.asarray(value, workload.dtype) for value in values])


def build(workload: Workload) -> Program:
    """Make the program of Equinox's `LSTMCell` or `GRUCell`."""
    eqx = library("equinox")
    row = workload.row
    if row.cell not in ("lstm", "gru"):
        raise NotRunError(f"Equinox has no {row.cell} cell")
    directions = 2 if row.bidirectional else 1
    layers = []
    for layer in workload.params.layers:
        arrays = jax.tree.map(np.asarray, layer.cell)
        parts = [jax.tree.map(lambda a, i=i: a[i], arrays) for i in range(2)]
        parts = parts if row.bidirectional else [arrays]
        layers.append([_make_cell(workload, part) for part in parts[:directions]])
    params, static = eqx.partition(layers, eqx.is_array)

    def run_row(cell: Any, x: Any, reverse: bool) -> Any:
        """Run one row, x `[T, I]`."""

        def body(state: Any, x_t: Any) -> tuple[Any, Any]:
            state = cell(x_t, state)
            return state, state[0] if row.cell == "lstm" else state

        zeros = jnp.zeros(row.hidden_size, x.dtype)
        start = (zeros, zeros) if row.cell == "lstm" else zeros
        return jax.lax.scan(body, start, x, reverse=reverse)[1]

    def apply(params: Any, x: Any) -> Any:
        for cells in eqx.combine(params, static):
            outputs = [
                jax.vmap(lambda row_x, c=cell, r=reverse: run_row(c, row_x, r), 1, 1)(x)
                for cell, reverse in zip(cells, (False, True), strict=False)
            ]
            x = outputs[0] if directions == 1 else jnp.concatenate(outputs, axis=-1)
        return x

    def step(params: Any, state: Any, x_t: Any) -> tuple[Any, Any]:
        states = []
        for (cell,), before in zip(eqx.combine(params, static), state, strict=True):
            after = jax.vmap(cell)(x_t, before)
            states.append(after)
            x_t = after[0] if row.cell == "lstm" else after
        return states, x_t

    zeros = jnp.zeros((row.batch_size, row.hidden_size), workload.dtype)
    one = (zeros, zeros) if row.cell == "lstm" else zeros
    return make_program(
        workload,
        JaxModel(
            params,
            apply,
            step=None if row.bidirectional else step,
            state=[one] * row.num_layers,
            input_dtype=jnp.dtype(workload.dtype),
            note="Equinox has cells alone: lax.scan over time, vmap over the batch",
        ),
    )
