"""Recurrent PPO: a training is one program, a scan over updates.

    δ_t = r_t + γ (1 - d_t) V_{t+1} - V_t
    A_t = δ_t + γ λ (1 - d_t) A_{t+1}
    ratio_t = π(a_t | x_1 .. x_t) / π_old(a_t | x_1 .. x_t)
    loss = mean(-min(ratio A, clip(ratio) A) + c_v (V - (V_old + A))² / 2 - c_e entropy)

d_t says that step t ended an episode, be it that its time was over: there, too, V_{t+1} counts as
zero (no bootstrapping at truncation). It belongs to the advantages; the memory begins anew by
the done that came with x_t, that of step t - 1. A gradient is of whole rollouts of some of the
environments, which begin with the memory that they were played with.

References:
  Schulman et al. 2017, "Proximal policy optimization algorithms", with values clipped as the
  policy is; of the advantages, Schulman et al. 2016. Lu et al. 2022, "Discovered policy
  optimisation", whose code is purejaxrl: trainings as one program.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.reinforcement_learning.agent import Agent, Params
from experiments.reinforcement_learning.config import Config
from experiments.reinforcement_learning.environments import Environment, begin_anew


class Playing(NamedTuple):
    """Where B environments, and the agent in them, stand."""

    state: Any  # of the environments
    x: jax.Array  # [B, I], what is seen now
    reset: jax.Array  # bool [B], whether that is the first of an episode
    memory: Any  # of what was seen before
    total: jax.Array  # [B], the rewards of the episode so far


class Steps(NamedTuple):
    """What is kept of a rollout, `[T, B, ...]`."""

    x: jax.Array
    reset: jax.Array  # came with x
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    done: jax.Array  # came of the action
    total: jax.Array  # the rewards of the episode, this step's included


def start(agent: Agent, env: Environment, params: Params, key: jax.Array, rows: int) -> Playing:
    """Begin an episode in each of so many environments."""
    state, x = jax.vmap(env.begin)(jax.random.split(key, rows))
    memory = agent.initial_state(params, rows)
    return Playing(state, x, jnp.zeros(rows, bool), memory, jnp.zeros(rows))


def play(
    agent: Agent, env: Environment, params: Params, playing: Playing, key: jax.Array, length: int
) -> tuple[Playing, Steps]:
    """Play so many steps in each environment."""
    k_act, k_move = jax.random.split(key)
    shape = length, len(playing.x)
    # Drawn before the loop, which then compiles and runs sooner.
    noise = jax.random.gumbel(k_act, (*shape, env.num_actions))
    keys = jax.random.split(k_move, shape)

    def step(playing: Playing, drawn: tuple[jax.Array, jax.Array]) -> tuple[Playing, Steps]:
        x, reset, (noise, keys) = playing.x, playing.reset, drawn
        memory, logits, value = agent.apply(params, playing.memory, x[None], reset[None])
        action = jnp.argmax(logits[0] + noise, axis=-1)  # a draw from softmax(logits)
        state, seen, reward, done = jax.vmap(partial(begin_anew, env))(keys, playing.state, action)
        total = playing.total + reward
        log_prob = log_prob_of(logits[0], action)
        after = Playing(state, seen, done, memory, jnp.where(done, 0.0, total))
        return after, Steps(x, reset, action, log_prob, value[0], reward, done, total)

    return jax.lax.scan(step, playing, (noise, keys))


def log_prob_of(logits: jax.Array, action: jax.Array) -> jax.Array:
    """Return the log-probability of an action."""
    return -optax.softmax_cross_entropy_with_integer_labels(logits, action)


def advantages_of(
    steps: Steps, last_value: jax.Array, discount: float, gae_lambda: float
) -> jax.Array:
    """Return the generalised advantages `[T, B]`.

    Args:
      steps: a rollout.
      last_value: `[B]`, of what is seen after it.
      discount: γ.
      gae_lambda: λ.
    """

    def step(carry: tuple[jax.Array, jax.Array], inputs: Any) -> Any:
        advantage, next_value = carry
        reward, value, done = inputs
        goes_on = discount * (1.0 - done)
        advantage = reward + goes_on * next_value - value + gae_lambda * goes_on * advantage
        return (advantage, value), advantage

    first = jnp.zeros_like(last_value), last_value
    inputs = steps.reward, steps.value, steps.done
    return jax.lax.scan(step, first, inputs, reverse=True)[1]


class Part(NamedTuple):
    """Some environments' part of a rollout, which a gradient is of."""

    memory: Any  # before its first step, [N, ...]
    steps: Steps  # [T, N, ...]
    advantage: jax.Array  # [T, N]


def loss_of(agent: Agent, config: Config, params: Params, part: Part) -> jax.Array:
    """Return PPO's loss."""
    memory, steps, advantage = part
    _, logits, value = agent.apply(params, memory, steps.x, steps.reset)
    target, clip = steps.value + advantage, config.clip
    near = steps.value + jnp.clip(value - steps.value, -clip, clip)
    error = jnp.maximum((value - target) ** 2, (near - target) ** 2)
    gain = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    ratio = jnp.exp(log_prob_of(logits, steps.action) - steps.log_prob)
    better = jnp.minimum(ratio * gain, jnp.clip(ratio, 1 - clip, 1 + clip) * gain)
    log_probs = jax.nn.log_softmax(logits)
    entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
    return jnp.mean(config.value_weight * error / 2 - better - config.entropy_weight * entropy)


def optimizer(config: Config) -> optax.GradientTransformation:
    """Return Adam behind a clipped norm, its rate falling to zero in a line."""
    steps = config.num_updates * config.epochs * config.num_minibatches
    rate = optax.linear_schedule(config.learning_rate, 0.0, steps)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(rate, eps=1e-5))


class Learner(NamedTuple):
    """What an update hands to the next."""

    params: Params
    opt_state: Any
    playing: Playing


def first_learner(agent: Agent, env: Environment, config: Config, key: jax.Array) -> Learner:
    """Draw an agent, and begin its episodes."""
    k_init, k_start = jax.random.split(key)
    params = agent.init(k_init)
    playing = start(agent, env, params, k_start, config.num_envs)
    return Learner(params, optimizer(config).init(params), playing)


def update(
    agent: Agent, env: Environment, config: Config, learner: Learner, key: jax.Array
) -> tuple[Learner, Steps]:
    """Play a rollout and learn from it."""
    k_play, k_order = jax.random.split(key)
    params, opt_state, before = learner
    playing, steps = play(agent, env, params, before, k_play, config.rollout)
    _, _, last = agent.apply(params, playing.memory, playing.x[None], playing.reset[None])
    advantage = advantages_of(steps, last[0], config.discount, config.gae_lambda)
    tx = optimizer(config)

    def learn(state: Any, rows: jax.Array) -> tuple[Any, None]:
        params, opt_state = state
        memory = jax.tree.map(lambda leaf: leaf[rows], before.memory)
        part = Part(memory, *jax.tree.map(lambda leaf: leaf[:, rows], (steps, advantage)))
        gradient = jax.grad(partial(loss_of, agent, config))(params, part)
        change, opt_state = tx.update(gradient, opt_state)
        return (optax.apply_updates(params, change), opt_state), None

    keys = jax.random.split(k_order, config.epochs)
    orders = jax.vmap(partial(jax.random.permutation, x=config.num_envs))(keys)
    rows = orders.reshape(config.epochs * config.num_minibatches, -1)
    (params, opt_state), _ = jax.lax.scan(learn, (params, opt_state), rows)
    return Learner(params, opt_state, playing), steps


class Trained(NamedTuple):
    """A finished training; of several seeds with a leading axis."""

    params: Params
    ended: jax.Array  # [U], the episodes that ended in each rollout
    returns: jax.Array  # [U], the sum of their returns


def train(
    agent: Agent, env: Environment, config: Config, learner: Learner, key: jax.Array
) -> Trained:
    """Train one agent."""

    def step(learner: Learner, key: jax.Array) -> tuple[Learner, tuple[jax.Array, jax.Array]]:
        learner, steps = update(agent, env, config, learner, key)
        return learner, (jnp.sum(steps.done), jnp.sum(steps.total, where=steps.done))

    keys = jax.random.split(key, config.num_updates)
    learner, (ended, returns) = jax.lax.scan(step, learner, keys)
    return Trained(learner.params, ended, returns)
