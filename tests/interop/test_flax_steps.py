"""DeepRNN in Flax: masks, resets, and one step at a time."""

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import deeprnn_jax as drnn
from deeprnn_jax import interop
from tests.interop.recorded import assert_close
from tests.interop.test_flax_modules import DROPS, FLAX, B, H, I, Linen, T, inputs, named, params_of
from tests.test_bad_input import refuses

LENGTHS = np.array([5, 2, 4])
MASK = np.array([[1, 1, 0, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 0, 1]], bool)
RESETS = np.array([[0, 0, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0]], bool)
FLAGS = {"seq_lengths": LENGTHS, "mask": MASK, "resets": RESETS}
GRU = drnn.deep_rnn(drnn.gru(H))
TWO = drnn.deep_rnn(drnn.lstm(H), 2, output_size=2)
LEARNED = drnn.deep_rnn(drnn.learned_initial_state(drnn.gru(H)), 2)


def module_of(api, rnn, params, **options):
    """Give a function of a method's name and its arguments."""
    if api is Linen:
        module = interop.linen.DeepRNN(rnn, **options)
        variables = {"params": {"network": named(rnn, params)}}
        return lambda name, *args, **call: module.apply(variables, *args, method=name, **call)
    module = interop.nnx.DeepRNN(rnn, I, params=params, **options)
    return lambda name, *args, **call: getattr(module, name)(*args, **call)


@FLAX
@pytest.mark.parametrize("given", [("mask",), ("resets",), ("mask", "resets"), tuple(FLAGS)])
def test_masks_and_resets_are_the_networks(api, given):
    params, x = params_of(TWO), inputs(B, T, I)
    flags = {name: FLAGS[name] for name in given}
    run = module_of(api, TWO, params, return_carry=True)
    carry, y = jax.jit(lambda x: run("__call__", x, **flags))(x)
    timed = {name.removeprefix("seq_"): np.moveaxis(flags[name], -1, 0) for name in given}
    state, expected = TWO.apply(params, jnp.swapaxes(x, 0, 1), **timed)
    assert_close((carry, y), (state, jnp.swapaxes(expected, 0, 1)), 1e-6)
    turned = {name: one if name == "seq_lengths" else one.T for name, one in flags.items()}
    time_major = run("__call__", jnp.swapaxes(x, 0, 1), time_major=True, **turned)
    assert_close(time_major, (state, expected), 1e-6)


@FLAX
@pytest.mark.parametrize("given", [("mask",), ("resets",), ("mask", "resets"), tuple(FLAGS)])
def test_a_reverse_run_is_the_reverse_direction(api, given):
    """Of a network of two, which meets the same flags in time's order."""
    both = drnn.deep_rnn(drnn.gru(H), bidirectional=True)
    two, x = params_of(both), inputs(B, T, I)
    params = jax.tree.map(lambda leaf: leaf[1], two)
    flags = {name: FLAGS[name] for name in given}
    timed = {name.removeprefix("seq_"): np.moveaxis(flags[name], -1, 0) for name in given}
    state, y = both.apply(two, jnp.swapaxes(x, 0, 1), **timed)
    expected = jax.tree.map(lambda leaf: leaf[1], state), jnp.swapaxes(y, 0, 1)[..., H:]
    run = module_of(api, GRU, params, return_carry=True, reverse=True, keep_order=True)
    assert_close(run("__call__", x, **flags), expected, 1e-6)


def test_a_reverse_run_keeps_sequences_apart():
    """Two in one row, packed, are as each alone read backwards."""
    params, x = params_of(GRU), inputs(1, T, I)
    run = module_of(Linen, GRU, params, reverse=True, keep_order=True)
    packed = run("__call__", x, resets=jnp.arange(T)[None] == 2)
    alone = [run("__call__", part) for part in (x[:, :2], x[:, 2:])]
    assert_close(packed, jnp.concatenate(alone, axis=1), 1e-6)


@FLAX
@pytest.mark.parametrize("rnn", [TWO, LEARNED, drnn.deep_rnn(drnn.gru(H), 3, stack_layers=True)])
def test_steps_are_the_networks(api, rnn):
    params, x = params_of(rnn), inputs(B, T, I)
    run = module_of(api, rnn, params)
    shape = (x[:, 0].shape,)
    carry = run("initialize_carry", *((jax.random.key(0), *shape) if api is Linen else shape))
    assert_close(carry, rnn.initial_state(params, B), 0)
    state, ys = carry, []
    for t in range(T):
        expected, y = rnn.step(params, state, x[:, t])
        state, found = run("step", state, x[:, t])
        assert_close((state, found), (expected, y), 0)
        ys.append(found)
    assert_close(jnp.stack(ys, 1), run("__call__", x), 1e-6)


@pytest.mark.core
def test_linen_carry_without_parameters():
    for rnn in (TWO, DROPS, drnn.deep_rnn(drnn.layer_norm(drnn.gru(H)), 3, stack_layers=True)):
        carry = interop.linen.DeepRNN(rnn).initialize_carry(jax.random.key(0), (2, B, I))
        assert_close(carry, rnn.initial_state(params_of(rnn), (2, B)), 0)
    with refuses(
        "initialize_carry: the network's initial state must not depend on its parameters"
        "...got a learned one; use rnn.initial_state(params, batch_shape)"
    ):
        interop.linen.DeepRNN(LEARNED).initialize_carry(jax.random.key(0), (B, I))


class Decoder(nn.Module):
    """A user's model that puts something between two steps."""

    rnn: drnn.DeepRNN

    @nn.compact
    def __call__(self, x):
        cell = interop.linen.DeepRNN(self.rnn, name="cell")
        carry, ys = cell.initialize_carry(self.make_rng("params"), x[:, 0].shape), []
        for t in range(x.shape[1]):
            carry, y = cell.step(carry, x[:, t])
            ys.append(y)
        return jnp.stack(ys, 1)


@pytest.mark.parametrize("rnn", [TWO, LEARNED])
def test_linen_steps_inside_a_model(rnn):
    """The parameters are drawn by whichever method comes first."""
    x = inputs(B, T, I)
    y, variables = Decoder(rnn).init_with_output(jax.random.key(0), x)
    tree = variables["params"]["cell"]
    expected = interop.linen.DeepRNN(rnn).apply({"params": tree}, x)
    assert_close(y, expected, 1e-6)
    model, carry = interop.linen.DeepRNN(rnn), rnn.initial_state(params_of(rnn), B)
    drawn = model.init(jax.random.key(0), carry, x[:, 0], method="step")
    whole = model.init(jax.random.key(0), x)
    assert_close(drawn, whole, 0)


@pytest.mark.core
def test_dropout_of_steps():
    params, x = params_of(DROPS), inputs(B, I)
    state = DROPS.initial_state(params, B)
    still = DROPS.step(params, state, x)
    linen, key = interop.linen.DeepRNN(DROPS), jax.random.key(0)
    variables = {"params": {"network": named(DROPS, params)}}
    assert_close(linen.apply(variables, state, x, method="step"), still, 0)
    rngs = {"dropout": key}
    _, y = linen.apply(variables, state, x, method="step", rngs=rngs)
    assert not np.allclose(y, still[1])
    _, y = linen.apply(variables, state, x, deterministic=True, method="step", rngs=rngs)
    assert_close(y, still[1], 0)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        linen.apply(variables, state, x, deterministic=False, method="step")
    graph = interop.nnx.DeepRNN(DROPS, I, params=params, rngs=nnx.Rngs(0))
    assert not np.allclose(graph.step(state, x)[1], graph.step(state, x)[1])
    _, y = graph.step(state, x, rngs=key)
    assert_close(y, DROPS.step(params, state, x, key=key)[1], 0)
    graph.eval()
    assert_close(graph.step(state, x), still, 0)


@FLAX
def test_refusals(api):
    x = inputs(B, T, I)
    run = module_of(api, GRU, params_of(GRU))
    with refuses("DeepRNN: mask must be bool [*B, T] = (3, 5), the axes of inputs, got float32"):
        run("__call__", x, mask=jnp.ones((B, T)))
    with refuses("DeepRNN: resets must be bool [*B, T] = (3, 5)...got bool (5, 3)...time_major"):
        run("__call__", x, resets=RESETS.T)
    with refuses("DeepRNN: resets must be bool [T, *B] = (3, 5)...got list"):
        run("__call__", x, time_major=True, resets=[True])
    with refuses("state is not of this network and batch"):
        run("step", TWO.initial_state(params_of(TWO), B), x[:, 0])
    with refuses("step: state must be what initial_state gives, got None"):
        run("step", None, x[:, 0])
    with refuses("step: x_t must be floating point, got int32"):
        run("step", GRU.initial_state(params_of(GRU), B), jnp.ones((B, I), jnp.int32))
    rng = (None,) if api is Linen else ()
    with refuses("initialize_carry: input_shape must be (*B, F), got 3; give the shape of one"):
        run("initialize_carry", *rng, 3)
    with refuses("initialize_carry: input_shape must end in F, the width...got 7: params"):
        run("initialize_carry", *rng, (2, 7))
    with refuses(
        "initialize_carry: *B of input_shape must be an int or a tuple of ints, got (2.5,"
    ):
        run("initialize_carry", *rng, (2.5, I))
    for wrong in (3, x[:, 0]):
        with refuses(
            "DeepRNN: initial_carry must be the network's state, a tuple...use initialize"
        ):
            run("__call__", x, initial_carry=wrong)
    for wrong, found in (([1.0], "list"), (1.0, "float")):
        with refuses(f"DeepRNN: inputs must be an array, got {found}"):
            run("__call__", wrong)
    with refuses("DeepRNN: inputs must be [*B, T, F], got shape ()"):
        run("__call__", jnp.ones(()))
    both = drnn.deep_rnn(drnn.gru(H), bidirectional=True)
    with refuses("step: a bidirectional network reads the whole sequence first"):
        module_of(api, both, params_of(both))("step", None, x[:, 0])
