"""The rows of the measure "scan": a code and its sizes each.

A row's name is `code/AxBxC`, its sizes in the order that the code's `build` names them:
`flax-lstm/32x128x256`.
"""

from importlib import import_module
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.scans.code import Code


class ScanRow(NamedTuple):
    """One code on one shape."""

    code: str  # of MODULES
    sizes: tuple[int, ...]

    @property
    def name(self) -> str:
        """Return the row's name."""
        return f"{self.code}/{'x'.join(map(str, self.sizes))}"


MODULES = {
    "attention-decoder": "attention",
    "flax-lstm": "flax_cells",
    "flax-gru": "flax_cells",
    "flax-simple": "flax_cells",
    "haiku-deep": "haiku_deep",
    "rl-gru": "rollout",
    "equinox-gru": "equinox_gru",
    "ppo": "ppo",
    "convlstm": "convlstm",
    "kalman": "kalman",
    "spiking": "spiking",
}

SCANS: tuple[ScanRow, ...] = (
    ScanRow("attention-decoder", (32, 40, 40, 256)),
    *(ScanRow(f"flax-{cell}", (32, 128, 256)) for cell in ("lstm", "gru", "simple")),
    ScanRow("haiku-deep", (32, 64, 128)),
    ScanRow("rl-gru", (16, 128, 128)),
    ScanRow("equinox-gru", (32, 128, 256)),
    ScanRow("ppo", (16, 128, 128)),
    ScanRow("convlstm", (8, 32, 16, 16)),
    ScanRow("kalman", (200, 8)),
    ScanRow("spiking", (64, 100, 128)),
)
QUICK_SCANS: tuple[ScanRow, ...] = (
    ScanRow("attention-decoder", (8, 16, 16, 32)),
    *(ScanRow(f"flax-{cell}", (8, 32, 32)) for cell in ("lstm", "gru", "simple")),
    ScanRow("haiku-deep", (8, 32, 32)),
    ScanRow("rl-gru", (8, 32, 32)),
    ScanRow("equinox-gru", (8, 32, 32)),
    ScanRow("ppo", (8, 16, 32)),
    ScanRow("convlstm", (2, 8, 8, 4)),
    ScanRow("kalman", (50, 4)),
    ScanRow("spiking", (8, 32, 32)),
)


def build_code(row: ScanRow, seed: int = 0) -> Code:
    """Make a row's code, with its numbers drawn.

    Raises:
      NotRunError: its library is not installed.
    """
    # Only now: no library is loaded before a row needs it.
    module = import_module(f"experiments.benchmarks.scans.{MODULES[row.code]}")
    return module.build(np.random.default_rng(seed), row.code, *row.sizes)
