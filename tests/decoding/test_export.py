"""Exported once for any number of rows and steps: the numbers of a call of that size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from deeprnn_jax.decoding import (
    LanguageModel,
    Sampling,
    beam_search,
    ctc_greedy,
    ctc_prefix_beam,
    generate,
    gnmt_penalty,
)
from tests.decoding.models import language_model
from tests.exporting import called_in_a_fresh_process, written_and_read

T, B, V = 7, 4, 5
SEED = jax.random.key_data(jax.random.key(0))


def step(state, tokens):
    return state * 0.5 + jax.nn.one_hot(tokens, V), 2.0 * state


def search_with_a_model(logits):
    model = LanguageModel(step, jnp.ones((logits.shape[1], V)), 0, weight=0.5)
    return ctc_prefix_beam(logits, beam_size=3, language_model=model, insertion_bonus=1.0)


CTC = {
    "greedy": ctc_greedy,
    "prefix beam": functools.partial(ctc_prefix_beam, beam_size=3),
    "language model": search_with_a_model,
}


def assert_same(function, shapes, *args):
    """Export for symbolic shapes, and compare with a call, for all rows and for the first two."""
    specs = [
        jax.ShapeDtypeStruct(shape, arg.dtype) for shape, arg in zip(shapes, args, strict=True)
    ]
    exported = export.export(jax.jit(function))(*specs)
    got, expected = written_and_read(exported).call(*args), jax.jit(function)(*args)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def draw(shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


# The prefix beam with both unknown is below; the model adds rows of its own alone.
@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("greedy", ("7", "b")),
        ("greedy", ("t", "4")),
        ("greedy", ("t", "b")),
        ("prefix beam", ("7", "b")),
        ("prefix beam", ("t", "4")),
        ("language model", ("t", "b")),
    ],
)
def test_ctc(name, dims):
    shape = export.symbolic_shape(f"{dims[0]}, {dims[1]}, {V}")
    assert_same(CTC[name], [shape], draw((T, B, V)))


@pytest.mark.parametrize("decode", [CTC["greedy"], CTC["prefix beam"]], ids=["greedy", "beam"])
def test_ctc_with_lengths_and_two_batch_axes(decode):
    shape = export.symbolic_shape(f"t, b, c, {V}")
    lengths = jnp.array([[7, 0], [3, 5], [1, 7]])
    assert_same(decode, [shape, shape[1:3]], draw((T, 3, 2, V)), lengths)


def test_many_steps():
    """More than the prefix beam takes in one part where it does not know how many."""
    shape = export.symbolic_shape(f"t, b, {V}")
    assert_same(CTC["prefix beam"], [shape], draw((70, 2, V)))


def test_beam_search():
    def search(state, start):
        return beam_search(
            step,
            state,
            start,
            end_token=1,
            beam_size=3,
            max_steps=6,
            length_penalty=gnmt_penalty(),
        )

    state = export.symbolic_shape(f"b, {V}")
    assert_same(search, [state, state[:1]], draw((B, V)), jnp.zeros(B, jnp.int32))


@pytest.mark.parametrize(
    "sampling", [Sampling(0.0), Sampling(), Sampling(0.7, 3, 0.9), Sampling(np.array(0.7))]
)
def test_generate(sampling):
    def write(state, start, seed):
        key = jax.random.wrap_key_data(seed)
        return generate(step, state, start, T, key, sampling, end_token=1)

    state = export.symbolic_shape(f"b, {V}")
    assert_same(write, [state, state[:1], (2,)], draw((B, V)), jnp.zeros(B, jnp.int32), SEED)


def test_a_network_in_a_fresh_process(tmp_path):
    """Parameters and start tokens go in, for any number of rows; a state of many leaves inside."""
    rnn, params, _ = language_model(V)

    def stepper(params):
        return lambda state, tokens: rnn.step(params, state, jax.nn.one_hot(tokens, V))

    def write(params, start, seed):
        key, state = jax.random.wrap_key_data(seed), rnn.initial_state(params, start.shape)
        return generate(stepper(params), state, start, T, key, Sampling(0.8), end_token=1)

    def search(params, start):
        state = rnn.initial_state(params, start.shape)
        options = {"end_token": 1, "beam_size": 3, "max_steps": T}
        return beam_search(stepper(params), state, start, **options)

    def transcribe(params, x):
        return ctc_prefix_beam(rnn.apply(params, x)[1], beam_size=3)

    t, b = export.symbolic_shape("t, b")
    tokens = jax.ShapeDtypeStruct((b,), jnp.int32)
    x = jax.ShapeDtypeStruct((t, b, V), jnp.float32)
    start = np.array([0, 2, 3], np.int32)
    programs = {
        "write": (write, (params, tokens, SEED), (params, start, SEED)),
        "search": (search, (params, tokens), (params, start)),
        "transcribe": (transcribe, (params, x), (params, draw((T, B, V)))),
    }
    found = called_in_a_fresh_process(
        tmp_path,
        {
            name: (export.export(jax.jit(function))(*specs), args)
            for name, (function, specs, args) in programs.items()
        },
    )
    for name, (function, _, args) in programs.items():
        expected = jax.jit(function)(*args)
        assert jax.tree.structure(found[name]) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(found[name]), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
