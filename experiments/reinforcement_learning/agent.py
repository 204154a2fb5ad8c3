"""The agent: a memory between what is seen and what is done.

    e_t = tanh(W_e x_t + b_e)
    y_t = deep_rnn(e_1 .. e_t), begun anew where an episode begins
    logits_t = W_a tanh(W_1 y_t + b_1) + b_a,    value_t = w_c tanh(W_2 y_t + b_2) + b_c

Without a recurrent cell y_t = e_t, and x_t are the last k frames; k = 1: a feed-forward net.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.long_memory.cells import CELLS
from experiments.reinforcement_learning.config import FRAMES, Config
from experiments.reinforcement_learning.environments import Environment


class Linear(NamedTuple):
    """A linear map."""

    w: jax.Array  # [I, O]
    b: jax.Array  # [O]


class Params(NamedTuple):
    """An agent's parameters, a plain tree."""

    memory: Any
    encoder: Linear
    actor: tuple[Linear, Linear]
    critic: tuple[Linear, Linear]


class Memory(NamedTuple):
    """What is handed on from step to step, as a deep network has it."""

    init: Callable[[jax.Array, int], Any]  # (key, input_size) -> params
    initial_state: Callable[[Any, int], Any]  # (params, B) -> state, leaves [B, ...]
    apply: Callable[[Any, Any, jax.Array, jax.Array], tuple[Any, jax.Array]]
    # (params, state, x [T, B, I], resets [T, B]) -> (state, y [T, B, H])
    num_frames: int = 0  # of one that reads x_t, not e_t, and gives the last ones


class Agent(NamedTuple):
    """An agent as pure functions."""

    init: Callable[[jax.Array], Params]
    initial_state: Callable[[Params, int], Any]
    apply: Callable[[Params, Any, jax.Array, jax.Array], tuple[Any, jax.Array, jax.Array]]
    # (params, state, x [T, B, I], resets [T, B]) -> (state, logits [T, B, A], value [T, B])


class Window(NamedTuple):
    """State of `frames`: the earlier inputs, the newest first."""

    window: tuple[jax.Array, ...]  # number - 1 of [*B, size]


@drnn.factory
def frames(number: int, size: int) -> drnn.Cell:
    """Make the cell whose output are the last inputs, the newest first; it learns nothing.

    Args:
      number: how many inputs, x_t among them; those before the first step are zero.
      size: the width of x.
    """

    def init(key: jax.Array, input_size: int) -> tuple[()]:
        return ()

    def initial_state(params: tuple[()], batch_shape: tuple[int, ...]) -> Window:
        return Window((jnp.zeros((*batch_shape, size)),) * (number - 1))

    def step(params: tuple[()], state: Window, x: jax.Array) -> tuple[Window, jax.Array]:
        seen = (x, *state.window)
        return Window(seen[:-1]), jnp.concatenate(seen, axis=-1)

    return drnn.step_cell(init, initial_state, step, number * size, output=False)


def memory_of(config: Config, env: Environment) -> Memory:
    """Return the memory that a config names."""
    num_frames = config.num_frames if config.memory == FRAMES else 0
    if num_frames:
        rnn = drnn.deep_rnn(frames(num_frames, env.observation_size))
    else:
        cell = CELLS[config.memory].make(config.hidden_size, env.longest)
        rnn = drnn.deep_rnn(cell, config.num_layers)

    def apply(params: Any, state: Any, x: jax.Array, resets: jax.Array) -> Any:
        return rnn.apply(params, x, state, resets=resets)

    return Memory(rnn.init, rnn.initial_state, apply, num_frames)


def make_agent(memory: Memory, env: Environment, hidden_size: int) -> Agent:
    """Return the agent with a memory.

    Args:
      memory: what it remembers by.
      env: where it lives.
      hidden_size: units of all its layers.
    """

    def draw(key: jax.Array, rows: int, columns: int, scale: float = 1.0) -> Linear:
        w = scale * jax.nn.initializers.lecun_normal()(key, (rows, columns))
        return Linear(w, jnp.zeros(columns))

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 6)
        size, wide = env.observation_size, hidden_size
        return Params(
            memory.init(keys[0], size if memory.num_frames else wide),
            draw(keys[1], size * max(1, memory.num_frames), wide),
            (draw(keys[2], wide, wide), draw(keys[3], wide, env.num_actions, 0.01)),
            (draw(keys[4], wide, wide), draw(keys[5], wide, 1)),
        )

    def apply(params: Params, state: Any, x: jax.Array, resets: jax.Array) -> Any:
        if memory.num_frames:
            state, x = memory.apply(params.memory, state, x, resets)
        y = jnp.tanh(multiply(params.encoder, x))
        if not memory.num_frames:
            state, y = memory.apply(params.memory, state, y, resets)
        logits, value = (
            multiply(last, jnp.tanh(multiply(first, y)))
            for first, last in (params.actor, params.critic)
        )
        return state, logits, value[..., 0]

    def initial_state(params: Params, batch_size: int) -> Any:
        return memory.initial_state(params.memory, batch_size)

    return Agent(init, initial_state, apply)


def multiply(linear: Linear, x: jax.Array) -> jax.Array:
    """Apply a linear map."""
    return x @ linear.w + linear.b
