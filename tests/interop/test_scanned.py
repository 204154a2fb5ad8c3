"""ScannedRNN: what recurrent agents call, and the done that goes with each observation."""

from functools import partial

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import interop
from deeprnn_jax.interop.linen import ScannedRNN
from tests.interop.recorded import assert_close
from tests.interop.test_flax_modules import B, H, I, T, inputs, named, params_of
from tests.test_bad_input import refuses

RESETS = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 0, 0]], bool)
GRU = drnn.deep_rnn(drnn.gru(H))
NETWORKS = {
    "lstm": drnn.deep_rnn(drnn.lstm(H), 2),
    "mixed": drnn.deep_rnn([drnn.lstm(6), drnn.layer_norm(drnn.gru(H))], skip="dense"),
    "stacked": drnn.deep_rnn(drnn.gru(H), 4, stack_layers=True),
    "readout": drnn.deep_rnn(drnn.gru(H), 2, output_size=2, normalize_inputs=True),
}


def variables_of(rnn):
    return {"params": {"network": named(rnn, params_of(rnn))}}


def states(rnn, batch, seed=3):
    """Give a random carry of a network."""
    carry = ScannedRNN(rnn).initialize_carry(batch, H)
    leaves, form = jax.tree.flatten(carry)
    rng = np.random.default_rng(seed)
    return form.unflatten([jnp.asarray(rng.normal(size=a.shape), a.dtype) for a in leaves])


@pytest.mark.core
def test_without_a_network_it_is_flaxs_gru():
    """Step by step, the carry zeros where an episode begins; and its gradients."""
    params, carry, ins = params_of(GRU), inputs(B, H), inputs(T, B, I)
    (cell,), _ = interop.to_linen(GRU, params)

    def theirs(variables, carry, ins):
        ys = []
        for x, reset in zip(ins, RESETS, strict=True):
            carry, y = cell.apply(variables, jnp.where(reset[:, None], 0.0, carry), x)
            ys.append(y)
        return carry, jnp.stack(ys)

    def ours(variables, carry, ins):
        return ScannedRNN().apply(variables, carry, (ins, RESETS))

    def differentiate(run, variables):
        def loss(carry, ins):
            found = run(variables, carry, ins)
            return sum(jnp.vdot(leaf, inputs(*leaf.shape)) for leaf in found), found

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(carry, ins)

    _, (tree,) = interop.to_linen(GRU, params)
    expected = differentiate(theirs, {"params": tree})
    assert_close(differentiate(ours, variables_of(GRU)), expected)


@pytest.mark.core
def test_the_drop_in():
    """As `ppo_rnn.py` has it: the class gives the carry, resets are numbers at first."""
    carry = ScannedRNN.initialize_carry(B, H)
    np.testing.assert_array_equal(carry, jnp.zeros((B, H)))
    np.testing.assert_array_equal(ScannedRNN().initialize_carry(B, H), carry)
    assert ScannedRNN.initialize_carry(batch_size=(2, B), hidden_size=H).shape == (2, B, H)
    variables = ScannedRNN().init(jax.random.key(0), carry, (inputs(1, B, I), jnp.zeros((1, B))))
    assert sorted(variables["params"]["network"]["layer_0"]["cell"]) == ["b", "b_hn", "w_h", "w_x"]
    x, numbers = inputs(T, B, I), RESETS.astype(np.float32)
    given = ScannedRNN().apply(variables, inputs(B, H), (x, numbers))
    assert_close(given, ScannedRNN().apply(variables, inputs(B, H), (x, RESETS)), 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network(name):
    """A rollout step by step, jitted, is the network's run with resets at once."""
    rnn = NETWORKS[name]
    module, variables, ins = ScannedRNN(rnn), variables_of(rnn), inputs(T, B, I)
    carry = states(rnn, B)
    assert len(carry) == len(rnn.plan.layers)
    assert all(leaf.shape[:1] == (B,) for leaf in jax.tree.leaves(carry))
    held = rnn.stack(carry) if rnn.plan.stack_layers else carry
    state, y = rnn.apply(params_of(rnn), ins, held, resets=RESETS)
    expected = tuple(rnn.unstack(state)) if rnn.plan.stack_layers else state, y
    assert_close(module.apply(variables, carry, (ins, RESETS)), expected, 1e-6)

    def step(carry, x):
        carry, y = module.apply(variables, carry, jax.tree.map(lambda one: one[None], x))
        return carry, y[0]

    assert_close(jax.jit(lambda c: jax.lax.scan(step, c, (ins, RESETS)))(carry), expected, 1e-6)
    zeros = jax.tree.map(jnp.zeros_like, carry)
    assert_close(module.initialize_carry(B, H), zeros, 0)


def test_rows_are_shuffled():
    """As the minibatches of purejaxrl are: a leading axis, then rows by axis 1."""
    rnn, rows = NETWORKS["lstm"], jnp.array([2, 0, 1])
    carry, ins = states(rnn, B), inputs(T, B, I)
    run = partial(ScannedRNN(rnn).apply, variables_of(rnn))
    batch = jax.tree.map(lambda leaf: leaf[None], carry), ins, RESETS
    (first, *x) = jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=1), batch)
    state, y = run(carry, (ins, RESETS))
    expected = jax.tree.map(lambda leaf: leaf[rows], state), y[:, rows]
    assert_close(run(jax.tree.map(lambda leaf: leaf[0], first), tuple(x)), expected, 1e-6)


def test_a_learned_state_comes_with_the_first_reset():
    rnn = drnn.deep_rnn(drnn.learned_initial_state(drnn.gru(H)), 2)
    params, ins, resets = params_of(rnn), inputs(T, B, I), np.array(RESETS)
    resets[0] = True
    other = rnn.initial_state(jax.tree.map(jnp.zeros_like, params), B)
    found = ScannedRNN(rnn).apply(variables_of(rnn), other, (ins, resets))
    assert_close(found, rnn.apply(params, ins, resets=resets), 1e-6)
    with refuses(
        "initialize_carry: the network's initial state must not depend on its "
        "parameters...got a learned one; use rnn.initial_state(params, batch_shape)"
    ):
        ScannedRNN(rnn).initialize_carry(B, H)


def test_dropout_where_there_is_its_key():
    rnn = drnn.deep_rnn(drnn.gru(H), 2, dropout=0.5)
    carry, x, key = states(rnn, B), (inputs(T, B, I), RESETS), jax.random.key(0)
    run = partial(ScannedRNN(rnn).apply, variables_of(rnn), carry, x)
    still = rnn.apply(params_of(rnn), x[0], carry, resets=RESETS)
    assert_close(run(), still, 1e-6)
    assert not np.allclose(run(rngs={"dropout": key})[1], still[1])


class Observation:
    """A small environment: a walk that ends at a wall, or by chance, and begins anew."""

    @staticmethod
    def reset(key):
        return jax.random.uniform(key, (), minval=-0.5, maxval=0.5)

    @classmethod
    def step(cls, key, place, action):
        k_end, k_move, k_reset = jax.random.split(key, 3)
        place = place + jnp.where(action == 1, 0.2, -0.2) + 0.2 * jax.random.normal(k_move)
        done = (jnp.abs(place) > 1) | jax.random.bernoulli(k_end, 0.1)
        return jnp.where(done, cls.reset(k_reset), place), done


class Policy(nn.Module):
    """Log-probabilities of two actions."""

    rnn: drnn.DeepRNN | None

    @nn.compact
    def __call__(self, carry, x):
        place, done = x
        ins = nn.Dense(H)(jnp.stack([place, place**2], axis=-1))
        carry, y = ScannedRNN(self.rnn)(carry, (ins, done))
        return carry, nn.log_softmax(nn.Dense(2, kernel_init=nn.initializers.normal(2.0))(y))


def rollouts(rnn, key, num_envs=6, num_steps=16):
    """Act twice, one rollout after the other; give the second one.

    Returns:
      The policy's log-probabilities as a function of (carry, (obs, done)), the carry before
      the rollout, and what each step stored.
    """
    k_init, k_reset, k_act = jax.random.split(key, 3)
    policy, scanned = Policy(rnn), ScannedRNN if rnn is None else ScannedRNN(rnn)
    carry, done = scanned.initialize_carry(num_envs, H), jnp.zeros(num_envs, bool)
    place = jax.vmap(Observation.reset)(jax.random.split(k_reset, num_envs))
    variables = policy.init(k_init, carry, (place[None], done[None]))

    def act(before, key):
        carry, place, done = before
        k_action, k_env = jax.random.split(key)
        carry, (log_probs,) = policy.apply(variables, carry, (place[None], done[None]))
        action = jax.random.categorical(k_action, log_probs)
        log_prob = jnp.take_along_axis(log_probs, action[:, None], axis=-1)[:, 0]
        keys = jax.random.split(k_env, num_envs)
        after = jax.vmap(Observation.step)(keys, place, action)
        stored = {"obs": place, "done": done, "ends": after[1]}
        return (carry, *after), stored | {"action": action, "log_prob": log_prob}

    keys = jax.random.split(k_act, (2, num_steps))
    before, _ = jax.lax.scan(act, (carry, place, done), keys[0])
    _, stored = jax.lax.scan(act, before, keys[1])
    return lambda x: policy.apply(variables, before[0], x)[1], stored


def ratios(run, stored, done):
    """Give PPO's ratio of each step of a rollout, all of them run at once."""
    log_probs = run((stored["obs"], done))
    log_prob = jnp.take_along_axis(log_probs, stored["action"][..., None], axis=-1)[..., 0]
    return jnp.exp(log_prob - stored["log_prob"])


@pytest.mark.parametrize("rnn", [None, NETWORKS["lstm"]], ids=["gru", "two lstm"])
def test_the_ratio_of_a_stored_rollout_is_one(rnn):
    """With the done that came with each observation, and only so."""

    @jax.jit
    def program(key):
        run, stored = rollouts(rnn, key)
        kinds = {
            "right": stored["done"],
            "of the action": stored["ends"],
            "a step late": jnp.roll(stored["done"], 1, axis=0),
            "none": jnp.zeros_like(stored["done"]),
        }
        return {name: ratios(run, stored, done) for name, done in kinds.items()}, stored["done"]

    found, done = jax.vmap(program)(jax.random.split(jax.random.key(0), 2))  # over seeds
    assert 4 < np.sum(done[0]) < 30
    np.testing.assert_allclose(found.pop("right"), 1, atol=1e-6)
    for name, wrong in found.items():
        assert np.max(np.abs(wrong - 1)) > 1e-2, name


def test_refusals():
    rnn = NETWORKS["lstm"]
    one, two = ScannedRNN(), ScannedRNN(rnn)
    x, zeros = (inputs(T, B, I), RESETS), jnp.zeros((B, H))
    run, run_two = partial(one.apply, variables_of(GRU)), partial(two.apply, variables_of(rnn))
    with refuses(
        "ScannedRNN: carry must be one array [*B, H] where there is no network, got tuple"
        "...ScannedRNN.initialize_carry(batch_size, hidden_size), or ScannedRNN(rnn)"
    ):
        run(states(rnn, B), x)
    with refuses(
        "ScannedRNN: carry is not of this network and batch: carry must be of shape "
        "(3, 4), got (5, 4); use initialize_carry"
    ):
        run(jnp.zeros((T, H)), x)
    with refuses("ScannedRNN: carry is not of this network and batch: carry must be float32"):
        run(zeros.astype(jnp.bfloat16), x)
    with refuses(
        "ScannedRNN: carry is not of this network and batch: carry must be a tuple, got "
        "an array [3, 4]"
    ):
        run_two(zeros, x)
    with refuses(
        "ScannedRNN: carry is not of this network and batch: carry must have [0], [1], "
        "got [0], [1], [2]"
    ):
        run_two((*states(rnn, B), zeros), x)
    with refuses("carry[0].h must be of shape (3, 4), got (2, 4)"):
        run_two(states(rnn, 2), x)
    with refuses("ScannedRNN: x must be a pair (ins, resets), got ArrayImpl"):
        run(zeros, x[0])
    with refuses(
        "ScannedRNN: ins and resets must be [T, *B, F] and [T, *B], got (5, 3, 3) and "
        "(3, 5); one step is T = 1"
    ):
        run(zeros, (x[0], RESETS.T))
    with refuses("ScannedRNN: ins must be floating point, got int32"):
        run(zeros, (jnp.ones((T, B, I), jnp.int32), RESETS))
    with refuses(
        "initialize_carry: hidden_size must be 4, the width of the network's last layer, got 5"
    ):
        two.initialize_carry(B, 5)
    with refuses("initialize_carry: hidden_size must be an int of 1 or more, got None"):
        ScannedRNN.initialize_carry(B, None)
    for module in (one, two):
        with refuses("initialize_carry: batch_size must be an int or a tuple of ints, got 2.5"):
            module.initialize_carry(2.5, H)
    with refuses("ScannedRNN: rnn must have one direction, got two"):
        ScannedRNN(drnn.deep_rnn(drnn.gru(H), bidirectional=True)).initialize_carry(B, 2 * H)
    with refuses("ScannedRNN: rnn must be a network, got Cell"):
        ScannedRNN(drnn.gru(H)).initialize_carry(B, H)


def test_a_state_of_the_width_of_x_is_refused():
    """`initialize_carry` does not know that width: it would give a carry that the call refuses."""

    def step(params, state, x):
        return (x,), (x + state[0]) @ params

    def initial(params, batch_shape):
        return (jnp.zeros((*batch_shape, len(params))),)

    cell = drnn.step_cell(lambda key, size: jax.random.normal(key, (size, H)), initial, step, H)
    with refuses("initialize_carry: the network's initial state must not depend on the width of x"):
        ScannedRNN(drnn.deep_rnn(cell)).initialize_carry(B, H)


def test_schedule_and_checkpoints_reach_apply():
    rnn, x = NETWORKS["lstm"], (inputs(T, B, I), RESETS)
    variables, carry = variables_of(rnn), states(rnn, B)
    expected = ScannedRNN(rnn).apply(variables, carry, x)
    for options in ({"schedule": "reference"}, {"checkpoint_every": 2}):
        assert_close(ScannedRNN(rnn, **options).apply(variables, carry, x), expected, 1e-6)
    with refuses("apply: schedule must be"):
        ScannedRNN(rnn, schedule="none").apply(variables, carry, x)
    with refuses("apply: checkpoint_every must be"):
        ScannedRNN(rnn, checkpoint_every="none").apply(variables, carry, x)


@pytest.mark.parametrize("module", [ScannedRNN(), ScannedRNN(NETWORKS["lstm"])])
def test_a_carry_of_a_symbolic_batch(module):
    (b,) = jax.export.symbolic_shape("b")
    x = jax.ShapeDtypeStruct((b, I), jnp.float32)
    run = jax.jit(lambda x: module.initialize_carry(x.shape[0], H))
    assert {leaf.shape for leaf in jax.export.export(run)(x).out_avals} == {(b, H)}
