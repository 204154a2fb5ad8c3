"""What the models of several experiments are made of: cells by name, networks, dropout."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.common.settings import NetworkSettings

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


def make_network(settings: NetworkSettings, **options: Any) -> drnn.DeepRNN:
    """Return the deep network of some settings, but for what drops its outputs: `dropout`.

    Args:
      settings: what it is made of. A single layer has no dropout between layers.
      **options: further ones of `deep_rnn`.
    """
    return drnn.deep_rnn(
        make_cell(settings.cell, settings.hidden_size, settings.weight_drop),
        settings.num_layers,
        dropout=settings.dropout if settings.num_layers > 1 else 0.0,
        skip=None if settings.skip == "none" else settings.skip,
        normalize_inputs=settings.normalize_inputs,
        compute_dtype=jnp.dtype(settings.compute_dtype),
        **options,
    )


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Apply flax's dropout where there is a key."""
    if key is None or rate == 0.0:
        return x
    layer: Any = nn.Dropout(rate, deterministic=False)
    return layer.apply({}, x, rngs={"dropout": key})


def split_or_none(key: jax.Array | None, number: int) -> Any:
    """Return so many keys, or as many times None where there is no key: dropout is off."""
    return (None,) * number if key is None else jax.random.split(key, number)
