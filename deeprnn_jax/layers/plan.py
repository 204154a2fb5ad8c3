"""From cells and options to a plan: which layers there are, and which are equal."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from jax import lax

from deeprnn_jax.checks import check_floating_dtype, check_rate, check_size
from deeprnn_jax.layers import layer as layers
from deeprnn_jax.layers.layer import Layer, Merge
from deeprnn_jax.precision import Precision, accumulation_dtype
from deeprnn_jax.types import Cell


class Group(NamedTuple):
    """Neighbouring layers that are equal."""

    start: int  # index of the first layer
    size: int  # how many layers


@dataclass(frozen=True)
class Plan:
    """All that a network is, but for its parameters; equal to that of one made alike."""

    layers: tuple[Layer, ...]
    is_dense: bool  # whether each layer reads x and the outputs of all below
    output_size: int | None  # of the readout; None: there is none
    precision: Precision
    stack_layers: bool  # whether parameters and states of equal layers are held stacked

    def __hash__(self) -> int:
        """Hash once: every call that is compiled asks for it."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.layers, self.is_dense, self.output_size, self.precision))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the fields alone: a hash is another in another process, the rest is derived."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One a layer, as the caller gave them."""
        return tuple(layer.cell for layer in self.layers)

    def with_cells(self, cells: Sequence[Cell]) -> "Plan":
        """Give the plan with other cells of the same sizes, one a layer."""
        pairs = zip(self.layers, cells, strict=True)
        return replace(self, layers=tuple(layer._replace(cell=cell) for layer, cell in pairs))

    def without_dropout(self) -> "Plan":
        """Give the plan that `init` depends on, the same for any dropout."""
        found = tuple(layer._replace(dropout=0.0, locked=False) for layer in self.layers)
        return replace(self, layers=found)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The axes of x, states and y between `*B` and their features; () where there are none."""
        return self.layers[0].cell.image_shape

    @property
    def merge(self) -> Merge | None:
        """How two directions are joined; None with one direction."""
        return self.layers[0].merge

    @cached_property
    def width(self) -> int:
        """The width of the last layer's output."""
        return layers.merged_size(self.merge, self.layers[-1].cell.output_size)

    @cached_property
    def is_stochastic(self) -> bool:
        """Whether training draws anything."""
        drops = self.layers[0].dropout > 0 and len(self.layers) > 1
        return drops or any(layer.cell.draw is not None for layer in self.layers)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Neighbouring layers that are equal.

        The first layer stands alone even where its input happens to be as wide as the
        others': groups then do not depend on x.
        """
        groups: list[Group] = []
        for index, layer in enumerate(self.layers):
            if index > 1 and self.layers[index - 1] == layer and layer.input_size is not None:
                groups[-1] = groups[-1]._replace(size=groups[-1].size + 1)
            else:
                groups.append(Group(index, 1))
        return tuple(groups)


def make_precision(
    param_dtype: Any, compute_dtype: Any, state_dtype: Any, products: Any
) -> Precision:
    """Fill in the defaults and raise ValueError unless all fit."""
    param = check_floating_dtype("deep_rnn", "param_dtype", param_dtype)
    compute = param
    if compute_dtype is not None:
        compute = check_floating_dtype("deep_rnn", "compute_dtype", compute_dtype)
    accumulate = state = accumulation_dtype(compute)
    if state_dtype is not None:
        state = check_floating_dtype("deep_rnn", "state_dtype", state_dtype)
    if isinstance(products, lax.Precision):
        products = products.name.lower()
    if products is not None and products not in ("default", "high", "highest"):
        raise ValueError(
            "deep_rnn: precision must be None, 'default', 'high' or 'highest', got "
            f"{products!r}; dtypes have arguments of their own"
        )
    return Precision(param, compute, accumulate, state, products)


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
    named = {"concat": layers.concatenate, "sum": layers.add}
    if not (callable(merge) or (isinstance(merge, str) and merge in named)):
        raise ValueError(
            f"deep_rnn: merge must be 'concat', 'sum' or a function of two arrays, got {merge!r}"
        )
    if callable(merge) and not isinstance(merge, Hashable):
        raise ValueError(
            f"deep_rnn: merge must be hashable, which {type(merge).__name__} is not; wrap it in a "
            "function"
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
    normalize_inputs: bool,
    dropout: float,
    locked_dropout: bool,
    output_size: int | None,
    precision: Precision,
    stack_layers: bool,
) -> Plan:
    """Give a network's plan, or raise ValueError; see `deep_rnn` for the arguments."""
    if skip not in layers.SKIPS:
        raise ValueError(f"deep_rnn: skip must be one of {layers.SKIPS}, got {skip!r}")
    check_rate("deep_rnn", "dropout", dropout)
    if any(cell.image_shape != cells[0].image_shape for cell in cells):
        raise ValueError(
            "deep_rnn: all cells must be of one image_shape, for they read what those below give, "
            f"got {[cell.image_shape for cell in cells]}; use a network for each, one after the "
            "other"
        )
    widths = [layers.merged_size(merge, cell.output_size) for cell in cells]
    found = []
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
            norm=normalize_inputs and index > 0,
            skip=around,
            dropout=float(dropout),
            locked=locked_dropout,
            compute_dtype=precision.compute,
        )
        found.append(layer)
    return Plan(tuple(found), skip == "dense", output_size, precision, stack_layers)


def input_sizes(plan: Plan, input_size: int) -> list[int]:
    """Give the width of what each layer reads.

    Args:
      plan: the network.
      input_size: I, the width of x.
    """
    widths = [layers.merged_size(plan.merge, cell.output_size) for cell in plan.cells]
    if plan.is_dense:
        return [input_size + sum(widths[:index]) for index in range(len(widths))]
    return [input_size, *widths[:-1]]
