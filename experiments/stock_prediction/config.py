"""Every option of the stock-prediction experiment, with the default run's values.

Command:   python -m experiments.stock_prediction
Expected:  nothing of the direction of five shares from 2009 to 2013: accuracy 48.41 ± 0.88 %
           (± over 5 seeds, 95 %), MCC -0.042 ± 0.016, worse than always up (52.30 %, 0);
           and of their volatility QLIKE -7.300 ± 0.003, the EWMA -7.273 and HAR -7.292: no
           difference beyond chance to the latter
Hardware:  2 CPU cores
Time:      41 s in all on an AMD EPYC without AVX-512

The settings for the other data sets are in `configs/`, one file each; `--data NAME` starts
from the one of that name.
"""

import dataclasses
from typing import Annotated

from experiments.common.settings import (
    FREE,
    CellName,
    Count,
    NetworkSettings,
    NotNegative,
    TrainingSettings,
    Whole,
    at_least,
    require,
)

HOURLY = "etth1"  # the one data set that is no daily prices
CORPORA = ("bokeh", "acl18", HOURLY)
HOURS_A_DAY = 24


@dataclasses.dataclass(frozen=True)
class Config(NetworkSettings, TrainingSettings):
    """Settings of a run. The same settings give the same parameters on one machine."""

    data: str = "bokeh"
    """bokeh (from a package), acl18, etth1, or your own prices: a CSV file, or a folder of them."""

    cell: CellName = "gru"
    num_layers: int = 1
    hidden_size: int = 16
    dropout: float = 0.2

    num_folds: Count = 4
    """Prices: stretches of days that are predicted one after the other, each by its own models."""
    test_days: Count = 252
    """Prices: trading days of such a stretch."""
    valid_days: Count = 252
    """Prices: trading days before each, by which the training is stopped."""
    chunk_length: Count = 64
    """Prices: days that the network reads at a time in training."""
    burn_in: Whole = 16
    """Prices: how many of those are read before the first counts."""
    volatility_weight: NotNegative = 1.0
    """Prices: weight of the volatility's loss beside the direction's."""
    permute_labels: bool = False
    """Prices: a control: permute the answers over the days. What is found then is chance."""

    input_length: Count = 336
    """Hours: how many the network reads."""
    horizon: Count = 96
    """Hours: how many it forecasts."""
    segment_length: Count = 24
    """Hours: how many the network reads in one step."""

    seed: int = 0
    """Seed of the first model; the others' follow. Also of the bootstrap."""
    num_seeds: Count = 5
    """Models of every fold that are trained side by side, alike but for their seed."""
    steps: int = 120
    batch_size: int = 32
    """Chunks of days, or windows of hours, in a step of each model."""
    learning_rate: float = 2e-3
    warmup_steps: int = 15
    weight_decay: float = 0.01

    eval_interval: int = 15
    """Steps between evaluations; each leaves a checkpoint, for every seed to choose its own."""
    log_interval: int = 5
    checkpoint_interval: int = 100
    """Without effect here: there is a checkpoint of every evaluation."""
    keep_checkpoints: int = 2
    """Without effect here: all of them are kept."""
    bootstrap_draws: Annotated[int, at_least(100), FREE] = 2000
    """Draws of the bootstrap over days."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and those that do not go together, by an InputError."""
        super().__post_init__()
        below = f"below chunk_length={self.chunk_length}"
        require(self.burn_in < self.chunk_length, self, "burn_in", below)
        divides = f"a divisor of input_length={self.input_length}"
        require(self.input_length % self.segment_length == 0, self, "segment_length", divides)
        if self.data == HOURLY:
            alone = f"left out with data={HOURLY}: it is for prices"
            require(not self.permute_labels, self, "permute_labels", alone)
            least = f">= {HOURS_A_DAY}, the seasonal baseline's day"
            require(self.input_length >= HOURS_A_DAY, self, "input_length", least)
