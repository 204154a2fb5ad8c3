"""Deep recurrent networks for JAX: cells as pure functions, run by exact schedules."""

from deeprnn_jax import decoding, initializers, interop, schedules
from deeprnn_jax.cells.elman import elman
from deeprnn_jax.cells.gru import gru
from deeprnn_jax.cells.independent import independent
from deeprnn_jax.cells.lstm import lstm
from deeprnn_jax.cells.minimal_gated import minimal_gated
from deeprnn_jax.deep import DeepRNN, deep_rnn
from deeprnn_jax.factories import factory, split_cell, step_cell
from deeprnn_jax.modifiers import (
    layer_norm,
    learned_initial_state,
    variational_dropout,
    weight_drop,
    zoneout,
)
from deeprnn_jax.parameters import DeepParams
from deeprnn_jax.partition import partition_specs
from deeprnn_jax.recurrence import explain, scan
from deeprnn_jax.truncation import truncated
from deeprnn_jax.types import Cell

__version__ = "0.1.0"

__all__ = [
    "Cell",
    "DeepParams",
    "DeepRNN",
    "decoding",
    "deep_rnn",
    "elman",
    "explain",
    "factory",
    "gru",
    "independent",
    "initializers",
    "interop",
    "layer_norm",
    "learned_initial_state",
    "lstm",
    "minimal_gated",
    "partition_specs",
    "scan",
    "schedules",
    "split_cell",
    "step_cell",
    "truncated",
    "variational_dropout",
    "weight_drop",
    "zoneout",
]
