"""Every option of one run: a task, a cell, several seeds. `presets.py` has those of each task."""

import dataclasses
from typing import Annotated, Literal

from experiments.common.settings import Count, Rate, Schedule, TrainingSettings, at_least, require
from experiments.long_memory.cells import CELLS

MADE = "made"
CORPORA = (MADE, "mnist", "tinyshakespeare")
TaskName = Literal[
    "parity",
    "s3",
    "a5",
    "copy",
    "selective_copy",
    "mqar",
    "adding",
    "smnist",
    "psmnist",
    "characters",
]
DATA = {"smnist": "mnist", "psmnist": "mnist", "characters": "tinyshakespeare"}  # else made


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    """Settings of a run. The same settings give the same parameters on one machine."""

    data: str = MADE
    """made (drawn from seeds), mnist or tinyshakespeare, as the task needs."""
    task: TaskName = "parity"
    """What is to be learned."""
    length: Count = 40
    """Steps of a sequence in training; of digits 784."""
    test_lengths: tuple[int, ...] = ()
    """Longer lengths to be tested at, where each step has an answer; else that of training."""
    num_items: Count = 10
    """Copying: symbols to be remembered. Recall: pairs of key and value."""
    num_kinds: Annotated[int, at_least(2)] = 8
    """Copying: how many different symbols there are. Recall: the whole vocabulary."""

    cell: str = "gru"
    """One of `cells.CELLS`."""
    architecture: Literal["plain", "block"] = "plain"
    """Layers of the cell one on the other, or each in a residual block with a gated MLP."""
    conv_width: Count = 1
    """Blocks: steps that the causal convolution before the cell reads; 1: there is none."""
    num_layers: Count = 2
    """Layers, or blocks."""
    parameters: Count = 16_000
    """Parameters of every network, within 2 %, without the table of the symbols' vectors."""
    embedding_size: Count = 32
    """Width of a symbol's vector, about: it is what makes the parameters equal."""
    tied_embeddings: bool = False
    """Read symbols out by the table of their vectors, too."""
    mean_output: bool = False
    """Read the mean of all outputs out, in place of the last one."""
    dropout: Rate = 0.0
    """Rate of dropout before the readout, and between the layers or on the blocks' branches."""
    schedule: Schedule = "auto"
    """The order of the network's work: the same numbers, up to rounding."""

    num_seeds: Count = 3
    """Models that are trained side by side, alike but for their seed."""
    seed: int = 0
    """Seed of the first model; the others' follow."""
    steps: int = 2000
    batch_size: int = 64
    """Sequences in a step of each model."""
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    eval_interval: int = 200
    """Steps between evaluations; each leaves a checkpoint, for every seed to choose its own."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and those that do not go together, by an InputError."""
        super().__post_init__()
        require(self.cell in CELLS, self, "cell", f"one of {', '.join(CELLS)}")
        data = DATA.get(self.task, MADE)
        require(self.data == data, self, "data", f"{data} with task={self.task}")
        longer = f"all above length={self.length}"
        require(all(n > self.length for n in self.test_lengths), self, "test_lengths", longer)
        if self.test_lengths:
            each = "omitted: only parity, s3 and a5 have an answer at each step at any length"
            require(self.task in ("parity", "s3", "a5"), self, "test_lengths", each)
        if self.data == "mnist":
            require(self.length == 784, self, "length", f"784 with task={self.task}")
        if self.mean_output:
            one = "omitted: only smnist, psmnist and adding have a single answer"
            require(self.task in ("smnist", "psmnist", "adding"), self, "mean_output", one)
        if self.task in ("copy", "selective_copy"):
            fits = 2 * self.num_items <= self.length
            require(fits, self, "num_items", f"at most half of length={self.length}")
        if self.task == "mqar":
            fits = 4 * self.num_items <= self.length and self.length % 2 == 0
            require(fits, self, "num_items", f"at most a quarter of an even length={self.length}")
            kinds = f"above 2 num_items={2 * self.num_items}"
            require(self.num_kinds > 2 * self.num_items, self, "num_kinds", kinds)
