"""Diagonals over the devices of a mesh: each holds its own of the layers that are stacked.

A ring: what the last layer of a device gave goes to the next device, the first layer of
which reads it at the next step; what the last device gave goes to the first one, for
layers above that are not stacked. Those, and those below, are run by every device, and
what the first device finds is taken.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.meshes import vary_as
from deeprnn_jax.types import Array


class Stages(NamedTuple):
    """The devices over which stacked layers lie."""

    axis: str
    mesh: Any  # None: the one that is set


class Ring(NamedTuple):
    """How a layer's output gets to the layer above."""

    pass_on: Callable[[Array], Array]  # from a group's last layer here to where it is read
    first: Callable[[Array, Array], Array]  # from below and what has come: the first layer's input


ALONE = Ring(pass_on=lambda y: y, first=lambda below, arrived: below)


def run_stages(
    stages: Stages,
    plan: Plan,
    loop: Callable[..., Any],
    x: Array,
    groups: list[Any],
    carry: list[Any],
    inputs: list[Any],
) -> Any:
    """Run the loop over diagonals on every device.

    Args:
      stages: the devices.
      plan: the network.
      loop: a function of a ring, and all that follows.
      x: `[S, ...]`, the input of the first layer at each diagonal.
      groups: what the layers of a group read alike, leaves `[L, ...]`.
      carry: of each group, leaves `[L, ...]`.
      inputs: of each group, leaves `[S, L, ...]`.

    Returns:
      What `loop` gives: the last carry, and y `[S, ...]` with the groups' states `[S, L, ...]`.

    Raises:
      ValueError: if there is no such mesh, or no layers that its axis divides.
    """
    mesh = jax.sharding.get_abstract_mesh()  # as it is here: automatic, in a network's loops
    if stages.axis not in mesh.shape and stages.mesh is not None:
        mesh = stages.mesh
    axis, number = stages.axis, _number_of(stages.axis, mesh, plan)
    is_spread = [group.size > 1 for group in plan.groups]
    everywhere, own = PartitionSpec(), PartitionSpec(axis)
    by_layer = [own if spread else everywhere for spread in is_spread]
    by_step = [PartitionSpec(None, axis) if spread else everywhere for spread in is_spread]

    def on_each(place: Array, *operands: Any) -> Any:
        # Said to vary before the loop, so that gradients are summed over devices after it.
        after, (y, states) = loop(_ring(axis, number, place[0]), *vary_as(operands, place))
        return _widen(is_spread, after), y[None], _widen(is_spread, states)

    run = jax.shard_map(
        on_each,
        mesh=mesh,
        in_specs=(own, everywhere, by_layer, by_layer, by_step),
        # y, and all of what is not spread, are of each device, along an axis of their own
        out_specs=([own] * len(is_spread), own, [spec if spec else own for spec in by_step]),
        axis_names={axis},
    )
    after, y, states = run(jnp.arange(number), x, groups, carry, inputs)
    found = y[-1 if is_spread[-1] else 0], _narrow(is_spread, states)
    return _narrow(is_spread, after), found


def _widen(is_spread: list[bool], trees: list[Any]) -> list[Any]:
    """Give what is not spread an axis for the devices."""
    pairs = zip(is_spread, trees, strict=True)
    return [one if spread else jax.tree.map(lambda leaf: leaf[None], one) for spread, one in pairs]


def _narrow(is_spread: list[bool], trees: list[Any]) -> list[Any]:
    """Take what the first device has found: `_widen`'s inverse."""
    pairs = zip(is_spread, trees, strict=True)
    return [one if spread else jax.tree.map(lambda leaf: leaf[0], one) for spread, one in pairs]


def _ring(axis: str, number: int, place: Array) -> Ring:
    """Give the ring as one device sees it."""
    pairs = [(one, (one + 1) % number) for one in range(number)]

    def first(below: Array, arrived: Array) -> Array:
        return jnp.where(place == 0, below, arrived)

    return Ring(partial(lax.ppermute, axis_name=axis, perm=pairs), first)


def _number_of(axis: str, mesh: Any, plan: Plan) -> int:
    """Give how many devices there are along the axis, or raise ValueError."""
    if axis not in mesh.shape:
        raise ValueError(
            f"pipeline: axis must be one of the mesh's, {list(mesh.shape)}, got {axis!r}; give "
            "the mesh, or set it by jax.set_mesh"
        )
    number = mesh.shape[axis]
    stacked = [group.size for group in plan.groups if group.size > 1]
    if not plan.stack_layers or not stacked or any(size % number for size in stacked):
        raise ValueError(
            f"pipeline: the {number} devices along {axis!r} must divide the stacked layers, "
            f"got {stacked if plan.stack_layers else 'none, for stack_layers=False'} of "
            f"{len(plan.layers)} layers, of which the first stands alone; use "
            f"deep_rnn(..., num_layers=1 + a multiple of {number}, stack_layers=True)"
        )
    return number
