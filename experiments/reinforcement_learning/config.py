"""Every option of one training, and the settings of each comparison.

Command:   python -m experiments.reinforcement_learning --preset NAME
Expected:  the table in this folder's README
Hardware:  2 CPU cores
Time:      in the records; the default is short: of the others, --cells gru lru --depths 1 first
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from experiments.common.settings import require
from experiments.long_memory.cells import CELLS

FRAMES = "frames"


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a training. The same settings give the same parameters on one machine."""

    environment: str = "tmaze"
    """tmaze, repeat_previous, cart_pole, or gymnax:NAME, which needs gymnax installed."""
    delay: int = 10
    """How long to remember. T-maze: steps of the corridor; repeat previous: cards ago."""

    memory: str = "gru"
    """One of `long_memory.cells.CELLS`, or frames."""
    num_layers: int = 1
    """Layers of the cell."""
    num_frames: int = 1
    """Of frames: how many are seen at once; 1: a feed-forward net."""
    hidden_size: int = 32
    """Units of every layer."""

    num_seeds: int = 3
    """Agents that are trained side by side, alike but for their seed."""
    seed: int = 0
    """Seed of the first of them; the others' follow."""
    steps: int = 100_000
    """Steps of each agent, in all its environments together."""
    num_envs: int = 64
    """Environments of each agent, side by side."""
    rollout: int = 32
    """Steps in each environment between updates."""
    epochs: int = 4
    """How often a rollout is learned from."""
    num_minibatches: int = 4
    """Parts of a rollout, each of whole environments, that a gradient step is made with."""
    learning_rate: float = 2e-3
    """Of Adam at first; it falls to zero in a line."""
    clip_norm: float = 0.5
    """Largest global norm of a gradient; a longer one is scaled down."""
    discount: float = 0.99
    """γ, of a reward a step later."""
    gae_lambda: float = 0.95
    """λ of the generalised advantages: 0, a single step; 1, all that follow."""
    clip: float = 0.2
    """How far a ratio, and a value, may move before it is clipped."""
    value_weight: float = 0.5
    """Of the values' squared error in the loss."""
    entropy_weight: float = 0.01
    """Of the policy's entropy in the loss."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and those that do not go together, by an InputError."""
        counts = ("delay", "num_layers", "num_frames", "hidden_size", "num_seeds", "num_envs")
        for name in (*counts, "rollout", "epochs", "num_minibatches"):
            require(getattr(self, name) >= 1, self, name, ">= 1")
        for name in ("learning_rate", "clip_norm", "clip"):
            require(0 < getattr(self, name) < float("inf"), self, name, "> 0 and finite")
        for name in ("discount", "gae_lambda"):
            require(0 <= getattr(self, name) <= 1, self, name, "in [0, 1]")
        for name in ("value_weight", "entropy_weight"):
            require(0 <= getattr(self, name) < float("inf"), self, name, ">= 0 and finite")
        require(0 <= self.seed < 2**31, self, "seed", "in [0, 2^31)")
        known = self.memory in (*CELLS, FRAMES)
        require(known, self, "memory", f"one of {', '.join(CELLS)} or {FRAMES}")
        multiple = 1 if self.memory == FRAMES else CELLS[self.memory].multiple
        heads = f"a multiple of {multiple} with memory={self.memory}"
        require(self.hidden_size % multiple == 0, self, "hidden_size", heads)
        parts = f"a divisor of num_envs={self.num_envs}"
        require(self.num_envs % self.num_minibatches == 0, self, "num_minibatches", parts)
        least = self.num_envs * self.rollout
        require(self.steps >= least, self, "steps", f">= {least}, num_envs * rollout")

    @property
    def num_updates(self) -> int:
        """Return the number of rollouts."""
        return self.steps // (self.num_envs * self.rollout)


class Preset(NamedTuple):
    """What a command trains: each cell at each depth, and each number of frames."""

    config: Config
    cells: tuple[str, ...]
    depths: tuple[int, ...] = (1,)
    frames: tuple[int, ...] = (1, 4)


_CELLS = ("gru", "lstm", "min_gru", "lru", "rg_lru", "diagonal_lstm")
PRESETS: Mapping[str, Preset] = {
    "default": Preset(Config(), ("gru", "lru"), frames=(1, 4, 12)),
    # Bakker 2001: an LSTM learns corridors of up to 70 steps.
    "tmaze": Preset(
        Config(delay=30, num_seeds=5, steps=500_000, rollout=64), _CELLS, (1, 2, 3), (1, 4, 32)
    ),
    # Morad et al. 2023: 4 cards ago is the easy one.
    "repeat_previous": Preset(
        Config(
            environment="repeat_previous",
            delay=4,
            hidden_size=64,
            num_seeds=5,
            steps=1_000_000,
            rollout=64,
        ),
        _CELLS,
        (1, 2, 3),
        (1, 4, 5),
    ),
    "cart_pole": Preset(
        Config(
            environment="cart_pole",
            hidden_size=64,
            num_seeds=5,
            steps=1_000_000,
            rollout=128,
            learning_rate=1e-3,
        ),
        _CELLS,
        (1, 2, 3),
    ),
}
