"""`jax.export`: symbolic batches and lengths, and trees of ours written and read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import deeprnn_jax as drnn
from deeprnn_jax.schedules import SCHEDULES
from tests import registry
from tests.comparing import assert_close
from tests.registry import IN, B, T


def written_and_read(exported):
    return export.deserialize(exported.serialize())


@pytest.mark.parametrize("schedule", ["auto", *SCHEDULES])
def test_a_symbolic_batch(schedule):
    """Of a deep network, whose rule for "auto" asks how many rows there are."""
    rnn = drnn.deep_rnn(drnn.lstm(4), 16, output_size=2, skip="residual")
    params, _ = registry.shapes_of(rnn)
    (b,) = export.symbolic_shape("b")
    x = jax.ShapeDtypeStruct((T, b, IN), jnp.float32)
    lengths = jax.ShapeDtypeStruct((b,), jnp.int32)

    def run(params, x, lengths):
        return rnn.apply(params, x, lengths=lengths, schedule=schedule)

    run = jax.jit(run)
    again = written_and_read(export.export(run)(params, x, lengths))
    rng = registry.seed_of("export")
    params = registry.fill(rng, params, dtype=np.float32)
    for rows in (1, 6):
        x = rng.normal(size=(T, rows, IN)).astype(np.float32)
        lengths = np.full(rows, 3, np.int32)
        assert_close(again.call(params, x, lengths), run(params, x, lengths), 1e-6)


def test_a_symbolic_length():
    rnn = drnn.deep_rnn(drnn.gru(4), 2, bidirectional=True)
    params, _ = registry.shapes_of(rnn)
    t, b = export.symbolic_shape("t, b")
    x = jax.ShapeDtypeStruct((t, b, IN), jnp.float32)

    def run(params, x):
        return rnn.apply(params, x, rnn.initial_state(params, x.shape[1:-1]))

    def gradient(params, x):
        return jax.grad(lambda p: jnp.sum(run(p, x)[1] ** 2))(params)

    @jax.jit
    def both(params, x):
        return run(params, x), gradient(params, x)

    exported = export.export(both)(params, x)
    values = registry.fill(registry.seed_of("export"), params, dtype=np.float32)
    for steps in (1, 7):
        given = np.ones((steps, 3, IN), np.float32)
        assert_close(exported.call(values, given), both(values, given), 1e-5)


OWN = [
    name
    for name, one in registry.CELLS.items()
    if one.make(4).made.factory.__module__[:4] == "deep"
]


@pytest.mark.parametrize("cell", OWN)
@pytest.mark.parametrize("modifier", ["none", "all"])
def test_parameters_states_and_gates_are_written_and_read(cell, modifier):
    made = registry.MODIFIERS[modifier].make(registry.CELLS[cell].make(4))
    rnn = drnn.deep_rnn(made, 2, skip="highway", normalize_inputs=True, output_size=2)
    if made.output_size != 4:
        rnn = drnn.deep_rnn(made, 2, output_size=2)
    params, state = registry.shapes_of(rnn)
    x = jax.ShapeDtypeStruct((T, B, IN), jnp.float32)
    again = written_and_read(export.export(jax.jit(rnn.inspect))(params, x, state))
    assert again.in_tree == jax.tree.structure(((params, x, state), {}))
    found = jax.tree.unflatten(again.out_tree, again.out_avals)
    assert [type(one) for one in found[0]] == [type(one) for one in state]
