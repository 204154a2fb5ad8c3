"""Lengths, masks and resets: what they mean, beyond the registry's own data."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.sequences import Steps, make_steps
from tests import oracle, programs, registry
from tests.comparing import assert_close, assert_same
from tests.registry import IN, B, T

NETWORKS = {
    "forward": registry.stack_of("lstm", depth=1),
    "both": registry.stack_of("gru", depth=1, bidirectional=True, output_size=2),
}
each_network = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"flags-{name}")) for name in NETWORKS],
)
each_schedule = pytest.mark.parametrize("schedule", ["reference", "layerwise"])


def flags_of(num_steps):
    """Give every sequence of so many flags."""
    return np.array(list(itertools.product([False, True], repeat=num_steps)))


def test_reverse_direction_crosses_the_boundary_before_each_real_step():
    """All masks and resets of five steps, against a loop over the real steps."""
    pairs = [(m, r & m) for m in flags_of(5) for r in flags_of(5)]
    mask, resets = (np.stack(rows, axis=1) for rows in zip(*pairs, strict=True))
    expected = np.zeros_like(resets)
    for b in range(mask.shape[1]):
        real = np.flatnonzero(mask[:, b])
        for step, after in itertools.pairwise(real):
            expected[step, b] = resets[after, b]
    got = Steps(jnp.asarray(mask), jnp.asarray(resets)).reversed()
    np.testing.assert_array_equal(got.resets, expected)
    np.testing.assert_array_equal(got.mask, mask)


def test_reverse_direction_without_a_mask_crosses_the_same_boundaries():
    resets = flags_of(4).T
    got = Steps(None, jnp.asarray(resets)).reversed()
    np.testing.assert_array_equal(got.resets[:-1], resets[1:])
    assert not np.any(got.resets[-1])
    assert Steps(None, None).reversed() == Steps(None, None)


def test_lengths_and_mask_join_and_resets_in_the_padding_go():
    lengths, mask, resets = registry.every_edge()
    steps = make_steps(*map(jnp.asarray, (lengths, mask, resets)), T)
    real = mask & (np.arange(T)[:, None] < lengths)
    np.testing.assert_array_equal(steps.mask, real)
    np.testing.assert_array_equal(steps.resets, resets & real)
    assert make_steps(None, None, None, T) == Steps(None, None)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int32"])
def test_lengths_may_be_of_any_integer_dtype(dtype):
    """Of narrow ones too, in which T itself does not fit."""
    lengths = np.array([0, 3, 127]).astype(dtype)
    steps = make_steps(jnp.asarray(lengths), None, None, 300)
    np.testing.assert_array_equal(np.sum(steps.mask, axis=0), [0, 3, 127])


@pytest.mark.usefixtures("x64")
@each_network
@pytest.mark.parametrize(
    ("schedule", "given"),
    [
        *(("layerwise", given) for given in ("l", "m", "r", "lr")),
        *(("reference", given) for given in ("", "lr")),
        *(pytest.param("layerwise", given, marks=pytest.mark.core) for given in ("", "mr")),
    ],
)
def test_each_flag_may_be_left_out(name, schedule, given):
    """Lengths, mask, resets: the program differs, the meaning does not."""
    network = NETWORKS[name]
    params, x, state, *flags = registry.data_for(network)
    chosen = dict(zip(["lengths", "mask", "resets"], flags, strict=True))
    chosen = {k: v for k, v in chosen.items() if k[0] in given}
    expected = oracle.run(network.oracle(), params, x, state, **chosen)
    assert_close(programs.forward(network, schedule, params, x, state, **chosen), expected)


@pytest.mark.usefixtures("x64")
@each_network
@each_schedule
def test_no_state_means_the_initial_one(name, schedule):
    network = NETWORKS[name]
    params, x, state, lengths, *_ = registry.data_for(network)
    got = programs.forward(network, schedule, params, x, lengths=lengths)
    zeros = jax.tree.map(np.zeros_like, state)
    assert_close(got, oracle.run(network.oracle(), params, x, zeros, lengths))


@pytest.mark.usefixtures("x64")
@each_network
@each_schedule
def test_padding_on_any_side_is_the_same_sequence(name, schedule):
    """Padded left, right or amid, with resets on the real steps: one outcome."""
    network = NETWORKS[name]
    params, x, state, *_ = registry.data_for(network)
    state = jax.tree.map(lambda leaf: np.repeat(leaf[..., :1, :], B, axis=-2), state)
    places = [(0, 1, 2), (3, 4, 5), (0, 2, 5), (1, 3, 4), (2, 3, 4)]
    sequence, walls = x[:3, 0], [True, False, True]
    mask, resets = np.zeros((T, B), bool), np.zeros((T, B), bool)
    for b, real in enumerate(places):
        mask[real, b], resets[real, b], x[real, b] = True, walls, sequence
    got = programs.forward(network, schedule, params, x, state, mask=mask, resets=resets)
    for b, real in enumerate(places):
        np.testing.assert_allclose(got.y[real, b], got.y[places[0], 0], rtol=1e-12)
        for final in got.finals:
            for value in final.values():
                np.testing.assert_array_equal(value[..., b, :], value[..., 0, :])


@pytest.mark.usefixtures("x64")
@each_network
@each_schedule
def test_packed_sequences_are_separate_ones(name, schedule):
    """A reset at step 2 gives what two calls give."""
    network = NETWORKS[name]
    params, x, *_ = registry.data_for(network)
    resets = np.zeros((T, B), bool)
    resets[2] = True
    packed = programs.forward(network, schedule, params, x, resets=resets)
    parts = [
        programs.forward(network, schedule, params, x[part]) for part in (np.s_[:2], np.s_[2:])
    ]
    np.testing.assert_allclose(packed.y, np.concatenate([part.y for part in parts]), rtol=1e-12)


@pytest.mark.usefixtures("x64")
@each_network
@each_schedule
def test_one_step_sequences(name, schedule):
    """T = 1, of length 1 and 0, with and without a reset."""
    network = NETWORKS[name]
    params, x, state, *_ = registry.data_for(network)
    lengths, resets = np.array([1, 0, 1, 0, 1]), np.array([[False, False, True, True, False]])
    expected = oracle.run(network.oracle(), params, x[:1], state, lengths, None, resets)
    got = programs.forward(network, schedule, params, x[:1], state, lengths=lengths, resets=resets)
    assert_close(got, expected)


def test_numpy_arrays_are_as_good_as_jax_arrays():
    rnn = drnn.deep_rnn(drnn.elman(3))
    params = registry.fill(registry.seed_of("numpy"), registry.shapes_of(rnn)[0], dtype=np.float32)
    x = np.ones((T, B, IN), np.float32)
    lengths, mask, resets = registry.every_edge()
    flags = {"lengths": lengths, "mask": mask, "resets": resets}
    expected = rnn.apply(
        params, jnp.asarray(x), **{name: jnp.asarray(flag) for name, flag in flags.items()}
    )
    assert_same(rnn.apply(params, x, **flags), expected)
