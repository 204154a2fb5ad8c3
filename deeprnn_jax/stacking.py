"""Layers apart and layers together: one entry a layer, or one a run of equal layers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import network
from deeprnn_jax.types import Array


class RunValues(NamedTuple):
    """A run of equal layers with what belongs to it, leaves `[L, ...]`."""

    run: network.Run
    params: Any
    state: Any
    keys: Array | None


def unstack(tree: Sequence[Any]) -> list[Any]:
    """Give one entry a layer of `params.layers`, a state, or the like."""
    sizes = [{leaf.shape[:1] for leaf in jax.tree.leaves(run)} for run in tree]
    if any(len(size) != 1 or size == {()} for size in sizes):
        raise ValueError(
            "unstack: needs one entry a run of equal layers, whose arrays share a leading axis "
            f"of layers, got leading sizes {sizes}; give params.layers, or a state"
        )
    return [
        jax.tree.map(lambda leaf, index=index: leaf[index], run)
        for run, ((count,),) in zip(tree, sizes, strict=True)
        for index in range(count)
    ]


def stack(plan: network.Plan, entries: Sequence[Any]) -> tuple[Any, ...]:
    """Join one entry a layer into one a run of equal layers."""
    if len(entries) != len(plan.cells):
        raise ValueError(
            f"stack: needs one entry for each of the {len(plan.cells)} layers, got "
            f"{len(entries)}; give what rnn.unstack gave, in its order"
        )
    return tuple(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *entries[run.start : run.start + run.size])
        for run in plan.runs
    )


def join_first(plan: network.Plan, runs: Sequence[RunValues], input_size: int) -> list[RunValues]:
    """Put the first layer into the run after it, where x is as wide as that one's input.

    One layer is then compiled in place of two, for a copy of the parameters.

    Args:
      plan: the network.
      runs: all its runs.
      input_size: I, the width of x.
    """
    if not network.first_is_equal(plan, input_size):
        return list(runs)
    first, second, *others = runs
    both = [
        jax.tree.map(lambda a, b: jnp.concatenate([a, b]), a, b)
        for a, b in zip(first[1:], second[1:], strict=True)
    ]
    run = second.run._replace(start=0, size=1 + second.run.size)
    return [RunValues(run, *both), *others]


def part_first(found: Sequence[Any], num_runs: int) -> list[Any]:
    """Undo `join_first` in what was found, one entry a run."""
    if len(found) == num_runs:
        return list(found)
    both, *others = found
    first = jax.tree.map(lambda leaf: leaf[:1], both)
    return [first, jax.tree.map(lambda leaf: leaf[1:], both), *others]
