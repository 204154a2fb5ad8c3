"""What the models of several experiments are made of: cells by name, networks, dropout."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

import deeprnn_jax as drnn
from experiments.common.settings import Skip

CELLS: Mapping[str, Callable[[int], drnn.Cell]] = {
    "elman": drnn.elman,
    "lstm": drnn.lstm,
    "gru": drnn.gru,
    "minimal_gated": drnn.minimal_gated,
    "independent": drnn.independent,
}


def make_cell(name: str, size: int, weight_drop: float = 0.0) -> drnn.Cell:
    """Return a cell of so many units.

    Args:
      name: one of `CELLS`.
      size: H.
      weight_drop: the rate of dropped entries in the recurrent matrices.
    """
    cell = CELLS[name](size)
    return drnn.weight_drop(cell, weight_drop) if weight_drop > 0.0 else cell


def make_network(
    cell: drnn.Cell, num_layers: int, *, dropout: float, skip: Skip = "none", **options: Any
) -> drnn.DeepRNN:
    """Return a deep network.

    Args:
      cell: a layer's cell.
      num_layers: L.
      dropout: the rate between layers, of which a single one has none; what drops its
        outputs is `dropout` below.
      skip: what goes around each layer from the second on.
      **options: further ones of `deep_rnn`.
    """
    return drnn.deep_rnn(
        cell,
        num_layers,
        dropout=dropout if num_layers > 1 else 0.0,
        skip=None if skip == "none" else skip,
        **options,
    )


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Apply flax's dropout where there is a key."""
    if key is None or rate == 0.0:
        return x
    layer: Any = nn.Dropout(rate, deterministic=False)
    return layer.apply({}, x, rngs={"dropout": key})
