"""Keras on JAX: its recurrent layers in a `Sequential`, called without state under jit."""

import os
from typing import Any

import jax.numpy as jnp

from deeprnn_jax import interop
from experiments.benchmarks.peers.contract import NotRunError, Program, library
from experiments.benchmarks.peers.jax_program import JaxModel, make_program
from experiments.benchmarks.workload import Workload


def _import_keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it when it is imported
    keras = library("keras")
    if keras.backend.backend() != "jax":
        raise NotRunError(f"keras runs on {keras.backend.backend()}; set KERAS_BACKEND=jax")
    return keras


def build(workload: Workload) -> Program:
    """Make the program of Keras's `SimpleRNN`, `LSTM` or `GRU`, batch-major as they are."""
    _import_keras()
    row = workload.row
    if row.cell not in ("rnn", "lstm", "gru", "gru_before"):
        raise NotRunError(f"Keras has no {row.cell}")
    model = interop.to_keras(workload.rnn, workload.params)
    fixed = [variable.value for variable in model.non_trainable_variables]
    params = [variable.value for variable in model.trainable_variables]

    def apply(params: Any, x: Any) -> Any:
        return model.stateless_call(params, fixed, x)[0]

    if row.bidirectional:
        return make_program(workload, JaxModel(params, apply, batch_major=True))
    cells = [layer.cell for layer in model.layers]
    sizes = [len(cell.trainable_variables) for cell in cells]

    def step(params: Any, state: Any, x_t: Any) -> tuple[Any, Any]:
        states, start = [], 0
        for cell, size, before in zip(cells, sizes, state, strict=True):
            weights = params[start : start + size]
            start += size
            fixed = [variable.value for variable in cell.non_trainable_variables]
            (x_t, after), _ = cell.stateless_call(weights, fixed, x_t, before)
            states.append(after)
        return states, x_t

    zeros = jnp.zeros((row.batch_size, row.hidden_size), workload.dtype)
    state = [[zeros] * (2 if row.cell == "lstm" else 1) for _ in cells]
    return make_program(workload, JaxModel(params, apply, step, state, batch_major=True))
