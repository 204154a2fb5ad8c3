"""Modifiers: functions from a cell to a cell, one a file, to be combined freely."""

from deeprnn_jax.modifiers.causal_conv import causal_conv
from deeprnn_jax.modifiers.layer_norm import layer_norm
from deeprnn_jax.modifiers.learned_state import learned_initial_state
from deeprnn_jax.modifiers.residual_block import residual_block
from deeprnn_jax.modifiers.variational import variational_dropout
from deeprnn_jax.modifiers.weight_drop import weight_drop
from deeprnn_jax.modifiers.zoneout import zoneout

__all__ = [
    "causal_conv",
    "layer_norm",
    "learned_initial_state",
    "residual_block",
    "variational_dropout",
    "weight_drop",
    "zoneout",
]
