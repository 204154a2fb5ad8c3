"""A training from its settings to its figures: checked, compiled, run, put on record."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.compiling import quick
from experiments.common.experiment import keys_of
from experiments.common.intervals import over_seeds
from experiments.common.records import RESULT_FILE, environment, read_json, write_json
from experiments.common.settings import as_stored
from experiments.common.updates import num_parameters
from experiments.reinforcement_learning.agent import Agent, Params, make_agent, memory_of
from experiments.reinforcement_learning.config import Config
from experiments.reinforcement_learning.environments import Environment, make_environment
from experiments.reinforcement_learning.ppo import (
    Learner,
    Steps,
    Trained,
    first_learner,
    log_prob_of,
    play,
    start,
    train,
)

TOLERANCE = 1e-3  # of a ratio, and of a value: far above rounding, far below a mistake
POINTS = 40  # of a learning curve, at most
_CHECKED_ROWS = 8


def make_parts(config: Config) -> tuple[Environment, Agent]:
    """Return what a config trains, and where.

    Raises:
      InputError: there is no such environment.
    """
    env = make_environment(config.environment, config.delay)
    return env, make_agent(memory_of(config, env), env, config.hidden_size)


def finished_or_trained(config: Config, folder: Path) -> dict[str, Any]:
    """Return a training's result: that of the folder, if it is of these settings, else a new one.

    Raises:
      InputError: there is no such environment.
      ValueError: see `check_ratio`.
      FloatingPointError: a number is not finite.
    """
    file = folder / RESULT_FILE
    if file.is_file() and read_json(file)["config"] == as_stored(config):
        return read_json(file)
    env, agent = make_parts(config)
    learners, keys = first_of_all(agent, env, config)
    params = jax.tree.map(lambda leaf: leaf[0], learners.params)
    check_ratio(agent, params, *checked_rollout(agent, env, params, keys[0]))
    began = time.perf_counter()
    program = jax.jit(jax.vmap(partial(train, agent, env, config))).lower(learners, keys)
    compiled = program.compile(quick(1))
    ready = time.perf_counter()
    trained: Trained = jax.device_get(compiled(learners, keys))
    seconds = time.perf_counter() - ready
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained)):
        raise FloatingPointError(
            "train: parameters are not finite any more; give a lower --learning-rate"
        )
    result = {
        "parameters": num_parameters(params),
        "levels": dict(env.levels),
        **figures_of(config, trained),
        "steps_per_second": trained.ended.size * config.num_envs * config.rollout / seconds,
        "seconds": seconds,
        "compile_seconds": ready - began,
        "config": as_stored(config),
        "environment": environment(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, result)
    return result


def first_of_all(agent: Agent, env: Environment, config: Config) -> tuple[Learner, jax.Array]:
    """Draw the learners of all seeds, and the key of each one's training."""
    keys = jax.vmap(jax.random.split)(keys_of(config.seed + np.arange(config.num_seeds)))
    one = partial(first_learner, agent, env, config)
    return jax.jit(jax.vmap(one), compiler_options=quick(0))(keys[:, 0]), keys[:, 1]


def checked_rollout(
    agent: Agent, env: Environment, params: Params, key: jax.Array
) -> tuple[Any, Steps]:
    """Play until episodes are under way, and once more: the memory between, and what follows.

    Each part is one and a half times as long as the longest episode, so that the second
    begins within one and has the end of some.
    """
    length = env.longest + env.longest // 2 + 1

    def played(params: Params, key: jax.Array) -> tuple[Any, Steps]:
        keys = jax.random.split(key, 3)
        playing = start(agent, env, params, keys[0], _CHECKED_ROWS)

        def part(playing: Any, key: jax.Array) -> Any:
            after, steps = play(agent, env, params, playing, key, length)
            return after, (playing.memory, steps)

        parts = jax.lax.scan(part, playing, keys[1:])[1]
        return jax.tree.map(lambda leaf: leaf[1], parts)

    with jax.default_matmul_precision("highest"):
        return jax.jit(played, compiler_options=quick(0))(surer(params), key)


def surer(params: Params) -> Params:
    """Return an agent that prefers some actions: the first one is as good as indifferent.

    Of such a one the ratio is 1 with any mistake.
    """
    hidden, last = params.actor
    return params._replace(actor=(hidden, last._replace(w=100.0 * last.w)))


def check_ratio(agent: Agent, params: Params, memory: Any, steps: Steps) -> None:
    """Refuse an agent that, over a whole rollout, is not the one that played it.

    With the same parameters PPO's ratio is 1, and the values are the same, to rounding. They
    are not where the memory begins anew one step off, or with another state than it was in.

    Args:
      agent: the agent.
      params: its parameters, before `surer`.
      memory: what the rollout began with.
      steps: the rollout.

    Raises:
      ValueError: says how far off they are.
    """

    def again(params: Params, memory: Any, steps: Steps) -> tuple[jax.Array, jax.Array]:
        _, logits, value = agent.apply(params, memory, steps.x, steps.reset)
        ratio = jnp.exp(log_prob_of(logits, steps.action) - steps.log_prob)
        return jnp.max(jnp.abs(ratio - 1)), jnp.max(jnp.abs(value - steps.value))

    with jax.default_matmul_precision("highest"):
        off = jax.jit(again, compiler_options=quick(0))(surer(params), memory, steps)
    if not all(one <= TOLERANCE for one in off):  # so that NaN is refused
        raise ValueError(
            "check_ratio: ratio and values of a rollout must be those it was played with, to "
            f"{TOLERANCE}, got ratios off by {off[0]:.2g} and values by {off[1]:.2g}; give the "
            "done that came with x as its reset, not the one that the action led to, and the "
            "memory that the rollout began with"
        )


def figures_of(config: Config, trained: Trained) -> dict[str, Any]:
    """Return the mean return of the episodes of the last tenth, and of stretches of all."""
    ended, returns = np.asarray(trained.ended), np.asarray(trained.returns, np.float64)
    each = config.num_envs * config.rollout
    parts = np.array_split(np.arange(config.num_updates), min(POINTS, config.num_updates))
    # A stretch in which no episode ended has no point.
    parts = [part for part in parts if (ended[:, part].sum(axis=1) > 0).all()]
    means = [returns[:, part].sum(axis=1) / ended[:, part].sum(axis=1) for part in parts]
    last = slice(-max(1, config.num_updates // 10), None)
    number = np.maximum(ended[:, last].sum(axis=1), 1)
    return {
        "return": over_seeds(returns[:, last].sum(axis=1) / number),
        "curve": {
            "step": [each * (int(part[-1]) + 1) for part in parts],
            "each": np.array(means).reshape(len(parts), -1).T.tolist(),
        },
    }
