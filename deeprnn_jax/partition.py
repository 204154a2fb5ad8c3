"""How a network's arrays are laid over the axes of a mesh of devices."""

import math
from typing import Any, NamedTuple

import jax
from jax.sharding import PartitionSpec

from deeprnn_jax.deep import DeepRNN, check_network
from deeprnn_jax.parameters import DeepParams, check_params, initial_state

Axis = str | tuple[str, ...] | None


class PartitionSpecs(NamedTuple):
    """Where a network's arrays lie."""

    params: DeepParams  # of specs, as the parameters are of arrays
    state: tuple[Any, ...]  # likewise, of a state with one batch axis
    x: PartitionSpec  # of x [T, B, I]; y [T, B, O] comes so


def partition_specs(
    rnn: DeepRNN,
    params: DeepParams,
    *,
    layers: Axis = None,
    batch: Axis = None,
    hidden: Axis = None,
    mesh: Any = None,
) -> PartitionSpecs:
    """Give the specs by which a network's arrays are laid over a mesh.

    Args:
      rnn: the network.
      params: its parameters, or their shapes and dtypes.
      layers: the mesh's axis for stacked layers, of a network with `stack_layers=True`; the
        first layer, which stands alone, is on every device. Run it by
        `schedules.pipeline(axis=layers)`.
      batch: the axis, or axes, for the rows of a batch.
      hidden: the axis for units: the columns of each cell's matrices, the rows of the
        readout's. Every step then gathers h, so it is for layers too wide for one device. On
        an explicit mesh y and the state come back whole along H.
      mesh: the mesh, for a check that it has these axes and that they divide the arrays; None:
        that of `jax.set_mesh`, or no check.

    Returns:
      The specs of parameters, state and x.

    Raises:
      ValueError: if the parameters are of another network, an axis is used twice or is not the
        mesh's, or does not divide what it is for.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=5, stack_layers=True)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> specs = drnn.partition_specs(rnn, params, layers="stage", batch="data")
      >>> specs.params.layers[1].cell.w_x, specs.state[1].h, specs.x
      (P('stage', None, None), P('stage', 'data', None), P(None, 'data', None))
    """
    check_network("partition_specs", rnn)
    check_params("partition_specs", rnn.plan, params)
    axes: dict[str, Any] = {"layers": layers, "batch": batch, "hidden": hidden}
    for argument, axis in axes.items():
        if not all(isinstance(name, str) for name in _names(axis)):
            raise ValueError(
                f"partition_specs: {argument} must be an axis's name, several in a tuple, or None, "
                f"got {axis!r}"
            )
    used = [name for axis in axes.values() for name in _names(axis)]
    if len(set(used)) < len(used):
        raise ValueError(
            f"partition_specs: an axis can be for one thing, got layers={layers!r}, "
            f"batch={batch!r}, hidden={hidden!r}; give each its own"
        )
    plan = rnn.plan
    if layers is not None and not (plan.stack_layers and any(g.size > 1 for g in plan.groups)):
        raise ValueError(
            f"partition_specs: layers={layers!r} needs layers that are stacked; use "
            "deep_rnn(..., stack_layers=True) with equal layers from the second on"
        )
    both = plan.merge is not None
    entries, states = [], []
    # of no rows, which any number of devices divides
    shapes = jax.eval_shape(lambda tree: initial_state(plan, tree, (0,)), params)
    for number, (entry, state) in enumerate(zip(params.layers, shapes, strict=True)):
        stacked = plan.stack_layers and plan.groups[number].size > 1
        first = [layers if stacked else None] if plan.stack_layers else []
        cell = _specs_of(entry.cell, [*first, None] if both else first, hidden)
        around = _specs_of(entry._replace(cell=None), first, hidden)
        entries.append(around._replace(cell=cell))
        states.append(_specs_of(state, [*first, *([None] if both else []), batch], hidden))
    readout = params.readout
    if readout is not None:
        readout = readout._replace(w=PartitionSpec(hidden, None), b=PartitionSpec(None))
    specs = PartitionSpecs(
        DeepParams(tuple(entries), readout),
        tuple(states),
        PartitionSpec(None, batch, *[None] * len(plan.image_shape), None),
    )
    for name, one, arrays in (("params", specs.params, params), ("state", specs.state, shapes)):
        _check_mesh(name, one, arrays, axes, mesh)
    return specs


def _specs_of(tree: Any, first: list[Axis], last: Axis) -> Any:
    """Give the specs of arrays by the axes for their first dimensions, and for the last one."""

    def spec(leaf: Any) -> PartitionSpec:
        rest = len(leaf.shape) - len(first)
        return PartitionSpec(*first, *[None] * (rest - 1), *[last] * (rest > 0))

    return jax.tree.map(spec, tree)


def _check_mesh(tree_name: str, specs: Any, arrays: Any, axes: dict[str, Axis], mesh: Any) -> None:
    """Raise ValueError unless the mesh, if there is one, has the axes, and they divide."""
    mesh = jax.sharding.get_abstract_mesh() if mesh is None else mesh
    sizes: dict[str, int] = dict(mesh.shape)
    if not sizes:
        return
    for argument, axis in axes.items():
        for name in _names(axis):
            if name not in sizes:
                raise ValueError(
                    f"partition_specs: {argument} must be one of the mesh's axes, {list(sizes)}, "
                    f"got {name!r}"
                )
    pairs = zip(jax.tree.leaves_with_path(arrays), jax.tree.leaves(specs), strict=True)
    for (path, leaf), spec in pairs:
        for size, axis in zip(leaf.shape, spec, strict=True):
            number = math.prod(sizes[name] for name in _names(axis))
            if size % number:
                raise ValueError(
                    f"partition_specs: the {number} devices along {axis!r} must divide {size}, of "
                    f"{tree_name}{jax.tree_util.keystr(path)} {leaf.shape}; use another mesh, or "
                    "another number of layers or units"
                )


def _names(axis: Axis) -> tuple[str, ...]:
    return () if axis is None else axis if isinstance(axis, tuple) else (axis,)
