"""One entry a layer, apart, or equal layers stacked on a leading axis L."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.layers.plan import Plan


def take(tree: Any, index: Any) -> Any:
    """Give one entry of a stacked tree."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def join(trees: Sequence[Any]) -> Any:
    """Stack trees on a new leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def stack(plan: Plan, entries: Sequence[Any]) -> tuple[Any, ...]:
    """Join one entry a layer into one a group of equal layers, `[L, ...]`."""
    if hasattr(entries, "layers") or len(entries) != len(plan.layers):
        found = type(entries).__name__ if hasattr(entries, "layers") else len(entries)
        raise ValueError(
            f"stack: needs one entry for each of the {len(plan.layers)} layers, got {found}; give "
            "params.layers or a state, as in params._replace(layers=rnn.stack(params.layers))"
        )
    return tuple(join(entries[start : start + size]) for start, size in plan.groups)


def unstack(plan: Plan, entries: Sequence[Any]) -> tuple[Any, ...]:
    """Give one entry a layer of one a group of equal layers."""
    groups = plan.groups
    if hasattr(entries, "layers"):
        raise ValueError("unstack: needs params.layers or a state, got all parameters")
    sizes = [{jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)} for tree in entries]
    if len(entries) != len(groups) or any(
        found - {(group.size,)} for found, group in zip(sizes, groups, strict=True)
    ):
        raise ValueError(
            f"unstack: needs one entry a group of equal layers, of {[g.size for g in groups]} "
            f"layers, whose arrays have a leading axis of so many, got {len(entries)} of leading "
            f"sizes {sizes}; give params.layers, or a state, of a network with stack_layers=True"
        )
    return tuple(
        take(tree, index)
        for tree, group in zip(entries, groups, strict=True)
        for index in range(group.size)
    )


def apart(plan: Plan, entries: Sequence[Any], number: int) -> list[Any]:
    """Give one entry a layer of a group, of what the network holds: parameters, or a state."""
    start, size = plan.groups[number]
    if plan.stack_layers:
        return [take(entries[number], index) for index in range(size)]
    return list(entries[start : start + size])


def together(plan: Plan, entries: Sequence[Any], number: int) -> Any:
    """Give a group's entries, stacked, of what the network holds."""
    start, size = plan.groups[number]
    return entries[number] if plan.stack_layers else join(entries[start : start + size])


def held_apart(plan: Plan, entries: list[Any]) -> list[Any]:
    """Give one entry a layer of a group as the network holds them."""
    return [join(entries)] if plan.stack_layers else entries


def held_together(plan: Plan, stacked: Any, size: int) -> list[Any]:
    """Give a group's stacked entries as the network holds them."""
    return [stacked] if plan.stack_layers else [take(stacked, index) for index in range(size)]


def by_layer(plan: Plan, entries: Sequence[Any]) -> Sequence[Any]:
    """Give one entry a layer of what the network holds: parameters, or a state."""
    return unstack(plan, entries) if plan.stack_layers else entries


def as_held(plan: Plan, entries: Sequence[Any]) -> tuple[Any, ...]:
    """Give one entry a layer as the network holds them."""
    return stack(plan, entries) if plan.stack_layers else tuple(entries)
