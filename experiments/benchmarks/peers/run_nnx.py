"""flax.nnx: `nnx.RNN` over its cells, a layer after the other, time-major."""

from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax import interop
from experiments.benchmarks.peers.contract import NotRunError, Program
from experiments.benchmarks.peers.jax_program import JaxModel, make_program
from experiments.benchmarks.workload import Workload


def build(workload: Workload) -> Program:
    """Make the program of nnx's `RNN` and `Bidirectional` over its own cells."""
    from flax import nnx

    row = workload.row
    if row.cell not in ("rnn", "lstm", "gru"):
        raise NotRunError(f"nnx has no {row.cell}")

    def make_layer(cell: Any) -> Any:
        if not row.bidirectional:
            return nnx.RNN(cell, time_major=True)
        return nnx.Bidirectional(nnx.RNN(cell[0]), nnx.RNN(cell[1]), time_major=True)

    layers = [make_layer(cell) for cell in interop.to_nnx(workload.rnn, workload.params)]
    # what nnx.jit and nnx.grad do inside, without their cost at each call
    split = [nnx.split(layer, nnx.Param, ...) for layer in layers]
    graphs, params, rest = (list(parts) for parts in zip(*split, strict=True))

    def merged(params: Any) -> list[Any]:
        # variables are made anew in each trace, which may change what it has made itself
        fresh = jax.tree.map(lambda value: value, rest)
        return [nnx.merge(*parts) for parts in zip(graphs, params, fresh, strict=True)]

    def apply(params: Any, x: Any) -> Any:
        for layer in merged(params):
            x = layer(x)
        return x

    def step(params: Any, state: Any, x_t: Any) -> tuple[Any, Any]:
        carries = []
        for layer, carry in zip(merged(params), state, strict=True):
            carry, x_t = layer.cell(carry, x_t)
            carries.append(carry)
        return carries, x_t

    if row.bidirectional:
        return make_program(workload, JaxModel(params, apply))
    zeros = jnp.zeros((row.batch_size, row.hidden_size), workload.dtype)
    state = [(zeros, zeros) if row.cell == "lstm" else zeros for _ in layers]
    return make_program(workload, JaxModel(params, apply, step, state))
