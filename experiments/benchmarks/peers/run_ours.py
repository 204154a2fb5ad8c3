"""This library, with any of its schedules."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks.peers.contract import NotRunError, Program
from experiments.benchmarks.peers.jax_program import JaxModel, make_program
from experiments.benchmarks.workload import Workload, one_by_one


def build(workload: Workload, **options: Any) -> Program:
    """Make the program of our network.

    Args:
      workload: the row.
      **options: of `apply`: schedule, checkpoint_every.

    Raises:
      NotRunError: if the network cannot be run so.
    """
    rnn, row = workload.rnn, workload.row

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return rnn.apply(params, x, key=workload.key, **options)[1]

    try:
        jax.eval_shape(apply, workload.params, jnp.asarray(workload.x))
    except ValueError as error:
        raise NotRunError(str(error)) from None
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise NotRunError(f"apply: {error}") from None
    model = JaxModel(params=workload.params, apply=apply)
    if not row.bidirectional:
        model = model._replace(**_streaming(workload))
    return make_program(workload, model)


def _streaming(workload: Workload) -> dict[str, Any]:
    """Give what a model needs for single steps, run as the README advises."""
    rnn, params, note = workload.rnn, workload.params, ""
    if len(params.layers) < workload.row.num_layers:  # some are stacked
        rnn, params = one_by_one(workload)
        note = "single steps of a network with stack_layers=False"
    state = rnn.initial_state(params, workload.row.batch_size)
    return {"step": rnn.step, "step_params": params, "state": state, "stream_note": note}
