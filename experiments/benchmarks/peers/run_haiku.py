"""Haiku: `hk.dynamic_unroll` of its cores, a layer after the other, time-major."""

from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax import interop
from experiments.benchmarks.peers.contract import NotRunError, Program, library
from experiments.benchmarks.peers.jax_program import JaxModel, make_program
from experiments.benchmarks.workload import Workload

_VANILLA = "hk.VanillaRNN has relu alone: this is a copy of it with tanh"


def _make_core(cell: str, size: int, name: str) -> Any:
    """Return a Haiku core; inside a transform."""
    import haiku as hk

    class TanhRNN(hk.RNNCore):
        """hk.VanillaRNN, which knows relu alone, with tanh."""

        def __call__(self, inputs: Any, prev_state: Any) -> Any:
            recurrent = hk.Linear(size, with_bias=False, name="h")
            h = jnp.tanh(hk.Linear(size, name="x")(inputs) + recurrent(prev_state))
            return h, h

        def initial_state(self, batch_size: int | None) -> Any:
            return jnp.zeros((batch_size, size) if batch_size else (size,))

    if cell == "rnn":
        return TanhRNN(name)
    return {"lstm": hk.LSTM, "gru_before": hk.GRU}[cell](size, name=name)


def _params(workload: Workload) -> dict[str, dict[str, Any]]:
    """Return the parameters by Haiku's names of the modules."""
    names = ("", "_reverse")
    modules = {}
    if workload.row.cell != "rnn":
        for index, layer in enumerate(interop.to_haiku(workload.rnn, workload.params)):
            directions = layer if isinstance(layer, tuple) else (layer,)
            suffix = "/linear" if workload.row.cell == "lstm" else ""
            for direction, arrays in zip(names, directions, strict=False):
                modules[f"layer_{index}{direction}{suffix}"] = arrays
        return modules
    for index, layer in enumerate(workload.params.layers):
        both = workload.row.bidirectional
        for i, direction in enumerate(names[: 1 + both]):
            one = jax.tree.map(lambda a, i=i: a[i], layer.cell) if both else layer.cell
            modules[f"layer_{index}{direction}/x"] = {"w": one.w_x, "b": one.b}
            modules[f"layer_{index}{direction}/h"] = {"w": one.w_h}
    return modules


def build(workload: Workload) -> Program:
    """Make the program of Haiku's LSTM, GRU, or a tanh form of its VanillaRNN."""
    hk = library("haiku", "dm-haiku")
    row = workload.row
    if row.cell not in ("rnn", "lstm", "gru_before"):
        reason = ": hk.GRU resets before the product, see gru_before" if row.cell == "gru" else ""
        raise NotRunError(f"Haiku has no {row.cell}{reason}")
    dtype = jnp.dtype(workload.dtype)

    def cores(index: int) -> list[Any]:
        names = [f"layer_{index}", f"layer_{index}_reverse"][: 1 + row.bidirectional]
        return [_make_core(row.cell, row.hidden_size, name) for name in names]

    def initial(core: Any) -> Any:
        return jax.tree.map(lambda a: a.astype(dtype), core.initial_state(row.batch_size))

    def run(x: Any) -> Any:
        for index in range(row.num_layers):
            outputs: Any = [
                hk.dynamic_unroll(core, x, initial(core), reverse=reverse)[0]
                for core, reverse in zip(cores(index), (False, True), strict=False)
            ]
            x = outputs[0] if len(outputs) == 1 else jnp.concatenate(outputs, axis=-1)
        return x

    def run_step(state: Any, x_t: jax.Array) -> tuple[Any, jax.Array]:
        states = []
        for index in range(row.num_layers):
            x_t, after = cores(index)[0](x_t, state[index])
            states.append(after)
        return states, x_t

    transformed = hk.without_apply_rng(hk.transform(run))
    stepped = hk.without_apply_rng(hk.transform(run_step))
    zeros = jnp.zeros((row.batch_size, row.hidden_size), dtype)
    one = hk.LSTMState(zeros, zeros) if row.cell == "lstm" else zeros
    return make_program(
        workload,
        JaxModel(
            # Haiku computes in the dtype of its parameters
            params=jax.tree.map(lambda a: jnp.asarray(a, dtype), _params(workload)),
            apply=transformed.apply,
            step=None if row.bidirectional else stepped.apply,
            state=None if row.bidirectional else [one] * row.num_layers,
            input_dtype=dtype,
            note="hk.VanillaRNN has relu alone: a copy of it with tanh"
            if row.cell == "rnn"
            else "",
        ),
    )
