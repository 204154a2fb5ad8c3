"""This library, with any of its schedules."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks.peers.contract import NotRunError, Program
from experiments.benchmarks.peers.jax_program import JaxModel, make_program
from experiments.benchmarks.workload import Workload


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
        state = rnn.initial_state(workload.params, row.batch_size)
        model = model._replace(step=rnn.step, state=state)
    return make_program(workload, model)
