"""Compiled programs that many tests share: one a network, schedule and mode."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.recurrence.jaxprs import Env
from deeprnn_jax.recurrence.primitive import recurrence_p, run_by_rules
from deeprnn_jax.recurrence.rules import CPU
from tests.jaxprs import eqns_of
from tests.oracle import Outputs
from tests.registry import Data, Network

# What the engine does on CPU with large arrays, done with small ones.
AS_IF_LARGE = CPU._replace(small_slices=0)


def as_if_large(function):
    """Give the function with each of its recurrences run as if its arrays were large."""

    def run(*args):
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        found = _run_as_if_large(closed, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return run


def _has_recurrences(closed):
    return any(eqn.primitive is recurrence_p for eqn in eqns_of(closed.jaxpr))


def _run_as_if_large(closed, operands):
    env = Env(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    env.assign(closed.jaxpr.invars, operands)
    for eqn in closed.jaxpr.eqns:
        values = env.read(eqn.invars)
        inner = eqn.params.get("jaxpr")
        if eqn.primitive is recurrence_p:
            env.assign(eqn.outvars, run_by_rules(*values, rules=AS_IF_LARGE, **eqn.params))
        elif eqn.primitive.name in ("jit", "pjit"):
            env.assign(eqn.outvars, _run_as_if_large(inner, values))
        elif eqn.primitive.name == "scan" and _has_recurrences(inner):
            shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in inner.in_avals]
            body = jax.make_jaxpr(lambda *a, c=inner: _run_as_if_large(c, a))(*shapes)
            assert not body.consts
            env.assign(eqn.outvars, eqn.primitive.bind(*values, **eqn.params | {"jaxpr": body}))
        else:
            env.do(eqn)
    return env.read(closed.jaxpr.outvars)


class Result(NamedTuple):
    """Everything about one run: what came out and its gradients, as NumPy arrays."""

    outputs: Outputs
    grads: Any  # of sum(weights * outputs) by (params, x, state)


def plain(state, y, layers) -> Outputs:
    """Write what `inspect` gives as the oracle does."""
    return Outputs(
        y=y,
        finals=[one._asdict() for one in state],
        states=[one.state._asdict() for one in layers],
        gates=[{} if one.gates is None else one.gates._asdict() for one in layers],
    )


@cache
def _program(network: Network, schedule: str, train: bool):
    rnn = network.build()

    def run(data: Data, weights: Outputs, key) -> Result:
        def loss(params, x, state):
            found = rnn.inspect(
                params,
                x,
                state,
                lengths=data.lengths,
                mask=data.mask,
                resets=data.resets,
                key=key if train else None,
                schedule=schedule,
            )
            outputs = plain(*found)
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
        return plain(*rnn.inspect(params, x, state, **flags, key=key, schedule=schedule))

    return jax.jit(forward)


def forward(network: Network, schedule: str, params, x, state=None, key=None, **flags) -> Outputs:
    """Run a network with no gradient; one program for each choice of what is None."""
    outputs = _forward(network, schedule)(params, x, state, flags, key)
    return jax.tree.map(np.asarray, outputs)
