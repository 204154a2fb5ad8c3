"""What the cells of flax.linen and flax.nnx have in common: settings, not weights."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.cells.elman import elman
from deeprnn_jax.cells.gru import gru
from deeprnn_jax.cells.lstm import lstm
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop import assembly
from deeprnn_jax.types import Cell


def our_cell(function: str, kind: str, size: int, cell: Any) -> Cell:
    """Give the cell that computes what a Flax cell does, or raise ValueError.

    Args:
      function: the public function's name.
      kind: "elman", "lstm" or "gru".
      size: H.
      cell: the Flax cell.
    """
    if cell.carry_init not in (None, jax.nn.initializers.zeros):
        raise ValueError(
            f"{function}: {type(cell).__name__} must begin with a carry of zeros, got "
            f"carry_init={cell.carry_init!r}; hand that carry to apply as the state"
        )
    if kind == "elman":
        return elman(size, cell.activation_fn)
    if kind == "lstm":
        return lstm(size, gate_activation=cell.gate_fn, cell_activation=cell.activation_fn)
    return gru(size, gate_activation=cell.gate_fn, activation=cell.activation_fn)


def flax_options(function: str, library: str, cell: Cell, rnn: DeepRNN) -> dict[str, Any]:
    """Give the options of the Flax cell that computes what ours does, or raise ValueError."""
    settings = assembly.settings_of(function, library, cell)
    precision = rnn.plan.precision
    options = {"param_dtype": precision.param, "dtype": precision.compute}
    if cell.name == "elman":
        return options | {"activation_fn": settings["activation"]}
    if cell.name == "gru":
        assembly.require(function, library, cell, reset_after=True)
        activation = settings["activation"]
    else:
        wanted = {"peepholes": False, "coupled": False, "projection_size": None}
        assembly.require(function, library, cell, **wanted)
        activation = settings["cell_activation"]
    return options | {"gate_fn": settings["gate_activation"], "activation_fn": activation}


def common_dtype(function: str, cells: Sequence[Any]) -> Any:
    """Give the one dtype that Flax cells compute in; None: that of their parameters."""
    dtypes = {None if cell.dtype is None else jnp.dtype(cell.dtype) for cell in cells}
    if len(dtypes) > 1:
        raise ValueError(
            f"{function}: all cells must have one dtype, got {sorted(map(str, dtypes))}; "
            "convert them one at a time"
        )
    return dtypes.pop() if dtypes else None
