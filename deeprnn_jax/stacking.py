"""Layers apart and layers together: one entry a layer, or one a run of equal layers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax import network


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
