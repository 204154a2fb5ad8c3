"""What the cells with heads have in common: slstm, mlstm, gated_delta, linear_attention."""

import pickle
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.cells.gated_delta import gated_delta
from deeprnn_jax.cells.linear_attention import linear_attention
from deeprnn_jax.cells.mlstm import mlstm
from deeprnn_jax.cells.slstm import power_law, slstm
from tests import registry
from tests.cells.cells_with_heads import CASES, KINDS, draw, run
from tests.comparing import assert_close
from tests.registry import IN, B, H, T

each_kind = pytest.mark.parametrize("kind", KINDS)
# One for each kind of state: what the tests below find out is not in the options of the rest.
each_state = pytest.mark.parametrize(
    "kind", ["slstm", "mlstm", "mlstm_sigmoid", "gated_delta", "linear_attention"]
)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.core] * (case in KINDS.values()))
        for name, case in CASES.items()
    ],
)
def test_one_step(name):
    """State, output and gates against NumPy."""
    cell, oracle = CASES[name]
    params, state, x = draw(cell, name)

    @jax.jit
    def found(params, state, x):
        x_proj = cell.project_input(params, x)
        h_proj = None if cell.project_state is None else cell.project_state(params, state)
        gates = {} if cell.gates is None else cell.gates(params, state, x_proj, h_proj)._asdict()
        after, y = cell.update(params, state, x_proj, h_proj)
        return after._asdict(), y, gates

    assert_close(found(params, state, x), oracle.step(params, state._asdict(), x), 1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CASES)
def test_a_state_begins_with_zeros(name):
    cell, _ = CASES[name]
    params, state, _ = draw(cell, name)
    found = cell.initial_state(params, (2, 3))
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(lambda a: (2, 3, *a.shape), state)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(found))


def network(cell):
    return drnn.deep_rnn(cell, 1, param_dtype=jnp.float64)


def data_of(rnn, name):
    """Draw parameters, x, a state and weights of a sum of all that comes out."""
    rng = registry.seed_of(name)
    params, state = registry.shapes_of(rnn)
    x = rng.normal(size=(T, B, IN))
    params, state = registry.fill(rng, params), registry.fill(rng, state)
    out = jax.eval_shape(rnn.apply, params, x, state)
    return params, x, state, registry.fill(rng, out, 1.0)


def outcome(rnn, data, schedule, flags):
    """Give all that comes out of a sequence, and the gradient of a sum of it by all."""
    params, x, state, weights = data
    lengths, mask, resets = flags

    def loss(params, x, state):
        out = rnn.apply(
            params, x, state, lengths=lengths, mask=mask, resets=resets, schedule=schedule
        )
        return sum(map(jnp.vdot, *map(jax.tree.leaves, (out, weights)))), out

    return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(params, x, state)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["slstm_exp", "mlstm"])
def test_the_usual_schedule_is_the_plain_loop(kind):
    """With lengths, masks and resets: values and all gradients, of what no registry has."""
    rnn = network(KINDS[kind].cell)
    data = data_of(rnn, kind)
    flags = registry.every_edge()
    expected = outcome(rnn, data, "reference", flags)
    assert_close(outcome(rnn, data, "layerwise", flags), expected, 1e-9)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(expected[0][0]))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["slstm", "mlstm"])
def test_steps_and_chunks_are_the_whole(kind):
    rnn = network(KINDS[kind].cell)
    params, x, state, _ = data_of(rnn, kind)
    apply, step = jax.jit(rnn.apply), jax.jit(rnn.step)
    end, y = apply(params, x, state)
    half = T // 2
    middle, first = apply(params, x[:half], state)
    assert_close(apply(params, x[half:], middle), (end, y[half:]), 1e-10)
    np.testing.assert_allclose(first, y[:half], rtol=1e-10)
    for t in range(T):
        state, y_t = step(params, state, x[t])
        np.testing.assert_allclose(y_t, y[t], rtol=1e-10, atol=1e-10)
    assert_close(state, end, 1e-10)


@each_kind
def test_a_declared_state_map_is_true(kind):
    """F(S) = F(0) + A S with A by unit: what it does to ones says all of it."""
    cell = KINDS[kind].cell
    affine = kind in ("mlstm_sigmoid", "linear_attention", "mamba2", "gla")
    assert cell.state_map == ("affine" if affine else None)
    params, state, x = draw(cell, kind, (B,), dtype=np.float32)

    @jax.jit
    def f(state):
        return cell.step(params, state, cell.project_input(params, x))[0]

    nothing = f(jax.tree.map(np.zeros_like, state))
    ones = f(jax.tree.map(np.ones_like, state))
    expected = jax.tree.map(lambda s, at_0, at_1: at_0 + (at_1 - at_0) * s, state, nothing, ones)
    pairs = zip(jax.tree.leaves(f(state)), jax.tree.leaves(expected), strict=True)
    assert affine == all(np.allclose(a, b, atol=1e-5) for a, b in pairs)


@pytest.mark.parametrize("kind", ["slstm", "mlstm"])
def test_modifiers(kind):
    """Zoned out and learned states: finite, and the memory before the first step learns."""
    cell = drnn.learned_initial_state(drnn.zoneout(KINDS[kind].cell, 0.3))
    rnn = drnn.deep_rnn(cell, 1)
    params = jax.jit(rnn.init, static_argnums=1)(jax.random.key(0), IN)
    x = registry.seed_of(kind).normal(size=(T, B, IN)).astype(np.float32)
    resets = registry.every_edge()[2]

    def loss(params, key):
        out = rnn.apply(params, x, resets=resets, key=key, schedule="reference")
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(out))

    grads = jax.jit(jax.grad(loss))(params, jax.random.key(1))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert np.any(grads.layers[0].cell.initial.c)


def test_recurrent_weights_of_slstm_are_dropped():
    rnn = drnn.deep_rnn(drnn.weight_drop(slstm(H, 2), 0.5), 1)
    rng = registry.seed_of("drop")
    params = registry.fill(rng, registry.shapes_of(rnn)[0], dtype=np.float32)
    x = rng.normal(size=(T, B, IN)).astype(np.float32)
    apply = jax.jit(partial(rnn.apply, schedule="reference"))
    plain, drawn = apply(params, x)[1], apply(params, x, key=jax.random.key(1))[1]
    assert np.isfinite(drawn).all()
    np.testing.assert_array_equal(drawn[0], plain[0])  # h before is 0
    assert np.any(drawn[1:] != plain[1:])


@each_state
def test_narrow_products_keep_a_wide_state(kind):
    cell = KINDS[kind].cell
    wide, narrow = (drnn.deep_rnn(cell, 1, compute_dtype=d) for d in (jnp.float32, jnp.bfloat16))
    rng = registry.seed_of(kind)
    params = registry.fill(rng, registry.shapes_of(wide)[0], dtype=np.float32)
    x = rng.normal(size=(40, B, IN)).astype(np.float32)
    _, expected = jax.jit(partial(wide.apply, schedule="reference"))(params, x)
    state, y = jax.jit(partial(narrow.apply, schedule="reference"))(params, x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state))
    error = np.abs(y.astype(jnp.float32) - expected)
    assert 1e-5 < error.mean() < 0.02 * np.abs(expected).mean()


@pytest.mark.usefixtures("x64")
@each_kind
def test_ten_thousand_steps_in_float32(kind):
    cell = KINDS[kind].cell
    params, state, _ = draw(cell, kind, scale=0.3)
    state = jax.tree.map(np.zeros_like, state)
    x = registry.seed_of(f"long {kind}").normal(size=(10_000, IN))
    expected = np.asarray(run(cell, params, state, x)[1])
    args = jax.tree.map(lambda leaf: leaf.astype(np.float32), (params, state, x))
    y = np.asarray(run(cell, *args)[1])
    assert y.dtype == np.float32
    assert np.abs(y - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["slstm", "mlstm", "gated_delta"])
def test_nothing_of_a_broken_episode_passes_a_reset(kind):
    """A state of NaN, and one of infinity: neither forward nor backward."""
    rnn = drnn.deep_rnn(KINDS[kind].cell, 1)
    rng = registry.seed_of(kind)
    params, state = registry.fill(rng, registry.shapes_of(rnn), dtype=np.float32)
    x = rng.normal(size=(T, B, IN)).astype(np.float32)
    resets = np.zeros((T, B), bool)
    resets[0] = True

    def loss(params, state):
        out = rnn.apply(params, x, state, resets=resets)
        return sum(map(jnp.sum, jax.tree.leaves(out)))

    found = jax.jit(jax.value_and_grad(loss, (0, 1)))
    expected = found(params, state)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(expected[1][1]))
    for junk in (np.nan, np.inf):
        broken = jax.tree.map(lambda leaf, junk=junk: np.full_like(leaf, junk), state)
        assert_close(found(params, broken), expected, 1e-6)


@each_state
def test_gates_that_are_wide_open_or_shut(kind):
    """Inputs of 1e3 and -1e3 saturate every gate; all stays finite, gradients too."""
    cell = KINDS[kind].cell
    params, state, _ = draw(cell, kind, (B,), dtype=np.float32)
    x = registry.seed_of(kind).choice([-1e3, 0, 1e3], size=(30, B, IN)).astype(np.float32)

    def loss(params, state, x):
        return sum(map(jnp.sum, jax.tree.leaves(run(cell, params, state, x))))

    first = jax.tree.map(np.zeros_like, state)
    found = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(params, first, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_cells_made_alike_are_equal_and_pickle():
    for make in (slstm, mlstm, gated_delta, linear_attention):
        one, other = make(H, num_heads=2), make(H, 2)
        assert one == other == pickle.loads(pickle.dumps(one))
        assert hash(one) == hash(other)
        assert one != make(H, 1)


BAD = {
    "slstm: hidden_size must be an int of 1 or more, got 0": lambda: slstm(0),
    "slstm: num_heads must be an int of 1 or more, got 2.0": lambda: slstm(H, 2.0),
    "slstm: hidden_size must be a multiple of num_heads=3, got 4; for example 3": lambda: slstm(
        4, 3
    ),
    "slstm: forget_gate must be 'sigmoid' or 'exp', got 'tanh'": lambda: slstm(
        4, forget_gate="tanh"
    ),
    "slstm: forget_bias must be a number or an initialiser": lambda: slstm(4, forget_bias="x"),
    "slstm: w_h_init must be a function": lambda: slstm(4, w_h_init=0.0),
    "power_law: depth must be a number in [0, 1], got 2": lambda: power_law(2),
    "mlstm: hidden_size must be a multiple of num_heads=8, got 4; for example 8": lambda: mlstm(
        4, 8
    ),
    "mlstm: key_size must be an int of 1 or more, got 0": lambda: mlstm(4, key_size=0),
    "mlstm: input_gate must be 'exp' or 'sigmoid', got None": lambda: mlstm(4, input_gate=None),
    "mlstm: output_norm must be None, 'rms' or 'layer', got True": lambda: mlstm(
        4, output_norm=True
    ),
    "gated_delta: hidden_size must be a multiple": lambda: gated_delta(5, 2),
    "gated_delta: decay must be True or False, got 'head'": lambda: gated_delta(4, decay="head"),
    "gated_delta: negative_eigenvalues must be True or False": lambda: gated_delta(
        4, negative_eigenvalues=1
    ),
    "gated_delta: output_norm must be": lambda: gated_delta(4, output_norm=np.ones(2)),
    "linear_attention: hidden_size must be a multiple": lambda: linear_attention(5, 2),
    "linear_attention: decay must be None, 'head' or 'key', got True": lambda: linear_attention(
        4, decay=True
    ),
    "linear_attention: normalizer must be True or False": lambda: linear_attention(
        4, normalizer=None
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BAD[message]()


def test_modifiers_that_a_matrix_memory_cannot_have_say_so():
    for make in (mlstm, gated_delta, linear_attention):
        for modifier, message in (
            (lambda cell: drnn.weight_drop(cell, 0.1), "has no parameter named w_h"),
            (drnn.layer_norm, "has no project_state"),
            (lambda cell: drnn.zoneout(cell, {"h": 0.1}), r"rate names \['h'\]"),
        ):
            with pytest.raises(ValueError, match=message):
                jax.eval_shape(lambda cell=modifier(make(4)): cell.init(jax.random.key(0), IN))
