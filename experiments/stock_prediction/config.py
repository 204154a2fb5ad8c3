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
from typing import Literal

from experiments.common.own_data import located
from experiments.common.settings import Schedule, Skip, check_settings, require

HOURLY = "etth1"  # the one data set that is no daily prices
CORPORA = ("bokeh", "acl18", HOURLY)

# What may change when a run goes on: nothing here has a part in the parameters.
FREE_ON_RESUME = frozenset({"data_dir", "log_interval", "bootstrap_draws"})


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a run. The same settings give the same parameters on one machine."""

    data: str = "bokeh"
    """bokeh (from a package), acl18, etth1, or your own prices: a CSV file, or a folder of them."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""

    cell: Literal["elman", "lstm", "gru", "minimal_gated", "independent"] = "gru"
    """The recurrent cell."""
    num_layers: int = 1
    """How many recurrent layers."""
    hidden_size: int = 16
    """Units of each recurrent layer."""
    skip: Skip = "none"
    """Connections that go around a layer."""
    dropout: float = 0.2
    """Rate of dropout between the layers and before the readout."""
    schedule: Schedule = "auto"
    """The order of the network's work: the same numbers, up to rounding."""

    num_folds: int = 4
    """Prices: stretches of days that are predicted one after the other, each by its own models."""
    test_days: int = 252
    """Prices: trading days of such a stretch."""
    valid_days: int = 252
    """Prices: trading days before each, by which the training is stopped."""
    chunk_length: int = 64
    """Prices: days that the network reads at a time in training."""
    burn_in: int = 16
    """Prices: how many of those are read before the first counts."""
    volatility_weight: float = 1.0
    """Prices: weight of the volatility's loss beside the direction's."""
    permute_labels: bool = False
    """Prices: a control: permute the answers over the days. What is found then is chance."""

    input_length: int = 336
    """Hours: how many the network reads."""
    horizon: int = 96
    """Hours: how many it forecasts."""
    segment_length: int = 24
    """Hours: how many the network reads in one step."""

    seed: int = 0
    """Seed of the first model; the others' follow. Also of the bootstrap."""
    num_seeds: int = 5
    """Models of every fold that are trained side by side, alike but for their seed."""
    steps: int = 120
    """Training steps."""
    batch_size: int = 32
    """Chunks of days, or windows of hours, in a step of each model."""
    learning_rate: float = 2e-3
    """AdamW's highest learning rate, after the warm-up; it falls to zero as a cosine."""
    warmup_steps: int = 15
    """Steps in which the learning rate rises from zero."""
    adam_b2: float = 0.99
    """Decay of AdamW's second moment."""
    weight_decay: float = 0.01
    """AdamW's weight decay; on matrices only, not on biases."""
    clip_norm: float = 1.0
    """Largest global norm of each model's gradient; a longer one is scaled down."""

    eval_interval: int = 15
    """Steps between evaluations; each leaves a checkpoint, for every seed to choose its own."""
    log_interval: int = 5
    """Steps between records, and between looks for numbers that are not finite."""
    bootstrap_draws: int = 2000
    """Draws of the bootstrap over days."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
          InputError: names the option, what it may be and what it is.
        """
        check_settings(
            self,
            at_least_one=_AT_LEAST_ONE,
            not_negative=("seed", "warmup_steps", "weight_decay", "burn_in", "volatility_weight"),
            rates=("dropout", "adam_b2"),
            positive=("learning_rate", "clip_norm"),
        )
        object.__setattr__(self, "data", located(self.data, CORPORA))
        require(self.data != "", self, "data", "a name or a path")
        require(self.warmup_steps < self.steps, self, "warmup_steps", f"below steps={self.steps}")
        below = f"below chunk_length={self.chunk_length}"
        require(self.burn_in < self.chunk_length, self, "burn_in", below)
        divides = f"a divisor of input_length={self.input_length}"
        require(self.input_length % self.segment_length == 0, self, "segment_length", divides)
        require(self.bootstrap_draws >= 100, self, "bootstrap_draws", ">= 100")


_AT_LEAST_ONE = (
    "num_layers",
    "hidden_size",
    "num_folds",
    "test_days",
    "valid_days",
    "chunk_length",
    "input_length",
    "horizon",
    "segment_length",
    "num_seeds",
    "steps",
    "batch_size",
    "eval_interval",
    "log_interval",
)
