"""Equinox's cells and ours: the same outputs, states and gradients, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.interop.equinox import from_equinox, to_equinox
from deeprnn_jax.interop.states import state_from_haiku
from tests.interop.recorded import assert_close, random_like

T, B, I = 6, 3, 3  # noqa: E741


@pytest.fixture
def eqx():
    return pytest.importorskip("equinox")


def make(eqx, kind, sizes, **options):
    """Give cells one after the other, of random weights, no bias zero."""
    rng, cells = np.random.default_rng(0), []
    for before, size in zip((I, *sizes), sizes, strict=False):
        cell = eqx.filter_eval_shape(
            getattr(eqx.nn, kind), before, size, key=jax.random.key(0), **options
        )
        cells.append(jax.tree.map(jnp.asarray, random_like(rng, cell)))
    return cells


def first_states(cells):
    """Draw a state a layer, in Equinox's form."""
    rng, states = np.random.default_rng(1), []
    for cell in cells:
        leaves = [jnp.asarray(rng.normal(size=(B, cell.hidden_size)), "float32") for _ in range(2)]
        states.append(leaves[0] if hasattr(cell, "bias_n") else tuple(leaves))
    return states


def run(cells, x, states, reverse=False):
    """Run Equinox's cells as its users do: `vmap` over the rows, a scan over the steps."""
    finals = []
    for cell, state in zip(cells, states, strict=True):

        def step(state, x, cell=cell):
            state = jax.vmap(cell)(x, state)
            return state, state[0] if isinstance(state, tuple) else state

        final, x = jax.lax.scan(step, state, x, reverse=reverse)
        finals.append(final)
    return finals, x


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LSTMCell", {}),
        ("GRUCell", {}),
        ("LSTMCell", {"use_bias": False}),
        ("GRUCell", {"use_bias": False}),
    ],
)
def test_from_and_to_equinox(eqx, kind, options):
    cells = make(eqx, kind, (4, 4, 2), **options)
    states = first_states(cells)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(T, B, I)), "float32")
    rnn, params = from_equinox(cells)

    def theirs(x, states):
        finals, y = run(cells, x, states)
        return state_from_haiku(rnn, finals), y

    def ours(x, states):
        return rnn.apply(params, x, state_from_haiku(rnn, states))

    def with_gradients(function):
        def loss(x, states):
            found = function(x, states)
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(found)), found

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(x, states)

    assert_close(with_gradients(ours), with_gradients(theirs))
    back = to_equinox(rnn, params)
    assert_close(back, cells, 0)


def test_two_directions(eqx):
    forward, reverse = make(eqx, "GRUCell", (4,)), make(eqx, "GRUCell", (4,))
    reverse = jax.tree.map(jnp.sin, reverse)
    pairs = list(zip(forward, reverse, strict=True))
    rnn, params = from_equinox(pairs)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(T, B, I)), "float32")
    zeros = [jnp.zeros((B, 4))]
    expected = [
        run(cells, x, zeros, backwards)[1]
        for cells, backwards in [(forward, False), (reverse, True)]
    ]
    np.testing.assert_allclose(
        rnn.apply(params, x)[1], jnp.concatenate(expected, axis=-1), atol=1e-5
    )
    assert_close(to_equinox(rnn, params), pairs, 0)


def test_the_dtype_is_kept(eqx):
    (cell,) = make(eqx, "LSTMCell", (4,), dtype=jnp.bfloat16)
    rnn, params = from_equinox(cell)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
    assert_close(to_equinox(rnn, params), [cell], 0)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda eqx, key: eqx.nn.Linear(2, 3, key=key), "must be an eqx.nn.LSTMCell.*got Linear"),
        (lambda eqx, key: {"cell": 1}, "got dict of builtins; give the cells of a model in a list"),
        (
            lambda eqx, key: eqx.filter_vmap(lambda k: eqx.nn.GRUCell(2, 3, key=k))(
                jax.random.split(key)
            ),
            r"weight_hh must be .*\(9, 3\), got \(2, 9, 3\); .*filter_vmap",
        ),
        (
            lambda eqx, key: [eqx.nn.GRUCell(2, 3, key=key), eqx.nn.GRUCell(2, 3, key=key)],
            "the layers do not fit each other",
        ),
        (lambda eqx, key: [], "got no layers"),
    ],
)
def test_from_equinox_refuses(eqx, module, message):
    with pytest.raises(ValueError, match=f"^from_equinox: .*{message}"):
        from_equinox(module(eqx, jax.random.key(0)))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (drnn.gru(2, reset_after=False), "reset_after=True, got False"),
        (drnn.lstm(2, peepholes=True), "peepholes=False, got True"),
        (drnn.lstm(2, projection_size=2), "projection_size=None, got 2"),
        (drnn.lstm(2, gate_activation=jax.nn.hard_sigmoid), "gate_activation sigmoid"),
        (drnn.elman(2), "cell must be lstm or gru, got elman"),
        (drnn.zoneout(drnn.lstm(2), 0.1), "without a modifier"),
    ],
)
def test_to_equinox_refuses(cell, message):
    rnn = drnn.deep_rnn(cell)
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), 3))
    with pytest.raises(ValueError, match=f"^to_equinox: .*{message}"):
        to_equinox(rnn, jax.tree.map(lambda leaf: np.zeros(leaf.shape, "f"), shapes))


def test_cells_of_torch_are_refused():
    """Of the same names, for the class and for its weights."""
    torch = pytest.importorskip("torch")
    for cell in (torch.nn.LSTMCell(I, 4), torch.nn.GRUCell(I, 4)):
        with pytest.raises(ValueError, match=r"^from_equinox: .*got .*Cell of torch; give"):
            from_equinox([cell])
