"""From cells and options to a plan: which layers there are, and which are equal."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from deeprnn_jax import layers
from deeprnn_jax.cells.products import accumulation_dtype
from deeprnn_jax.checks import check_floating_dtype, check_rate, check_size
from deeprnn_jax.layers import Layer, Merge
from deeprnn_jax.modifiers.precision import compute_in, store_state_in
from deeprnn_jax.types import Cell


class Run(NamedTuple):
    """Neighbouring layers that are equal and stored stacked, or one layer alone."""

    layer: Layer
    start: int  # index of the first layer
    size: int  # how many layers


class Precision(NamedTuple):
    """The dtypes of a network."""

    param: Any  # parameters as stored
    compute: Any  # operands of products, and y without a readout
    accumulate: Any  # sums, gates, and y with a readout
    state: Any  # the state between steps


class Plan(NamedTuple):
    """All that a network is, but for its parameters."""

    cells: tuple[Cell, ...]  # one a layer, as the caller gave them
    runs: tuple[Run, ...]
    merge: Merge | None  # None: one direction
    skip: str | None
    width: int  # of the last layer's output
    output_size: int | None  # of the readout; None: there is none
    dropout: float
    precision: Precision

    @property
    def is_stochastic(self) -> bool:
        """Whether training draws anything."""
        drops = self.dropout > 0 and len(self.cells) > 1
        return drops or any(cell.is_stochastic for cell in self.cells)


def make_precision(param_dtype: Any, compute_dtype: Any, state_dtype: Any) -> Precision:
    """Fill in the defaults and raise ValueError unless all are floating point."""
    param = check_floating_dtype("deep_rnn", "param_dtype", param_dtype)
    compute = param
    if compute_dtype is not None:
        compute = check_floating_dtype("deep_rnn", "compute_dtype", compute_dtype)
    accumulate = state = accumulation_dtype(compute)
    if state_dtype is not None:
        state = check_floating_dtype("deep_rnn", "state_dtype", state_dtype)
    return Precision(param, compute, accumulate, state)


def list_cells(cell: Cell | Sequence[Cell], num_layers: int | None) -> list[Cell]:
    """Give one cell a layer, or raise ValueError."""
    if isinstance(cell, Cell):
        count = 1 if num_layers is None else num_layers
        check_size("deep_rnn", "num_layers", count)
        return [cell] * count
    cells = list(cell) if isinstance(cell, list | tuple) else []
    if not cells or not all(isinstance(one, Cell) for one in cells):
        raise ValueError(
            f"deep_rnn: cell must be a cell or a list of cells, got {cell!r}; for example "
            "drnn.lstm(256)"
        )
    if num_layers not in (None, len(cells)):
        raise ValueError(
            f"deep_rnn: got {len(cells)} cells and num_layers={num_layers}; a list has one "
            "cell a layer, leave num_layers out"
        )
    return cells


def choose_merge(bidirectional: bool, merge: str | Merge) -> Merge | None:
    """Give the function that joins two directions, or None with one direction."""
    named = {"concat": layers.concatenate, "sum": jnp.add}
    if not (callable(merge) or (isinstance(merge, str) and merge in named)):
        raise ValueError(
            f"deep_rnn: merge must be 'concat', 'sum' or a function of two arrays, got {merge!r}"
        )
    if not bidirectional:
        if merge not in ("concat", layers.concatenate):
            raise ValueError(
                f"deep_rnn: merge={merge!r} joins two directions, but there is one; give "
                "bidirectional=True"
            )
        return None
    return merge if callable(merge) else named[merge]


def make_plan(
    cells: Sequence[Cell],
    *,
    merge: Merge | None,
    skip: str | None,
    layer_norm: bool,
    dropout: float,
    output_size: int | None,
    precision: Precision,
    stack_layers: bool,
) -> Plan:
    """Give a network's plan, or raise ValueError; see `deep_rnn` for the arguments."""
    if skip not in layers.SKIPS:
        raise ValueError(f"deep_rnn: skip must be one of {layers.SKIPS}, got {skip!r}")
    check_rate("deep_rnn", "dropout", dropout)
    widths = [layers.merged_size(merge, cell.output_size) for cell in cells]
    plan = []
    for index, cell in enumerate(cells):
        # The first layer has no skip, whatever its input: the shapes of the
        # parameters then have one form, known before x is seen.
        around = skip if index > 0 and skip != "dense" else None
        if around is not None and widths[index - 1] != widths[index]:
            raise ValueError(
                f"deep_rnn: skip={skip!r} needs equal sizes, but layer {index} reads "
                f"{widths[index - 1]} units and gives {widths[index]}; use equal sizes, or "
                "skip='dense'"
            )
        layer = Layer(
            cell=cell,
            input_size=None if index == 0 or skip == "dense" else widths[index - 1],
            merge=merge,
            norm=layer_norm and index > 0,
            skip=around,
            dropout=float(dropout),
            compute_dtype=precision.compute,
        )
        plan.append(layer)
    return Plan(
        cells=tuple(cells),
        runs=tuple(_group_runs(plan, precision, stack_layers)),
        merge=merge,
        skip=skip,
        width=widths[-1],
        output_size=output_size,
        dropout=float(dropout),
        precision=precision,
    )


def input_sizes(plan: Plan, input_size: int) -> list[int]:
    """Give the width of what each layer reads.

    Args:
      plan: the network.
      input_size: I, the width of x.
    """
    widths = [layers.merged_size(plan.merge, cell.output_size) for cell in plan.cells]
    if plan.skip == "dense":
        return [input_size + sum(widths[:index]) for index in range(len(widths))]
    return [input_size, *widths[:-1]]


def _group_runs(plan: Sequence[Layer], precision: Precision, stack_layers: bool) -> list[Run]:
    """Group neighbouring layers that are equal and can be stacked.

    The first layer stands alone even where its input happens to be as wide as the
    others': the structure of parameters and state then does not depend on x.
    """
    runs: list[Run] = []
    for index, layer in enumerate(plan):
        joins = stack_layers and runs and layer.input_size is not None
        if joins and _are_equal(runs[-1].layer, layer):
            runs[-1] = runs[-1]._replace(size=runs[-1].size + 1)
        else:
            runs.append(Run(layer, index, 1))

    def with_precision(layer: Layer) -> Layer:
        cell = compute_in(layer.cell, precision.compute)
        return layer._replace(cell=store_state_in(cell, precision.state, precision.accumulate))

    return [run._replace(layer=with_precision(run.layer)) for run in runs]


def _are_equal(a: Layer, b: Layer) -> bool:
    same_around = a._replace(cell=b.cell) == b
    return same_around and a.cell.is_same(b.cell)
