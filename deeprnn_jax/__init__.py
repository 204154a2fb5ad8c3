"""Deep recurrent networks for JAX: cells as pure functions, run by exact schedules."""

from deeprnn_jax import analysis, decoding, initializers, interop, schedules
from deeprnn_jax.cells.conv_gru import conv_gru
from deeprnn_jax.cells.conv_lstm import conv_lstm
from deeprnn_jax.cells.diagonal_gru import diagonal_gru
from deeprnn_jax.cells.diagonal_lstm import diagonal_lstm
from deeprnn_jax.cells.elman import elman
from deeprnn_jax.cells.gated_delta import gated_delta
from deeprnn_jax.cells.gru import gru
from deeprnn_jax.cells.independent import independent
from deeprnn_jax.cells.linear_attention import linear_attention
from deeprnn_jax.cells.lru import lru
from deeprnn_jax.cells.lstm import lstm
from deeprnn_jax.cells.min_gru import min_gru
from deeprnn_jax.cells.min_lstm import min_lstm
from deeprnn_jax.cells.minimal_gated import minimal_gated
from deeprnn_jax.cells.mlstm import mlstm
from deeprnn_jax.cells.qrnn import qrnn
from deeprnn_jax.cells.rg_lru import rg_lru
from deeprnn_jax.cells.s5 import s5
from deeprnn_jax.cells.slstm import slstm
from deeprnn_jax.cells.sru import sru
from deeprnn_jax.deep import DeepRNN, deep_rnn
from deeprnn_jax.factories import factory, split_cell, step_cell
from deeprnn_jax.modifiers import (
    causal_conv,
    layer_norm,
    learned_initial_state,
    residual_block,
    variational_dropout,
    weight_drop,
    zoneout,
)
from deeprnn_jax.parameters import DeepParams
from deeprnn_jax.partition import partition_specs
from deeprnn_jax.recurrence import explain, linear_scan, scan
from deeprnn_jax.truncation import truncated
from deeprnn_jax.types import Cell

__version__ = "0.1.0"

__all__ = [
    "Cell",
    "DeepParams",
    "DeepRNN",
    "analysis",
    "causal_conv",
    "conv_gru",
    "conv_lstm",
    "decoding",
    "deep_rnn",
    "diagonal_gru",
    "diagonal_lstm",
    "elman",
    "explain",
    "factory",
    "gated_delta",
    "gru",
    "independent",
    "initializers",
    "interop",
    "layer_norm",
    "learned_initial_state",
    "linear_attention",
    "linear_scan",
    "lru",
    "lstm",
    "min_gru",
    "min_lstm",
    "minimal_gated",
    "mlstm",
    "partition_specs",
    "qrnn",
    "residual_block",
    "rg_lru",
    "s5",
    "scan",
    "schedules",
    "slstm",
    "split_cell",
    "sru",
    "step_cell",
    "truncated",
    "variational_dropout",
    "weight_drop",
    "zoneout",
]
