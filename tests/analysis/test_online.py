"""Gradients forward in time: those of the whole sequence, for every cell that can have them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import analysis
from tests import registry
from tests.comparing import assert_close
from tests.registry import IN, B, T
from tests.test_bad_input import refuses

pytestmark = pytest.mark.usefixtures("x64")
CELLS = {
    "independent": drnn.independent(3),
    "diagonal_gru": drnn.diagonal_gru(3),
    "diagonal_lstm": drnn.diagonal_lstm(3),
    "min_gru": drnn.min_gru(3),
    "min_lstm": drnn.learned_initial_state(drnn.min_lstm(3)),
    "sru": drnn.sru(3),
    "lru": drnn.lru(3, state_size=4),
    "s5": drnn.s5(3, state_size=4),
    "rg_lru": drnn.learned_initial_state(drnn.rg_lru(IN)),
}


def loss(y_t, target):
    return jnp.sum(jnp.sin(y_t) * target)


@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_of_the_whole_sequence(name):
    rnn = drnn.deep_rnn(CELLS[name], output_size=2, param_dtype=jnp.float64)
    rng = registry.seed_of(name)
    params, state = registry.fill(rng, registry.shapes_of(rnn))
    x, targets = rng.normal(size=(T, B, IN)), rng.normal(size=(T, B, 2))
    lengths, mask, resets = registry.every_edge()
    flags = {"lengths": lengths, "mask": mask, "resets": resets}
    state = None if "learned" in rnn.plan.cells[0].name else state

    @jax.jit
    def run(params):
        def whole(params):
            return loss(rnn.apply(params, x, state, **flags)[1], targets)

        online = analysis.online_gradients(rnn, params, x, targets, loss, state, **flags)
        return online, jax.value_and_grad(whole)(params)

    online, expected = run(params)
    assert_close(online, expected, 1e-10)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(online))


class Shared(NamedTuple):
    h: jax.Array


@drnn.factory
def shared(hidden_size, opposite=False):
    """Make a cell whose one bias is that of all units; or of two, with opposite signs."""
    signs = np.ones(hidden_size)
    if opposite:
        signs[1:] = [-1.0] + (hidden_size - 2) * [0.0]

    def init(key, input_size):
        return {"a": jnp.ones(hidden_size) / 2, "b": jnp.ones(())}

    def initial_state(params, batch_shape):
        return Shared(jnp.zeros((*batch_shape, hidden_size)))

    def step(params, state, x):
        h = params["a"] * state.h + x[..., :1] + params["b"] * jnp.asarray(signs, x.dtype)
        return Shared(h), h

    return drnn.step_cell(
        init,
        initial_state,
        step,
        output_size=hidden_size,
        output="h",
        name="shared",
        state_map="affine",
    )


def test_what_it_refuses():
    x, targets = np.ones((T, B, IN)), np.ones((T, B, 3))

    def run(cell, num_layers=1):
        rnn = drnn.deep_rnn(cell, num_layers, param_dtype=jnp.float64)
        params = registry.fill(registry.seed_of("no"), registry.shapes_of(rnn)[0])
        analysis.online_gradients(rnn, params, x, targets, loss)

    with refuses("online_gradients: rnn must have one layer, its cell a state_map, got 2 layers"):
        run(drnn.min_gru(3), 2)
    with refuses("online_gradients: rnn must have one layer...got cell 'gru', which has none; use"):
        run(drnn.gru(3))
    with refuses("online_gradients: all fields of the state must be of one shape...'qrnn'"):
        run(drnn.qrnn(4, width=3))
    # the mean of units 1, 2, 3 is 2, which all three of a shared bias are not
    with refuses("online_gradients: each parameter must feed one unit...'shared' some feed more"):
        run(shared(3))
    with refuses("online_gradients: each parameter must feed one unit...'shared' some feed more"):
        run(shared(3, opposite=True))
    # its gates read W_x x of all units, where there is a W_x
    with refuses("online_gradients: each parameter must feed one unit...'rg_lru' some feed more"):
        run(drnn.rg_lru(4))
