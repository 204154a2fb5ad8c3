"""Recurrent PPO on CartPole, compiled as a whole, in the way of purejaxrl: one update of it.

A rollout, advantages by a reverse scan, epochs of minibatches, each of a GRU over the
rollout with resets: every loop is a scan. (Schulman 2017; advantages: Schulman 2016.)
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks.scans import cart_pole
from experiments.benchmarks.scans.code import Code, Scan, draw

DISCOUNT, LAMBDA, CLIP, ENTROPY, VALUE = 0.99, 0.95, 0.2, 0.01, 0.5
EPOCHS, MINIBATCHES = 4, 4
OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(2.5e-4, eps=1e-5))


class Steps(NamedTuple):
    """What a rollout keeps, `[T, B, ...]`."""

    x: jax.Array
    reset: jax.Array  # before the step
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    done: jax.Array  # after the step


class ActorCritic(nn.Module):
    """A GRU between dense layers, its state set to zero where an episode begins."""

    hidden_size: int
    scan: Scan

    @nn.compact
    def __call__(self, h: jax.Array, x: jax.Array, reset: jax.Array) -> Any:
        """Return the last h, and logits and values of x `[T, B, 4]`."""
        size = self.hidden_size
        cell = nn.GRUCell(size, parent=None)
        weights = self.param("cell", cell.init, h, h)

        def step(h: jax.Array, inputs: Any) -> Any:
            x_t, reset = inputs
            return cell.apply(weights, jnp.where(reset[:, None], 0.0, h), x_t)

        h, y = self.scan(step, h, (nn.tanh(nn.Dense(size)(x)), reset))
        logits = nn.Dense(2)(nn.tanh(nn.Dense(size)(y)))
        value = nn.Dense(1)(nn.tanh(nn.Dense(size)(y)))
        return h, logits, value[..., 0]


def unroll(scan: Scan, params: Any, h: jax.Array, x: jax.Array, reset: jax.Array) -> Any:
    """Run the network."""
    return ActorCritic(h.shape[-1], scan).apply(params, h, x, reset)


def roll_out(scan: Scan, params: Any, start: Any, keys: jax.Array) -> tuple[Steps, jax.Array]:
    """Play a step a key; return the steps, and the values after the last."""

    def step(state: Any, key: jax.Array) -> tuple[Any, Steps]:
        h, x, reset, age = state
        to_act, to_begin = jax.random.split(key)
        h, logits, value = unroll(scan, params, h, x[None], reset[None])
        action = jax.random.categorical(to_act, logits[0])
        log_prob = jnp.take_along_axis(nn.log_softmax(logits[0]), action[:, None], axis=1)[:, 0]
        after, age, done = cart_pole.move(x, age, action, to_begin)
        return (h, after, done, age), Steps(x, reset, action, log_prob, value[0], done)

    (h, x, reset, _), steps = scan(step, start, keys)
    return steps, unroll(scan, params, h, x[None], reset[None])[2][0]


def advantages_of(scan: Scan, steps: Steps, last_value: jax.Array) -> jax.Array:
    """Return the generalised advantages `[T, B]`; each step has a reward of 1."""

    def step(carry: Any, inputs: Any) -> Any:
        advantage, next_value = carry
        value, done = inputs
        goes_on = DISCOUNT * (1.0 - done)
        advantage = 1 + goes_on * next_value - value + LAMBDA * goes_on * advantage
        return (advantage, value), advantage

    start = (jnp.zeros_like(last_value), last_value)
    return scan(step, start, (steps.value, steps.done), reverse=True)[1]


def ppo_loss(scan: Scan, params: Any, h: jax.Array, steps: Steps, gain: jax.Array) -> jax.Array:
    """Return the clipped loss of policy and values, and the entropy's, of some rows."""
    _, logits, value = unroll(scan, params, h, steps.x, steps.reset)
    log_probs = nn.log_softmax(logits)
    log_prob = jnp.take_along_axis(log_probs, steps.action[..., None], axis=-1)[..., 0]
    ratio = jnp.exp(log_prob - steps.log_prob)
    clipped = steps.value + jnp.clip(value - steps.value, -CLIP, CLIP)
    errors = [jnp.square(v - gain - steps.value) for v in (value, clipped)]
    gain = (gain - gain.mean()) / (gain.std() + 1e-8)
    policy = jnp.minimum(ratio * gain, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * gain)
    entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
    return jnp.mean(VALUE * 0.5 * jnp.maximum(*errors) - policy - ENTROPY * entropy)


def loss(scan: Scan, params: Any, data: Any) -> jax.Array:
    """Return the loss of a rollout before anything is learned of it."""
    start, keys, _ = data
    steps, last_value = roll_out(scan, params, start, keys)
    return ppo_loss(scan, params, start[0], steps, advantages_of(scan, steps, last_value))


def update(scan: Scan, params: Any, data: Any) -> tuple[jax.Array, Any]:
    """Play, and learn of it; return the mean loss of the minibatches, and new parameters."""
    start, keys, epoch_keys = data
    steps, last_value = roll_out(scan, params, start, keys)
    batch = (start[0][None], steps, advantages_of(scan, steps, last_value))

    def learn(state: Any, rows: jax.Array) -> Any:
        params, optimizer_state = state
        h, steps, gain = jax.tree.map(lambda leaf: leaf[:, rows], batch)
        value, gradient = jax.value_and_grad(ppo_loss, argnums=1)(scan, params, h[0], steps, gain)
        change, optimizer_state = OPTIMIZER.update(gradient, optimizer_state)
        return (optax.apply_updates(params, change), optimizer_state), value

    def epoch(state: Any, key: jax.Array) -> Any:
        rows = jax.random.permutation(key, last_value.shape[0])
        return scan(learn, state, rows.reshape(MINIBATCHES, -1))

    (params, _), values = scan(epoch, (params, OPTIMIZER.init(params)), epoch_keys)
    return jnp.mean(values), params


def build(
    rng: np.random.Generator, code: str, batch_size: int, num_steps: int, hidden_size: int
) -> Code:
    """Draw the network, and where the episodes begin."""
    del code
    keys = jax.random.split(jax.random.key(int(rng.integers(2**31))), 1 + num_steps + EPOCHS)
    h, x = jnp.zeros((batch_size, hidden_size)), cart_pole.begin(keys[0], batch_size)
    reset = jnp.zeros(batch_size, bool)
    network = ActorCritic(hidden_size, jax.lax.scan)
    shapes = jax.eval_shape(network.init, jax.random.key(0), h, x[None], reset[None])
    start = (h, x, reset, jnp.zeros(batch_size, jnp.int32))
    return Code(
        draw(rng, shapes), (start, keys[1 : 1 + num_steps], keys[1 + num_steps :]), loss, update
    )
