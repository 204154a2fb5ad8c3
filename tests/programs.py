"""Compiled programs that many tests share: one a network, schedule and mode."""

from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.recurrence import rules
from tests.oracle import Outputs
from tests.registry import Data, Network


@contextmanager
def as_if_large():
    """Let the engine do with small arrays, while compiling, what it does with large ones."""
    with mock.patch.object(rules, "SMALL_SLICES", 0):
        yield


class Result(NamedTuple):
    """Everything about one run: what came out and its gradients, as NumPy arrays."""

    outputs: Outputs
    grads: Any  # of sum(weights * outputs) by (params, x, state)


def plain(rnn, state, y, trace) -> Outputs:
    """Write what the library gives as the oracle does."""
    return Outputs(
        y=y,
        finals=[one._asdict() for one in rnn.unstack(state)],
        states=[one.state._asdict() for one in trace],
        gates=[{} if one.gates is None else one.gates._asdict() for one in trace],
    )


@cache
def _program(network: Network, schedule: str, train: bool):
    rnn = network.build()

    def run(data: Data, weights: Outputs, key) -> Result:
        def loss(params, x, state):
            state, y, trace = rnn.apply(
                params,
                x,
                state,
                lengths=data.lengths,
                mask=data.mask,
                resets=data.resets,
                key=key if train else None,
                schedule=schedule,
                return_states=True,
            )
            outputs = plain(rnn, state, y, trace)
            terms = jax.tree.map(jnp.vdot, weights, outputs)
            return sum(jax.tree.leaves(terms)), outputs

        grads, outputs = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(
            data.params, data.x, data.state
        )
        return Result(outputs, grads)

    return jax.jit(run)


def run(network: Network, data: Data, weights: Outputs, schedule: str, key=None) -> Result:
    """Run a network with its gradient; in training mode if there is a key."""
    program = _program(network, schedule, key is not None)
    key = jax.random.key(0) if key is None else key
    return jax.tree.map(np.asarray, program(data, weights, key))


@cache
def _forward(network: Network, schedule: str):
    rnn = network.build()

    def forward(params, x, state, flags, key):
        state, y, trace = rnn.apply(
            params, x, state, **flags, key=key, schedule=schedule, return_states=True
        )
        return plain(rnn, state, y, trace)

    return jax.jit(forward)


def forward(network: Network, schedule: str, params, x, state=None, key=None, **flags) -> Outputs:
    """Run a network with no gradient; one program for each choice of what is None."""
    outputs = _forward(network, schedule)(params, x, state, flags, key)
    return jax.tree.map(np.asarray, outputs)
