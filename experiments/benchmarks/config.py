"""Every option of a benchmark run."""

import dataclasses
from pathlib import Path
from typing import Literal

from experiments.benchmarks.peers.registry import PEERS
from experiments.common.errors import InputError

Measure = Literal["train", "forward"]


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure, on which rows, beside whom."""

    rows: tuple[str, ...] = ()
    """Rows or patterns: lstm/2x32x128x256x256, gru/*, */bi. None: the whole grid."""
    measure: tuple[Measure, ...] = ("train", "forward")
    """What is measured."""
    peers: tuple[str, ...] = PEERS
    """The libraries to compare with."""
    schedules: bool = False
    """Also time each of our schedules by its name."""
    rounds: int = 10
    """Samples of each entry."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the products; parameters stay float32 where the library can."""
    torch_threads: int | None = None
    """Threads of torch on the CPU. None: as many as there are cores."""
    seed: int = 0
    """Of parameters and inputs."""
    quick: bool = False
    """A few small rows, few rounds: under two minutes on two cores."""
    out: Path | None = None
    """Folder of results.json and the plots."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
          InputError: names the option, what it may be and what it is.
        """
        unknown = sorted(set(self.peers) - set(PEERS))
        if unknown:
            raise InputError(f"Config: --peers must be of {', '.join(PEERS)}, got {unknown}")
        if self.rounds < 2:
            raise InputError(f"Config: --rounds must be >= 2, got {self.rounds}")
