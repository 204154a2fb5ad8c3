"""The cells by name: a line adds one to every task and table.

Options are those that the cells' authors advise for long sequences; all else is the library's
default. None is chosen by the task, but for what follows from its length.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax

import deeprnn_jax as drnn

HEADS = 2  # few, for the networks are small: 16 features a head in those of 16,000 parameters


class Kind(NamedTuple):
    """How a cell is made."""

    make: Callable[[int, int], drnn.Cell]  # of H units, for sequences of T steps
    multiple: int = 1  # which H is a multiple of


def _irnn(size: int, length: int) -> drnn.Cell:
    """Le et al. 2015: rectified units that at first hold what they have."""
    return drnn.elman(size, jax.nn.relu, w_h_init=drnn.initializers.identity())


def _chrono_lstm(size: int, length: int) -> drnn.Cell:
    """Tallec and Ollivier 2018: at first the units forget after 1 to T steps."""
    return drnn.lstm(size, forget_bias=drnn.initializers.chrono(max(length, 3)))


def _independent(size: int, length: int) -> drnn.Cell:
    """Li et al. 2018: at first no unit grows by more than a factor of two in T steps."""
    return drnn.independent(size, w_h_init=jax.nn.initializers.uniform(2.0 ** (1 / length)))


CELLS: Mapping[str, Kind] = {
    # A matrix from all units to all, and a nonlinear function in every step.
    "elman": Kind(lambda size, length: drnn.elman(size)),
    "irnn": Kind(_irnn),
    "gru": Kind(lambda size, length: drnn.gru(size)),
    "lstm": Kind(lambda size, length: drnn.lstm(size)),
    "lstm_chrono": Kind(_chrono_lstm),
    "minimal_gated": Kind(lambda size, length: drnn.minimal_gated(size)),
    "slstm": Kind(lambda size, length: drnn.slstm(size, HEADS), HEADS),
    # A nonlinear function in every step, each unit by itself.
    "independent": Kind(_independent),
    "sru": Kind(lambda size, length: drnn.sru(size)),
    "diagonal_gru": Kind(lambda size, length: drnn.diagonal_gru(size)),
    "diagonal_lstm": Kind(lambda size, length: drnn.diagonal_lstm(size)),
    # Linear in the state, each unit by itself. For long memory |λ| begins close to one
    # (Orvieto et al. 2023).
    "min_gru": Kind(lambda size, length: drnn.min_gru(size)),
    "min_lstm": Kind(lambda size, length: drnn.min_lstm(size)),
    "qrnn": Kind(lambda size, length: drnn.qrnn(size)),
    "lru": Kind(lambda size, length: drnn.lru(size, r_min=0.9, r_max=0.999)),
    "s5": Kind(lambda size, length: drnn.s5(size), 2),
    "rg_lru": Kind(lambda size, length: drnn.rg_lru(size, HEADS), HEADS),
    # Linear in a matrix that is written to and read by keys.
    "linear_attention": Kind(lambda size, length: drnn.linear_attention(size, HEADS), HEADS),
    "gla": Kind(
        lambda size, length: drnn.linear_attention(
            size, HEADS, decay="key", normalizer=False, output_norm="rms"
        ),
        HEADS,
    ),
    "mlstm": Kind(lambda size, length: drnn.mlstm(size, HEADS, output_norm="layer"), HEADS),
    "gated_delta": Kind(
        lambda size, length: drnn.gated_delta(size, HEADS, output_norm="rms"), HEADS
    ),
    "gated_delta_negative": Kind(
        lambda size, length: drnn.gated_delta(
            size, HEADS, negative_eigenvalues=True, output_norm="rms"
        ),
        HEADS,
    ),
}
