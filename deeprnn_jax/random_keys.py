"""Drawing with many keys at once, each number that of its own key."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import lax

from deeprnn_jax.types import Array


def map_keys(draw: Callable[..., Any], keys: Array, *trees: Any) -> Any:
    """Call `draw(key, ...)` for each of the keys, results stacked.

    By vmap where it gives the numbers that each key gives alone. That of "rbg" keys, which
    TPU users choose, draws all from the first key: there one after the other, in a loop.

    Args:
      draw: a function of a key, and of one entry of each of the trees.
      keys: random keys `[N]`, or raw ones `[N, size]`.
      *trees: arrays `[N, ...]`.
    """
    if _is_drawn_alike(keys):
        return jax.vmap(draw)(keys, *trees)
    return lax.map(lambda one: draw(*one), (keys, *trees))


def fold_in_each(key: Array, indices: Array) -> Array:
    """Give the keys `fold_in(key, index)`, of "unsafe_rbg" too, whose fold_in draws."""

    def fold(index: Array) -> Array:
        return jax.random.fold_in(key, index)

    return (jax.vmap(fold) if _is_drawn_alike(key) else partial(lax.map, fold))(indices)


def _is_drawn_alike(keys: Array) -> bool:
    """Tell whether vmap of a draw gives the numbers of each key alone."""
    return str(jax.random.key_impl(keys)) == "threefry2x32"
