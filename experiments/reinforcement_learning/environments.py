"""Environments that ask for memory, as pure functions of one episode.

    tmaze            x is (0, 1, 1) or (1, 1, 0) at the start, (1, 0, 1) in the corridor and
                     (0, 1, 0) at the junction, where the episode ends by a turn north or south:
                     4 if it is the one that the start showed, else -0.1. A step into a wall: -0.1
    repeat_previous  x is the suit of a card, of four; the action says the suit of `delay` cards
                     ago: ±1/(T - delay), so that the return of an episode is within ±1
    cart_pole        x is place and angle, without velocities; 1 a step until the pole falls, the
                     cart is far off, or 500 steps are over
    gymnax:NAME      gymnax's, of a few actions; x is flat

An episode whose time is over (after 3 `delay` steps in the T-maze, 500 of the cart, or where
gymnax truncates) ends as any other: `done` does not tell the two apart, so that PPO takes the
value of what would have followed as zero.

References:
  Bakker 2001, "Reinforcement learning with long short-term memory": the T-maze; here an episode
  ends after 3 `delay` steps, too. Morad et al. 2023, "POPGym": repeat previous; here each card is
  drawn by itself. Barto, Sutton and Anderson 1983, "Neuronlike adaptive elements that can solve
  difficult learning control problems": the cart and pole, with the constants, Euler's steps and
  the bounds of Gym's CartPole-v1. Without velocities: Wierstra et al. 2007, "Solving deep memory
  POMDPs with recurrent policy gradients".
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.errors import InputError

GYMNAX = "gymnax:"


class Environment(NamedTuple):
    """An environment of a few actions. A state is any tree of arrays."""

    begin: Callable[[jax.Array], tuple[Any, jax.Array]]  # key -> (state, x)
    move: Callable[[jax.Array, Any, jax.Array], tuple[Any, jax.Array, jax.Array, jax.Array]]
    # (key, state, action) -> (state, x, reward, done)
    observation_size: int
    num_actions: int
    longest: int  # steps of an episode at most
    levels: Mapping[str, float] = {}  # returns to compare with, where they are known


def begin_anew(env: Environment, key: jax.Array, state: Any, action: jax.Array) -> Any:
    """Make a step; where it ends the episode, state and x are those of a new one.

    So x and done stay a pair: done says that x is the first of an episode.

    Returns:
      As `Environment.move`: (state, x, reward, done).
    """
    k_move, k_begin = jax.random.split(key)
    state, x, reward, done = env.move(k_move, state, action)
    fresh = env.begin(k_begin)
    state, x = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, (state, x))
    return state, x, reward, done


class Maze(NamedTuple):
    """Where one is."""

    place: jax.Array  # 0, the start, to `delay`, the junction
    north: jax.Array  # whether the start said so
    age: jax.Array  # steps of the episode


def tmaze(delay: int) -> Environment:
    """Return a corridor of `delay` steps from the start to the junction."""
    north, east, south, west = range(4)

    def look(state: Maze) -> jax.Array:
        seen = jnp.where(state.place == delay, jnp.array([0.0, 1.0, 0.0]), jnp.array([1.0, 0, 1]))
        start = jnp.where(state.north, jnp.array([0.0, 1.0, 1.0]), jnp.array([1.0, 1.0, 0.0]))
        return jnp.where(state.place == 0, start, seen)

    def begin(key: jax.Array) -> tuple[Maze, jax.Array]:
        state = Maze(jnp.int32(0), jax.random.bernoulli(key), jnp.int32(0))
        return state, look(state)

    def move(key: jax.Array, state: Maze, action: jax.Array) -> Any:
        shift = (action == east).astype(jnp.int32) - (action == west)
        place = jnp.clip(state.place + shift, 0, delay)
        turned = (state.place == delay) & ((action == north) | (action == south))
        right = turned & ((action == north) == state.north)
        stood = place == state.place
        reward = jnp.where(right, 4.0, jnp.where(stood, -0.1, 0.0))
        state = Maze(place, state.north, state.age + 1)
        return state, look(state), reward, turned | (state.age >= 3 * delay)

    # Who does not remember turns right every other time.
    return Environment(begin, move, 3, 4, 3 * delay, {"best": 4.0, "without memory": 1.95})


class Cards(NamedTuple):
    """What has been shown."""

    suits: jax.Array  # int [delay + 1], the newest first
    age: jax.Array


def repeat_previous(delay: int) -> Environment:
    """Return a game of 13 `delay` cards; each but the first `delay` asks for an earlier one."""
    number = 13 * delay

    def begin(key: jax.Array) -> tuple[Cards, jax.Array]:
        suits = jnp.zeros(delay + 1, jnp.int32).at[0].set(jax.random.randint(key, (), 0, 4))
        return Cards(suits, jnp.int32(0)), jax.nn.one_hot(suits[0], 4)

    def move(key: jax.Array, state: Cards, action: jax.Array) -> Any:
        right = jnp.where(action == state.suits[delay], 1.0, -1.0) / (number - delay)
        reward = jnp.where(state.age >= delay, right, 0.0)
        suits = jnp.roll(state.suits, 1).at[0].set(jax.random.randint(key, (), 0, 4))
        state = Cards(suits, state.age + 1)
        return state, jax.nn.one_hot(suits[0], 4), reward, state.age >= number

    return Environment(begin, move, 4, 4, number, {"best": 1.0, "without memory": -0.5})


class Cart(NamedTuple):
    """A cart and its pole: place, speed, angle, the angle's speed."""

    x: jax.Array  # [4]
    age: jax.Array


_FORCE, _GRAVITY, _SECONDS = 10.0, 9.8, 0.02  # N, m/s², s
_POLE, _MASS, _HALF = 0.1, 1.1, 0.5  # kg of the pole and of both, m of half the pole
_FARTHEST, _STEEPEST, _LONGEST = 2.4, 12 * np.pi / 180, 500


def cart_pole() -> Environment:
    """Return the cart and pole, of which place and angle alone are seen."""

    def look(x: jax.Array) -> jax.Array:
        return x[::2] / jnp.array([_FARTHEST, _STEEPEST])

    def begin(key: jax.Array) -> tuple[Cart, jax.Array]:
        x = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return Cart(x, jnp.int32(0)), look(x)

    def move(key: jax.Array, state: Cart, action: jax.Array) -> Any:
        _, speed, angle, turn = state.x
        sin, cos = jnp.sin(angle), jnp.cos(angle)
        force = jnp.where(action == 1, _FORCE, -_FORCE)
        pushed = (force + _POLE * _HALF * turn**2 * sin) / _MASS
        d_turn = (_GRAVITY * sin - cos * pushed) / (_HALF * (4 / 3 - _POLE * cos**2 / _MASS))
        d_speed = pushed - _POLE * _HALF * d_turn * cos / _MASS
        x = state.x + _SECONDS * jnp.stack([speed, d_speed, turn, d_turn])
        state = Cart(x, state.age + 1)
        fell = (jnp.abs(x[0]) > _FARTHEST) | (jnp.abs(x[2]) > _STEEPEST)
        return state, look(x), jnp.float32(1.0), fell | (state.age >= _LONGEST)

    return Environment(begin, move, 2, 2, _LONGEST, {"best": float(_LONGEST)})


def gymnax(name: str) -> Environment:
    """Return one of gymnax's environments, of version 1 or later, which has to be installed.

    Raises:
      InputError: it is not, or there is no such environment, or not one of a few actions.
    """
    try:
        module = importlib.import_module("gymnax")
    except ImportError as error:
        raise InputError(
            f"gymnax: the package must be there for {GYMNAX}{name}; pip install gymnax"
        ) from error
    try:
        inner, settings = module.make(name)
    except ValueError as error:
        raise InputError(f"gymnax: NAME must be one of its own, got {name}: {error}") from error
    number = getattr(inner.action_space(settings), "n", None)
    if number is None:
        raise InputError(f"gymnax: the actions must be a few, got those of {name}; name another")

    def flat(x: jax.Array) -> jax.Array:
        return jnp.ravel(jnp.asarray(x, jnp.float32))

    def begin(key: jax.Array) -> tuple[Any, jax.Array]:
        x, state = inner.reset_env(key, settings)
        return state, flat(x)

    def move(key: jax.Array, state: Any, action: jax.Array) -> Any:
        x, state, reward, ended, *_ = inner.step_env(key, state, action, settings)
        done = jnp.logical_or(ended, inner.is_truncated(state, settings))
        return state, flat(x), jnp.asarray(reward, jnp.float32), done

    size = int(np.prod(inner.observation_space(settings).shape))
    return Environment(begin, move, size, int(number), int(settings.max_steps_in_episode))


MADE: Mapping[str, Callable[[int], Environment]] = {
    "tmaze": tmaze,
    "repeat_previous": repeat_previous,
    "cart_pole": lambda delay: cart_pole(),
}


def make_environment(name: str, delay: int) -> Environment:
    """Return the environment of a name.

    Raises:
      InputError: there is none.
    """
    if name.startswith(GYMNAX):
        return gymnax(name.removeprefix(GYMNAX))
    if name not in MADE:
        raise InputError(
            f"make_environment: name must be one of {', '.join(MADE)} or {GYMNAX}NAME, got {name}"
        )
    return MADE[name](delay)
