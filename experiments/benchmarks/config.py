"""Every option of a benchmark run."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args

from experiments.benchmarks.peers.registry import PEERS
from experiments.common.errors import InputError

Measure = Literal["train", "forward", "stream", "compile", "memory", "growth", "scan"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

# What a run that goes on may change: nothing that makes samples another thing.
FREE_ON_RESUME = frozenset(
    {"rows", "measure", "rounds", "compile_rounds", "quick", "out", "resume", "overwrite", "list"}
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Time this library beside the others."""

    rows: tuple[str, ...] = ()
    """Rows or patterns: lstm/2x32x128x256x256 gru/* */bi; `rules`: those that "auto" was
    chosen by. None given: the whole grid."""
    measure: tuple[Measure | Literal["all"], ...] = ("train", "forward")
    """What is measured. scan: public codes by our scan and by lax.scan, on rows of their own."""
    peers: tuple[str, ...] = PEERS
    """The libraries to compare with."""
    schedules: bool = False
    """Also measure each of our schedules by its name."""
    rounds: int = 10
    """Samples of each entry."""
    compile_rounds: int = 5
    """Samples of each entry's trace and compile time."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the products; parameters stay float32 where the library can."""
    torch_threads: int | None = None
    """Threads of torch on the CPU. None: one or all, whichever is faster."""
    seed: int = 0
    """Of parameters and inputs."""
    quick: bool = False
    """A few small rows: under two minutes on two cores."""
    out: Path | None = None
    """Folder of results.json, tables.md and the plots. None: by the device, under results/."""
    resume: bool = False
    """Keep what the folder has, and measure what is missing."""
    overwrite: bool = False
    """Start anew in a folder that has results."""
    list: bool = False
    """Show the rows and do nothing."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
          InputError: names the option, what it may be and what it is.
        """
        unknown = sorted(set(self.peers) - set(PEERS))
        if unknown:
            raise InputError(f"Config: --peers must be of {', '.join(PEERS)}, got {unknown}")
        for name, least in (("rounds", 2), ("compile_rounds", 1), ("seed", 0)):
            if getattr(self, name) < least:
                option = "--" + name.replace("_", "-")
                raise InputError(f"Config: {option} must be >= {least}, got {getattr(self, name)}")
        if self.resume and self.overwrite:
            raise InputError("Config: --resume keeps results, --overwrite drops them; give one")
        if "scan" in self.measure and self.dtype != "float32":
            raise InputError(f"Config: --measure scan is of float32 alone, got {self.dtype}")
        if self.torch_threads is not None and self.torch_threads < 1:
            raise InputError(f"Config: --torch-threads must be >= 1, got {self.torch_threads}")

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured, "all" by its names."""
        if "all" in self.measure:
            return tuple(m for m in MEASURES if m != "scan" or self.dtype == "float32")
        return self.measure

    @property
    def is_whole(self) -> bool:
        """Whether this is the grid, beside everyone."""
        return not self.rows and not self.quick and set(self.peers) == set(PEERS)

    def as_json(self) -> dict[str, Any]:
        """Return the options as JSON holds them."""
        values = dataclasses.asdict(self) | {"out": str(self.out)}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}
