"""Haiku's dynamic_unroll and ours: the same numbers, by another loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax import interop
from tests.interop.recorded import assert_close, random_like

# Haiku reads names that jax 0.10 still has, with a warning
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:haiku")
T, B, I, H = 5, 3, 3, 4  # noqa: E741


def inputs(*shape):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


def make(name, loop, **options):
    """Give a transformed model of one core."""
    hk = pytest.importorskip("haiku")

    def model(x):
        cores = {
            "lstm": lambda: hk.LSTM(H),
            "gru": lambda: hk.GRU(H),
            "vanilla": lambda: hk.VanillaRNN(H),
            "conv": lambda: hk.Conv1DLSTM((6,), 2, 3),
            "stack": lambda: hk.DeepRNN([hk.LSTM(H), jnp.tanh, hk.GRU(H)]),
        }
        core = cores[name]()
        return loop(core, x, core.initial_state(B), **options)

    return hk.transform(model)


def both(name, **options):
    """Give the model with our loop and with Haiku's."""
    hk = pytest.importorskip("haiku")
    return [
        make(name, loop, **options) for loop in (interop.haiku.dynamic_unroll, hk.dynamic_unroll)
    ]


def differentiate(model):
    def loss(params, x):
        found = model.apply(params, None, x)
        terms = [jnp.vdot(leaf, inputs(*leaf.shape)) for leaf in jax.tree.leaves(found)]
        return sum(terms), found

    return jax.grad(loss, (0, 1), has_aux=True)


def params_of(model, x):
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return random_like(np.random.default_rng(2), shapes)


@pytest.mark.parametrize("name", ["lstm", "gru", "vanilla", "conv", "stack"])
def test_any_core(name):
    ours, theirs = both(name)
    x = inputs(T, B, 6, 2) if name == "conv" else inputs(T, B, I)
    params = params_of(ours, x)
    got, expected = (jax.jit(differentiate(model))(params, x) for model in (ours, theirs))
    assert_close(got, expected)
    program = jax.make_jaxpr(ours.apply)(params, None, x)
    loops = [eqn.primitive.name for eqn in program.eqns]
    assert "recurrence" in loops
    assert "scan" not in loops


@pytest.mark.parametrize(
    "options",
    [
        {"time_major": False, "return_all_states": True},
        {"reverse": True, "unroll": 2},
        {"time_major": False, "reverse": True},
    ],
)
def test_options(options):
    ours, theirs = both("lstm", **options)
    x = inputs(*((T, B) if options.get("time_major", True) else (B, T)), I)
    params = params_of(ours, x)
    got, expected = (jax.jit(differentiate(model))(params, x) for model in (ours, theirs))
    assert_close(got, expected)


def test_vmap():
    ours, theirs = both("gru")
    x = inputs(2, T, B, I)
    params = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), params_of(ours, x[0]))
    got, expected = (jax.jit(jax.vmap(differentiate(m)))(params, x) for m in (ours, theirs))
    assert_close(got, expected)


def test_initial_parameters_are_theirs():
    x = inputs(T, B, I)
    ours, theirs = (jax.jit(model.init)(jax.random.key(0), x) for model in both("lstm"))
    assert_close(ours, theirs, 0)


def test_state_and_keys_are_threaded():
    """A core that draws dropout and counts its steps."""
    hk = pytest.importorskip("haiku")

    def program(unroll):
        def core(linear, x, h):
            seen = hk.get_state("seen", (), init=jnp.zeros)
            hk.set_state("seen", seen + 1)
            h = jnp.tanh(linear(jnp.concatenate([x, h], -1)))
            return h * jax.random.normal(hk.next_rng_key(), h.shape), h

        def model(x):
            y, h = unroll(partial(core, hk.Linear(H)), x, jnp.zeros((B, H)))
            return y + jax.random.normal(hk.next_rng_key()), h

        transformed = hk.transform_with_state(model)
        params, state = jax.jit(transformed.init)(jax.random.key(0), inputs(T, B, I))
        apply = jax.jit(transformed.apply)
        return apply(params, state, jax.random.key(1), inputs(T, B, I)), state

    ours, theirs = map(program, (interop.haiku.dynamic_unroll, hk.dynamic_unroll))
    assert_close(ours, theirs, 1e-6)


def test_function_outside_a_transform():
    hk = pytest.importorskip("haiku")

    def core(x, h):
        h = jnp.tanh(x + h)
        return h, h

    x, h = inputs(T, B, H), jnp.zeros((B, H))
    got, expected = (
        jax.jit(lambda x, unroll=unroll: unroll(core, x, h))(x)
        for unroll in (interop.haiku.dynamic_unroll, hk.dynamic_unroll)
    )
    assert_close(got, expected)
