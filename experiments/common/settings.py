"""The settings that experiments share, the ranges they may lie in, and how they are stored.

An experiment's `Config` inherits `TrainingSettings`, and `NetworkSettings` where its model
is one deep network; it gives its own defaults and adds its own fields. What a value may be
stands beside the field, and so does whether it may change when a run goes on; both are
inherited by a field that only gives another default:

    steps: Count = 3000
    sample_length: Annotated[Whole, FREE] = 600
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

from deeprnn_jax.layers.layer import SKIPS
from deeprnn_jax.schedules import SCHEDULES
from experiments.common.errors import InputError

C = TypeVar("C")

# What `deeprnn_jax` has, as the choices of a command line; "none" stands for None there.
if TYPE_CHECKING:
    Skip = str
    Schedule = str
else:
    Skip = Literal["none", *filter(None, SKIPS)]
    Schedule = Literal["auto", *SCHEDULES]
CellName = Literal["elman", "lstm", "gru", "minimal_gated", "independent"]


class Range(NamedTuple):
    """What a setting may be."""

    holds: Callable[[Any], bool]
    expected: str  # in words


def at_least(low: float) -> Range:
    """Return the range of finite numbers from `low` on."""
    return Range(lambda value: low <= value < float("inf"), f">= {low}")


_RATE = Range(lambda value: 0.0 <= value < 1.0, "in [0, 1)")
_POSITIVE = Range(lambda value: 0.0 < value < float("inf"), "> 0 and finite")

Seed = Annotated[int, Range(lambda value: 0 <= value < 2**31, "in [0, 2^31)")]
Count = Annotated[int, at_least(1)]
Whole = Annotated[int, at_least(0)]
NotNegative = Annotated[float, at_least(0)]
Positive = Annotated[float, _POSITIVE]
PositiveOrNone = Annotated[float | None, _POSITIVE]
Rate = Annotated[float, _RATE]

FREE = "free"  # may change when a run goes on, or is used: it has no part in the parameters


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """What every run is asked for. The same settings give the same parameters on one machine."""

    data: str = ""
    """What is learned from."""
    data_dir: Annotated[str | None, FREE] = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""

    seed: Seed = 0
    """Seed of initial parameters, dropout and the order of the data."""
    steps: Count = 1000
    """Training steps."""
    batch_size: Count = 16
    """Rows that a step reads side by side."""
    learning_rate: Positive = 1e-3
    """The highest learning rate, after the warm-up; it falls to zero as a cosine."""
    warmup_steps: Whole = 0
    """Steps in which the learning rate rises from zero."""
    adam_b2: Rate = 0.99
    """Decay of AdamW's second moment."""
    weight_decay: NotNegative = 0.0
    """AdamW's weight decay; on matrices only, not on biases."""
    clip_norm: Positive = 1.0
    """Largest global norm of a model's gradient; a longer one is scaled down."""
    ema_decay: Rate = 0.0
    """Decay of the mean of the parameters that is evaluated and used; 0: no mean."""

    eval_interval: Count = 100
    """Steps between evaluations of the whole validation split."""
    log_interval: Annotated[Count, FREE] = 20
    """Steps between records, and between looks for numbers that are not finite."""
    checkpoint_interval: Annotated[Count, FREE] = 100
    """Steps between checkpoints."""
    # The one before is what a damaged last checkpoint falls back on.
    keep_checkpoints: Annotated[int, at_least(2), FREE] = 2
    """Checkpoints to keep: that many of the last, and the one of the best validation."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
          InputError: names the option, what it may be and what it is.
        """
        for name, marks in _marks(type(self)).items():
            value = getattr(self, name)
            for allowed in marks:
                if isinstance(allowed, Range) and value is not None:
                    require(allowed.holds(value), self, name, allowed.expected)
        require(self.data != "", self, "data", "a name or a path")
        self.check_rate()

    def check_rate(self) -> None:
        """Refuse a warm-up that takes the whole training.

        Raises:
          InputError: names the option, what it may be and what it is.
        """
        require(self.warmup_steps < self.steps, self, "warmup_steps", f"below steps={self.steps}")


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """A deep recurrent network; see `networks.make_network`."""

    cell: CellName = "lstm"
    """The recurrent cell."""
    num_layers: Count = 2
    """How many recurrent layers."""
    hidden_size: Count = 128
    """Units of each recurrent layer, in each direction."""
    skip: Skip = "none"
    """What goes around each layer from the second on; see `deeprnn_jax.deep_rnn`."""
    normalize_inputs: bool = False
    """Normalise between layers."""
    dropout: Rate = 0.0
    """Rate of dropout between the layers, and before a readout that is not the network's own."""
    weight_drop: Rate = 0.0
    """Rate of dropped entries in the recurrent matrices, drawn once a step."""
    schedule: Schedule = "auto"
    """The order of the network's work: the same numbers, up to rounding."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the products; parameters, state and loss stay float32."""


def _marks(config_type: type) -> dict[str, set[Any]]:
    """Return the ranges and marks of each field, those of the classes it is inherited from too."""
    marks: dict[str, set[Any]] = {}
    for kind in config_type.__mro__:
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            marks.setdefault(name, set()).update(getattr(hint, "__metadata__", ()))
    return marks


def free_fields(config: Any) -> frozenset[str]:
    """Return the names of the settings that may change when a run goes on."""
    return frozenset(name for name, marks in _marks(type(config)).items() if FREE in marks)


def require(holds: bool, config: Any, name: str, expected: str) -> None:
    """Refuse the value of one field unless what is expected holds.

    Raises:
      InputError: names the option, what it may be and what it is.
    """
    if not holds:
        got = getattr(config, name)
        raise InputError(
            f"Config: {option(name)} must be {expected}, got {'none' if got == '' else got}"
        )


def option(name: str) -> str:
    """Return a field's name as the command line has it."""
    return "--" + name.replace("_", "-")


def differing_fields(
    config: Any, other: Mapping[str, Any], but: frozenset[str] = frozenset()
) -> list[str]:
    """Return the names of the fields that shape the parameters and are not equal.

    Args:
      config: a dataclass.
      other: another one as a dictionary, as a run's file holds it.
      but: names of further fields that may differ, besides the free ones.
    """
    but = but | free_fields(config)
    mine = as_stored(config)
    return [name for name, value in mine.items() if name not in but and other.get(name) != value]


def as_stored(config: Any) -> dict[str, Any]:
    """Return a config as JSON gives it back: a tuple is a list there."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }


def config_from_dict(config_type: type[C], values: Mapping[str, Any]) -> C:
    """Return the config that a run's file holds.

    Raises:
      InputError: the file has fields that there are no more, or lacks some.
    """
    known = {field.name for field in dataclasses.fields(config_type)}  # type: ignore[arg-type]
    odd = sorted(known.symmetric_difference(values))
    if odd:
        raise InputError(
            f"config_from_dict: the run was made by another version: {', '.join(odd)}; "
            "check that version out or start a new run"
        )
    return config_type(
        **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    )
