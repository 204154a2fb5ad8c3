"""Arrays whose types say where on a mesh they lie: explicit axes, and those of `shard_map`.

Over an explicit axis JAX derives no sharding by itself: each operation's operands must fit. In
a network's loops the axes are made automatic, so that XLA decides; what comes out lies along
the batch axes as x does, and along no other. Over the axes of a `shard_map` zeros that a loop
begins with must be said to vary as what is added to them does.
"""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from deeprnn_jax.internals import as_varying, varying_axes
from deeprnn_jax.types import Array


def explicit_mesh(arrays: Any) -> Any:
    """Give the mesh of an array's type, the first in a tree with an explicit axis, or None."""
    for leaf in jax.tree.leaves(arrays):
        mesh = mesh_of(jax.typeof(leaf))
        if mesh is not None:
            return mesh
    return None


def mesh_of(aval: Any) -> Any:
    """Give the mesh of a type, if one of its axes is explicit, else None."""
    mesh = getattr(getattr(aval, "sharding", None), "mesh", None)
    return mesh if AxisType.Explicit in (getattr(mesh, "axis_types", None) or ()) else None


def in_context(array: Array) -> Array:
    """Give an array of an explicit type as the axes are here: automatic, in a network's loops.

    What a derivative keeps for its backward pass leaves those, and comes back explicit.
    """
    here = getattr(jax.sharding.get_abstract_mesh(), "axis_types", None)
    if not here or AxisType.Explicit in here or mesh_of(jax.typeof(array)) is None:
        return array
    return jax.sharding.reshard(array, PartitionSpec(*(None,) * array.ndim))


def vary_as(tree: Any, like: Any) -> Any:
    """Say of arrays that they vary over all axes of a `shard_map` over which others do.

    Args:
      tree: arrays that may vary over fewer axes, zeros for example.
      like: a tree of the others.
    """
    axes = frozenset().union(*(varying_axes(jax.typeof(one)) for one in jax.tree.leaves(like)))

    def vary(array: Array) -> Array:
        missing = tuple(sorted(axes - varying_axes(jax.typeof(array))))
        return as_varying(array, missing) if missing else array

    return jax.tree.map(vary, tree) if axes else tree


def may_merge_axes() -> bool:
    """Tell whether time and batch can be made one axis without a thought of where they lie.

    Split over devices, the batch's part of such an axis is in pieces, and XLA would gather it.
    """
    return jax.device_count() == 1


def automatic(mesh: Any) -> AbstractContextManager[Any]:
    """Trace what is inside with the explicit axes of a mesh made automatic; None: as it is."""
    if mesh is None or not _explicit_axes(mesh):
        return nullcontext()
    types = dict.fromkeys(_explicit_axes(mesh), AxisType.Auto)
    return jax.sharding.use_abstract_mesh(mesh.update_axis_types(types))


def _explicit_axes(mesh: Any) -> list[str]:
    pairs = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return [name for name, kind in pairs if kind is AxisType.Explicit]


def with_automatic_axes(
    run: Callable[..., Any],
    params: Any,
    x: Array,
    state: Any,
    steps: Any,
    key: Any,
    *,
    image_shape: tuple[int, ...] = (),
) -> Any:
    """Run a network on an explicit mesh with automatic axes.

    Args:
      run: a function of all that follows; `state` may be None.
      params: the parameters, as all that follow in part of explicit types.
      x: `[T, *B, *image_shape, I]`.
      state: before the first step, or None.
      steps: a tree of flags `[T, *B]`.
      key: a random key, or None.
      image_shape: the axes of x between `*B` and its features.

    Returns:
      What `run` gives, explicit again: sharded along its batch axes as x is, and along no other.
    """
    arrays: tuple[Any, ...] = (params, x, state, steps, key)
    end = x.ndim - len(image_shape) - 1
    mesh, batch = explicit_mesh(arrays), tuple(jax.typeof(x).sharding.spec)[1:end]
    # Batch axes of sizes that nothing else has tell where the results have theirs. They are odd,
    # which twice H, of two directions, is not.
    known = {size for leaf in jax.tree.leaves(arrays) for size in leaf.shape}
    unknown = (size for size in itertools.count(1009, 2) if size not in known)
    sizes = tuple(itertools.islice(unknown, len(batch)))

    def shape_of(array: Array, shape: tuple[int, ...] | None = None) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape if shape is None else shape, array.dtype)

    def place(leaf: Any) -> NamedSharding:
        axes = (batch[sizes.index(size)] if size in sizes else None for size in leaf.shape)
        return NamedSharding(mesh, PartitionSpec(*axes))

    num_steps = x.shape[0]
    with automatic(mesh):
        found = jax.eval_shape(
            run,
            jax.tree.map(shape_of, params),
            shape_of(x, (num_steps, *sizes, *x.shape[end:])),
            None,  # the first state, which is of the form of any other
            jax.tree.map(lambda flag: shape_of(flag, (num_steps, *sizes)), steps),
            jax.tree.map(shape_of, key),
        )
    # In a `shard_map` over some axes those are its own.
    axes = tuple(_explicit_axes(mesh))
    return jax.sharding.auto_axes(run, axes=axes, out_sharding=jax.tree.map(place, found))(*arrays)
