"""PPO's update with the library's GRU, and the same code with Flax's scanned GRU.

Command:   python -m experiments.reinforcement_learning.speed
Expected:  experiments/results/reinforcement_learning/speed.json, with the hardware named
Hardware:  any; nothing else should run on it
Options:   --quick: one size, two rounds, nothing written

Both are `ppo.update` in the T-maze: a rollout, advantages, epochs of minibatches. Flax's memory
is `flax.linen.scan` over `GRUCell`, its carry set to zero where an episode begins, as in
purejaxrl. Weights are the same, and outputs are compared before anything is timed. A ratio is the
median of those of interleaved rounds, time of ours to Flax's.
"""

import dataclasses
import sys
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import deeprnn_jax as drnn
from deeprnn_jax import interop
from experiments.benchmarks.machine import describe_machine
from experiments.benchmarks.timing import interleave
from experiments.common.records import write_json
from experiments.reinforcement_learning.agent import Agent, Memory, make_agent
from experiments.reinforcement_learning.config import Config
from experiments.reinforcement_learning.ppo import Learner, first_learner, update
from experiments.reinforcement_learning.table import RESULTS, SPEED
from experiments.reinforcement_learning.training import make_parts

ROUNDS = 9
SIZES = (  # environments, steps of a rollout, units
    (4, 128, 128),  # purejaxrl's own
    (64, 32, 32),  # the default's here
    (64, 128, 128),
    (512, 32, 64),
)


class _Cell(nn.Module):
    """A step of Flax's GRU, its carry zero where an episode begins."""

    hidden_size: int

    @nn.compact
    def __call__(self, h: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> Any:
        x, reset = inputs
        return nn.GRUCell(self.hidden_size, name="cell")(jnp.where(reset[:, None], 0.0, h), x)


def flax_memory(hidden_size: int) -> Memory:
    """Return Flax's scanned GRU as a memory."""
    scanned = nn.scan(
        _Cell, variable_broadcast="params", split_rngs={"params": False}, in_axes=0, out_axes=0
    )(hidden_size)

    def init(key: jax.Array, input_size: int) -> Any:
        x, reset = jnp.zeros((1, 1, input_size)), jnp.zeros((1, 1), bool)
        return scanned.init(key, jnp.zeros((1, hidden_size)), (x, reset))

    def apply(params: Any, h: jax.Array, x: jax.Array, resets: jax.Array) -> Any:
        return scanned.apply(params, h, (x, resets))

    return Memory(init, lambda params, rows: jnp.zeros((rows, hidden_size)), apply)


def both(config: Config) -> tuple[Any, dict[str, tuple[Agent, Learner]]]:
    """Return the environment, and both agents with learners of the same weights.

    Raises:
      RuntimeError: their outputs differ.
    """
    env, agent = make_parts(dataclasses.replace(config, memory="gru", num_layers=1))
    first = partial(first_learner, config=config, key=jax.random.key(0))
    ours = first(agent, env)
    flax_agent = make_agent(flax_memory(config.hidden_size), env, config.hidden_size)
    theirs = first(flax_agent, env)
    rnn = drnn.deep_rnn(drnn.gru(config.hidden_size))
    _, (weights,) = interop.to_linen(rnn, ours.params.memory)
    memory = {"params": {"cell": weights}}
    theirs = theirs._replace(params=ours.params._replace(memory=memory))
    x = jax.random.normal(jax.random.key(1), (20, 4, env.observation_size))
    resets = jax.random.bernoulli(jax.random.key(2), 0.2, x.shape[:2])
    learners = {"ours": (agent, ours), "flax": (flax_agent, theirs)}
    outputs = [
        one.apply(learner.params, one.initial_state(learner.params, 4), x, resets)[1:]
        for one, learner in learners.values()
    ]
    for a, b in zip(*outputs, strict=True):
        if not np.allclose(a, b, rtol=1e-4, atol=1e-5):
            raise RuntimeError("speed: ours and Flax's give other numbers with the same weights")
    return env, learners


def measure(num_envs: int, rollout: int, hidden_size: int, rounds: int) -> dict[str, Any]:
    """Time an update of both, and return a row."""
    config = Config(num_envs=num_envs, rollout=rollout, hidden_size=hidden_size)
    env, learners = both(config)
    key = jax.random.key(3)
    calls = {}
    for name, (agent, learner) in learners.items():
        compiled = jax.jit(partial(update, agent, env, config)).lower(learner, key).compile()
        calls[name] = partial(lambda f, *a: jax.block_until_ready(f(*a)), compiled, learner, key)
    samples = interleave(calls, rounds)
    if samples.errors:
        raise RuntimeError(f"speed: {samples.errors}")
    seconds = {name: np.array(values) for name, values in samples.seconds.items()}
    quartiles = np.quantile(seconds["ours"] / seconds["flax"], (0.25, 0.5, 0.75))
    steps = num_envs * rollout
    return {
        "num_envs": num_envs,
        "rollout": rollout,
        "hidden_size": hidden_size,
        **{f"{n}_steps_per_second": float(steps / np.median(s)) for n, s in seconds.items()},
        "ratio": float(quartiles[1]),
        "ratio_quartiles": [float(quartiles[0]), float(quartiles[2])],
    }


def main(arguments: list[str]) -> None:
    """Measure, print a line a row, and write the record."""
    quick = "--quick" in arguments
    rows = []
    for size in SIZES[1:2] if quick else SIZES:
        rows.append(measure(*size, rounds=2 if quick else ROUNDS))
        row = rows[-1]
        print(
            f"{row['num_envs']} environments, {row['rollout']} steps, {row['hidden_size']} units: "
            f"{row['ours_steps_per_second']:,.0f} steps a second, Flax "
            f"{row['flax_steps_per_second']:,.0f}; ratio of times {row['ratio']:.2f}",
            flush=True,
        )
    if not quick:
        RESULTS.mkdir(parents=True, exist_ok=True)
        write_json(RESULTS / SPEED, {"rounds": ROUNDS, "rows": rows, "machine": describe_machine()})


if __name__ == "__main__":
    main(sys.argv[1:])
