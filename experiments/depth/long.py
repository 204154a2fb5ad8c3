"""Long dependencies: the longest lag that is learned, by depth.

| task (`long_memory.tasks`) | what is to be known | learned when |
|---|---|---|
| `copy` | symbols of so many steps ago, all but blanks between | 95 % of them are right |
| `adding` | the sum of two marked numbers, so many steps long | the squared error is below 0.01 |

At each lag networks are trained anew, all seeds at all rates side by side, on the same number of
sequences. A seed has learned a lag that it has learned at any of the rates; its longest is the
last before the first that it has not: 0 where it has learned none, and the longest one tried
where it might have learned a longer one. Depths are compared at equal parameters and at equal
units a layer.
"""

import dataclasses
import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.compiling import quickly
from experiments.depth.network import as_input, equal_width, make_network, size_of
from experiments.depth.record import Rows
from experiments.depth.settings import Long
from experiments.depth.train import Learner, grid, train_members
from experiments.long_memory.config import Config
from experiments.long_memory.problem import Scores, score
from experiments.long_memory.tasks import MADE_TASKS, Examples

LEAST_RIGHT, MOST_ERROR = 0.95, 0.01
_TEST_ROWS = 256
_TRAIN, _TEST = 0, 1  # the first word of each seed


def rows(settings: Long) -> tuple[Rows, dict[str, Any]]:
    """Return what measures each task, width, help and depth."""
    made = {}
    for task in settings.tasks:
        for width in settings.widths:
            for helped_by in settings.helps:
                for depth in settings.depths:
                    if depth > 1 or helped_by == settings.helps[0]:  # else the same network
                        name = f"{task}, equal {width}, {helped_by}, {depth}"
                        made[name] = partial(row, settings, task, width, helped_by, depth)
    return made, {}


def config_of(settings: Long, task: Any, lag: int) -> Config:
    """Return the task's settings at a lag."""
    length = lag + settings.num_items if task == "copy" else lag
    return dataclasses.replace(
        Config(), task=task, length=length, num_items=settings.num_items, cell=settings.cell
    )


def units_of(settings: Long, sizes: tuple[int, int], width: str, helped_by: str, depth: int) -> int:
    """Return the units of a layer."""

    def count(units: int, layers: int = depth, help_: str = helped_by) -> int:
        return size_of(make_network(settings.cell, layers, units, sizes[1], help_), sizes[0])

    if width == "units":
        return settings.units
    return equal_width(count, count(settings.units, 2, "none"))


def row(settings: Long, task: str, width: str, helped_by: str, depth: int) -> dict[str, Any]:
    """Train at one lag after the other, until no seed learns it."""
    made, config = MADE_TASKS[task], config_of(settings, task, settings.lags[0])
    sizes = made.num_symbols(config) or 2, made.num_answers(config)
    units = units_of(settings, sizes, width, helped_by, depth)
    rnn = make_network(settings.cell, depth, units, sizes[1], helped_by)
    learned = np.zeros((len(settings.lags), settings.num_seeds), bool)
    for i, lag in enumerate(settings.lags):
        learned[i] = _learned(settings, task, lag, rnn, sizes[0])
        if not learned[i].any():
            break
    return {
        "task": task,
        "equal": width,
        "helped_by": helped_by,
        "num_layers": depth,
        "units": units,
        "parameters": size_of(rnn, sizes[0]),
        "longest": longest_lags(learned, settings.lags),
    }


def longest_lags(learned: Any, lags: Sequence[int]) -> list[int]:
    """Return each seed's longest lag before the first that it has not learned, 0 if none.

    Example:
      >>> longest_lags(np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]], bool), (8, 16, 32))
      [16, 8, 0]
    """
    count = np.cumprod(learned, axis=0).sum(axis=0)
    return [int(lags[n - 1]) if n else 0 for n in count]


def log2_of(longest: Sequence[int], lags: Sequence[int]) -> list[float]:
    """Return logarithms of lags; of a seed that has learned none, that of half of the shortest."""
    return [math.log2(lag or lags[0] / 2) for lag in longest]


def is_capped(longest: Sequence[int], lags: Sequence[int]) -> bool:
    """Return whether a seed has learned none of the lags, or all: its own longest is not known."""
    return any(lag in (0, lags[-1]) for lag in longest)


def _learned(settings: Long, task: str, lag: int, rnn: Any, num_features: int) -> np.ndarray:
    """Return which seeds learn a lag, `[seeds]`."""
    config, draw = config_of(settings, task, lag), MADE_TASKS[task].draw
    number = settings.steps * settings.batch_size
    train = draw(np.random.default_rng((_TRAIN, lag)), config, number, config.length)
    test = draw(np.random.default_rng((_TEST, lag)), config, _TEST_ROWS, config.length)
    learner = task_learner(rnn, num_features, settings.steps, settings.batch_size)
    keys, rates = grid(settings.num_seeds, settings.learning_rates)
    members = train_members(
        learner, jax.tree.map(jnp.asarray, train), keys, rates, steps=settings.steps
    )
    scores = _scores_of_each(rnn, num_features, members.params, Examples(*test[:2]))
    if task == "adding":
        right = np.asarray(scores.loss).mean(axis=(1, 2)) <= MOST_ERROR
    else:
        right = np.asarray(scores.right).mean(axis=(1, 2)) >= LEAST_RIGHT
    return right.reshape(settings.num_seeds, -1).any(axis=1)


@cache
def task_learner(rnn: Any, num_features: int, steps: int, batch_size: int) -> Learner:
    """Return the learner of a task: each member reads the same sequences, in an order of its own.

    Args:
      rnn: the network.
      num_features: I.
      steps: how many batches there are.
      batch_size: B.
    """

    def batch_at(data: Examples, step: jax.Array, key: jax.Array) -> Examples:
        first = (step + jax.random.randint(key, (), 0, steps)) % steps * batch_size
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=first, slice_size=batch_size)
        return jax.tree.map(lambda leaf: cut(leaf, axis=1), data)

    def loss(params: Any, batch: Examples, state: None) -> tuple[jax.Array, None]:
        return _scores(rnn, num_features, params, batch).loss.mean(), state

    return Learner(
        init=lambda key: rnn.init(key, num_features),
        first=lambda params: None,
        batch_at=batch_at,
        loss=loss,
    )


def _scores(rnn: Any, num_features: int, params: Any, batch: Examples) -> Scores:
    _, y = rnn.apply(params, as_input(jnp.asarray(batch.x), num_features))
    answers = jnp.asarray(batch.answers)
    return score(y[len(y) - len(answers) :], answers)


@quickly(static_argnums=(0, 1))
def _scores_of_each(rnn: Any, num_features: int, params: Any, batch: Examples) -> Scores:
    return jax.vmap(lambda one: _scores(rnn, num_features, one, batch))(params)
