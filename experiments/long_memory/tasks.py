"""Tasks whose sequences are drawn from a seed. T steps, N rows, K answers a row.

| task | x_t | answers |
|---|---|---|
| `parity` | 0 or 1 | at each step: whether there have been an odd number of ones |
| `s3`, `a5` | a permutation | at each step: the product x_t ... x_2 x_1 |
| `copy` | symbols, then blanks, then "go" | at the last K steps: the symbols |
| `selective_copy` | symbols strewn among blanks, then "go" | the same |
| `mqar` | pairs of key and value, then keys among noise | at each key again: its value |
| `adding` | a number in [0, 1], and a mark | at the last step: the sum of the two marked |

References:
  Arjovsky et al. 2016, "Unitary evolution recurrent neural networks": copy and adding, the
  latter from Hochreiter and Schmidhuber 1997. Gu and Dao 2023, "Mamba", 4.1.1: selective copy.
  Arora et al. 2023, "Zoology", and its program: mqar. Merrill et al. 2024, "The illusion of
  state in state-space models": word problems.
"""

import itertools
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.long_memory.config import Config

Ints = NDArray[np.int32]


class Examples(NamedTuple):
    """Sequences side by side, and what is to be said of them."""

    x: NDArray[Any]  # int32 [T, N] symbols, or float32 [T, N, I]
    answers: NDArray[Any]  # int32 [K, N] classes, or float32 [K, N] numbers
    at: Ints | None = None  # [K, N], the steps of the answers; None: the last K


class Task(NamedTuple):
    """A task: how its sequences are drawn, and what a network for it is to be."""

    draw: Callable[[np.random.Generator, Config, int, int], Examples]  # of N rows, T steps
    num_symbols: Callable[[Config], int | None]  # None: x is numbers
    num_answers: Callable[[Config], int]  # classes; 1: a number
    chance: Callable[[Config], float]  # accuracy, or squared error, of what knows no input


@cache
def permutations(group: str) -> Ints:
    """Return a group's elements as permutations `[G, n]`: element g takes i to `[g, i]`."""
    degree = int(group[1:])
    elements = np.array(list(itertools.permutations(range(degree))), np.int32)
    if group[0] == "s":
        return elements
    pairs = itertools.combinations(range(degree), 2)
    inversions = sum((elements[:, i] > elements[:, j]).astype(int) for i, j in pairs)
    return elements[inversions % 2 == 0]


@cache
def products(group: str) -> Ints:
    """Return the table `[G, G]` of a group: at `[a, b]` the element a b, b being done first."""
    elements = permutations(group)
    index = {tuple(element): i for i, element in enumerate(elements.tolist())}
    return np.array([[index[tuple(a[b])] for b in elements] for a in elements], np.int32)


def draw_word(
    table: Ints, identity: int, rng: np.random.Generator, rows: int, length: int
) -> Examples:
    """Draw words of a group's elements; the answer is the product so far, at every step."""
    x = rng.integers(len(table), size=(length, rows), dtype=np.int32)
    answers, product = np.empty_like(x), np.full(rows, identity)
    for t in range(length):
        answers[t] = product = table[x[t], product]
    return Examples(x, answers)


def draw_parity(rng: np.random.Generator, config: Config, rows: int, length: int) -> Examples:
    """Draw words of the group of two elements."""
    return draw_word(np.array([[0, 1], [1, 0]], np.int32), 0, rng, rows, length)


def _group(name: str) -> Task:
    def draw(rng: np.random.Generator, config: Config, rows: int, length: int) -> Examples:
        return draw_word(products(name), 0, rng, rows, length)  # element 0 moves nothing

    def size(config: Config) -> int:
        return len(permutations(name))

    return Task(draw, size, size, lambda config: 1 / len(permutations(name)))


def _draw_copy(
    selective: bool, rng: np.random.Generator, config: Config, rows: int, length: int
) -> Examples:
    """Draw symbols 0 to V - 1, at the start or anywhere, among blanks V; V + 1 says go."""
    items, kinds, before = config.num_items, config.num_kinds, length - config.num_items
    answers = rng.integers(kinds, size=(items, rows), dtype=np.int32)
    places = np.repeat(np.arange(items)[:, None], rows, axis=1)
    if selective:
        places = np.sort(rng.random((before, rows)).argsort(axis=0)[:items], axis=0)
    x = np.full((length, rows), kinds, np.int32)
    np.put_along_axis(x, places, answers, axis=0)
    x[before:] = kinds + 1
    return Examples(x, answers)


def draw_copy(rng: np.random.Generator, config: Config, rows: int, length: int) -> Examples:
    """Draw symbols that stand at the start."""
    return _draw_copy(False, rng, config, rows, length)


def draw_selective_copy(
    rng: np.random.Generator, config: Config, rows: int, length: int
) -> Examples:
    """Draw symbols that stand anywhere, with other numbers of blanks between them."""
    return _draw_copy(True, rng, config, rows, length)


def _different(rng: np.random.Generator, low: int, high: int, number: int, rows: int) -> Ints:
    """Draw `[number, rows]` from low to high - 1, no two of a row alike."""
    drawn = rng.integers(low, high, size=(number, rows), dtype=np.int32)
    while (again := (np.diff(np.sort(drawn, axis=0), axis=0) == 0).any(axis=0)).any():
        drawn[:, again] = rng.integers(low, high, size=(number, again.sum()), dtype=np.int32)
    return drawn


_GAP_POWER = 0.01  # Zoology's: a key comes again after few steps far more often than after many


def draw_mqar(rng: np.random.Generator, config: Config, rows: int, length: int) -> Examples:
    """Draw P pairs, then each key once more among noise; a key is asked for at an even step.

    Keys are the symbols of the lower half of the vocabulary, values those of the upper half,
    no two of a row alike, and noise is of both. As Zoology's program draws, but for a fresh
    draw at every step in place of 100,000 rows again and again.
    """
    pairs, half = config.num_items, config.num_kinds // 2
    keys = _different(rng, 0, half, pairs, rows)
    values = _different(rng, half, config.num_kinds, pairs, rows)
    x = rng.integers(config.num_kinds, size=(length, rows), dtype=np.int32)
    x[0 : 2 * pairs : 2], x[1 : 2 * pairs : 2] = keys, values
    places = (length - 2 * pairs) // 2
    weights = np.arange(1, places + 1) ** (_GAP_POWER - 1)
    # The P largest of log w + Gumbel noise: draws without replacement, in proportion to w.
    noisy = np.log(weights)[:, None] + rng.gumbel(size=(places, rows))
    at = 2 * pairs + 2 * np.argsort(-noisy, axis=0)[:pairs]
    np.put_along_axis(x, at, keys, axis=0)
    return Examples(x, values, at.astype(np.int32))


def draw_adding(rng: np.random.Generator, config: Config, rows: int, length: int) -> Examples:
    """Draw numbers, with one marked in each half."""
    x = np.zeros((length, rows, 2), np.float32)
    x[..., 0] = rng.random((length, rows), dtype=np.float32)
    half, row = length // 2, np.arange(rows)
    marked = np.stack([rng.integers(half, size=rows), rng.integers(half, length, size=rows)])
    x[marked, row, 1] = 1.0
    return Examples(x, x[marked, row, 0].sum(axis=0, keepdims=True))


_COPIES = (
    lambda config: config.num_kinds + 2,
    lambda config: config.num_kinds,
    lambda config: 1 / config.num_kinds,
)

MADE_TASKS: Mapping[str, Task] = {
    "parity": Task(draw_parity, lambda config: 2, lambda config: 2, lambda config: 0.5),
    "s3": _group("s3"),
    "a5": _group("a5"),
    "copy": Task(draw_copy, *_COPIES),
    "selective_copy": Task(draw_selective_copy, *_COPIES),
    "mqar": Task(
        draw_mqar,
        lambda config: config.num_kinds,
        lambda config: config.num_kinds,
        lambda config: 1 / (config.num_kinds - config.num_kinds // 2),
    ),
    # The variance of the sum of two numbers from [0, 1].
    "adding": Task(draw_adding, lambda config: None, lambda config: 1, lambda config: 1 / 6),
}
