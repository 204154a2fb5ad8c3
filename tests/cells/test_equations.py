"""One step of every cell, with every option, against NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from tests import oracle, registry
from tests.comparing import assert_close
from tests.registry import IN, H

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("x64")]


def softsign(z):
    return z / (1 + abs(z))


def hard_sigmoid(z):
    return (jnp if isinstance(z, jax.Array) else np).clip(z / 6 + 0.5, 0, 1)


def relu(z):
    return np.maximum(z, 0)


CASES = {
    "elman": (drnn.elman(H), oracle.elman()),
    "elman, relu": (drnn.elman(H, jax.nn.relu), oracle.elman(relu)),
    "elman, any": (drnn.elman(H, softsign), oracle.elman(softsign)),
    "independent": (drnn.independent(H), oracle.independent()),
    "independent, tanh": (drnn.independent(H, jnp.tanh), oracle.independent(np.tanh)),
    "gru, after": (drnn.gru(H), oracle.gru()),
    "gru, before": (drnn.gru(H, reset_after=False), oracle.gru(reset_after=False)),
    "gru, activations": (
        drnn.gru(H, gate_activation=hard_sigmoid, activation=softsign),
        oracle.gru(True, hard_sigmoid, softsign),
    ),
    "gru, before, activations": (
        drnn.gru(H, reset_after=False, gate_activation=hard_sigmoid, activation=softsign),
        oracle.gru(False, hard_sigmoid, softsign),
    ),
    "minimal_gated": (drnn.minimal_gated(H), oracle.minimal_gated()),
    "lstm, activations": (
        drnn.lstm(H, gate_activation=hard_sigmoid, cell_activation=softsign),
        oracle.lstm(False, hard_sigmoid, softsign),
    ),
    "elman, no bias": (drnn.elman(H, use_bias=False), oracle.elman()),
    "independent, no bias": (drnn.independent(H, use_bias=False), oracle.independent()),
    "gru, after, no bias": (drnn.gru(H, use_bias=False), oracle.gru()),
    "gru, before, no bias": (
        drnn.gru(H, reset_after=False, use_bias=False),
        oracle.gru(reset_after=False),
    ),
    "minimal_gated, no bias": (drnn.minimal_gated(H, use_bias=False), oracle.minimal_gated()),
    "leaky": (registry.CELLS["leaky"].make(H), registry.CELLS["leaky"].oracle()),
    "deep_transition": (
        registry.CELLS["deep_transition"].make(H),
        registry.CELLS["deep_transition"].oracle(),
    ),
}
for peepholes in (False, True):
    for projection_size in (None, 3):
        for coupled in (False, True):
            for use_bias in (False, True):
                options = {
                    "peepholes": peepholes,
                    "projection_size": projection_size,
                    "coupled": coupled,
                    "use_bias": use_bias,
                }
                CASES[f"lstm, {options}"] = (drnn.lstm(H, **options), oracle.lstm(coupled))


def draw(cell, name):
    """Draw parameters, a state and an input of one row; no bias is zero by chance."""
    rng = registry.seed_of(name)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), IN))
    state = jax.eval_shape(lambda p: cell.initial_state(p, ()), params)
    return registry.fill(rng, params), registry.fill(rng, state), rng.normal(size=IN)


@pytest.mark.parametrize("name", CASES)
def test_one_step(name):
    """State, output and gates; through `step` and through the split alike."""
    cell, expected = CASES[name]
    params, state, x = draw(cell, name)

    @jax.jit
    def run(params, state, x):
        x_proj = cell.project_input(params, x)
        h_proj = None if cell.project_state is None else cell.project_state(params, state)
        gates = {} if cell.gates is None else cell.gates(params, state, x_proj, h_proj)._asdict()
        stepped, y = cell.step(params, state, x_proj)
        updated = (stepped, y)
        if cell.update is not None:
            updated = cell.update(params, state, x_proj, h_proj)
        return stepped._asdict(), y, gates, updated[0]._asdict(), updated[1]

    end, y, gates = expected.step(params, state._asdict(), x)
    assert_close(run(params, state, x), (end, y, gates, end, y), 1e-13)


@pytest.mark.parametrize("name", CASES)
def test_begins_with_zeros_of_its_own_width(name):
    cell, _ = CASES[name]
    params, state, _ = draw(cell, name)
    for batch in ((), (2, 3)):
        start = jax.eval_shape(lambda p, batch=batch: cell.initial_state(p, batch), params)
        assert jax.tree.map(lambda a: a.shape, start) == jax.tree.map(
            lambda a, batch=batch: (*batch, *a.shape), state
        )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(cell.initial_state(params, ())))
    y = jax.eval_shape(
        cell.step, params, state, jax.eval_shape(cell.project_input, params, np.ones(IN))
    )[1]
    assert y.shape == (cell.output_size,)


def test_elman_by_hand():
    """tanh(0.5·1 + 0.25·2 + 0.5) with weights that one can add up."""
    cell = drnn.elman(1)
    params, state, _ = draw(cell, "by hand")
    params = params._replace(
        w_x=np.full((IN, 1), 0.5 / IN), w_h=np.full((1, 1), 0.25), b=np.full(1, 0.5)
    )
    state = state._replace(h=np.full(1, 2.0))
    _, y = cell.step(params, state, cell.project_input(params, np.ones(IN)))
    np.testing.assert_allclose(y, np.tanh(1.5), rtol=1e-15)


def test_lstm_by_hand():
    """All weights zero but the bias of f: σ(0) = 1/2 for i and o, σ(1) for f."""
    cell = drnn.lstm(1)
    params, state, x = draw(cell, "by hand")
    params = jax.tree.map(np.zeros_like, params)._replace(b=np.array([0.0, 1.0, 0.0, 0.0]))
    state = state._replace(c=np.full(1, 3.0))
    end, y = cell.step(params, state, cell.project_input(params, x))
    c = 3 / (1 + np.exp(-1))
    np.testing.assert_allclose(end.c, c, rtol=1e-15)
    np.testing.assert_allclose(y, np.tanh(c) / 2, rtol=1e-15)


def test_gru_keeps_its_state_where_z_is_open():
    """z = 1 keeps h (Cho's and torch's convention; Chung's is the opposite)."""
    for reset_after in (True, False):
        cell = drnn.gru(1, reset_after=reset_after)
        params, state, x = draw(cell, "by hand")
        params = params._replace(w_x=0 * params.w_x, w_h=0 * params.w_h, b=np.array([0, 100.0, 0]))
        state = state._replace(h=np.full(1, 0.75))
        _, y = cell.step(params, state, cell.project_input(params, x))
        np.testing.assert_allclose(y, 0.75, rtol=1e-15)
