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
from jax.sharding import Mesh, PartitionSpec

from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.meshes import vary_as
from deeprnn_jax.precision import accumulation_dtype
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
    if stages.mesh is not None:
        sizes = {one.shape[stages.axis] for one in (mesh, stages.mesh) if stages.axis in one.shape}
        if len(sizes) > 1:
            raise ValueError(
                f"pipeline: mesh must be the one that is set, {dict(mesh.shape)}, got "
                f"{dict(stages.mesh.shape)}; leave it out"
            )
        if stages.axis not in mesh.shape:  # with automatic axes, as `Mesh` itself has them
            mesh = Mesh(stages.mesh.devices, stages.mesh.axis_names)
    axis, number = stages.axis, _number_of(stages.axis, mesh, plan)
    is_spread = [group.size > 1 for group in plan.groups]
    everywhere, own = PartitionSpec(), PartitionSpec(axis)
    by_layer = [own if spread else everywhere for spread in is_spread]
    by_step = [PartitionSpec(None, axis) if spread else everywhere for spread in is_spread]

    def on_each(place: Array, *operands: Any) -> Any:
        # Said to vary before the loop, so that gradients are summed over devices after it.
        x_wide, groups, carry_wide, inputs = vary_as(operands, place)
        now = _as_dtypes((x_wide, carry_wide), (x, carry))
        after, (y, states) = loop(_ring(axis, number, place[0]), now[0], groups, now[1], inputs)
        return _by_device(is_spread, _wide(after)), _wide(y)[None], _by_device(is_spread, states)

    run = jax.shard_map(
        on_each,
        mesh=mesh,
        in_specs=(own, everywhere, by_layer, by_layer, by_step),
        # y, and all of what is not spread, are of each device, along an axis of their own
        out_specs=([own] * len(is_spread), own, [spec if spec else own for spec in by_step]),
        axis_names={axis},
    )
    after, y, states = run(jnp.arange(number), _wide(x), groups, _wide(carry), inputs)
    after = _as_dtypes(_of_first(is_spread, after), carry)
    y = y[-1 if is_spread[-1] else 0].astype(carry[-1].y.dtype)
    return after, (y, _of_first(is_spread, states))


def _on_whole(change: Any, is_spread: list[bool], trees: list[Any]) -> list[Any]:
    """Change the arrays of what is not spread."""
    pairs = zip(is_spread, trees, strict=True)
    return [one if spread else jax.tree.map(change, one) for spread, one in pairs]


# With an axis for the devices, and what the first of them has found: its inverse.
_by_device = partial(_on_whole, lambda leaf: leaf[None])
_of_first = partial(_on_whole, lambda leaf: leaf[0])


def _wide(tree: Any) -> Any:
    """Give what goes between devices in float32 at least, so that it is summed there as such.

    XLA on CPU ends the process over such a sum in bfloat16 (jax 0.10.2).
    """

    def widen(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return leaf.astype(accumulation_dtype(leaf.dtype))

    return jax.tree.map(widen, tree)


def _as_dtypes(tree: Any, like: Any) -> Any:
    """Give arrays the dtypes of others."""
    return jax.tree.map(lambda leaf, one: leaf.astype(one.dtype), tree, like)


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
    if not plan.stack_layers or not stacked:
        raise ValueError(
            "pipeline: rnn must have layers that are stacked, got none; use deep_rnn(..., "
            "stack_layers=True) with equal layers from the second on"
        )
    if any(size % number for size in stacked):
        raise ValueError(
            f"pipeline: the {number} devices along {axis!r} must divide the stacked layers, got "
            f"{stacked} of them; the first layer stands alone, so use num_layers=1 + a multiple "
            f"of {number}"
        )
    return number
