"""Settings: ranges beside the fields, those that are free, and what is stored of them."""

import dataclasses
from typing import Annotated

import pytest

from experiments.common.errors import InputError
from experiments.common.settings import (
    FREE,
    NetworkSettings,
    PositiveOrNone,
    TrainingSettings,
    as_stored,
    at_least,
    config_from_dict,
    differing_fields,
    free_fields,
)


@dataclasses.dataclass(frozen=True)
class Config(NetworkSettings, TrainingSettings):
    """Settings."""

    data: str = "made"
    """The corpus."""
    scale: PositiveOrNone = None
    """Of something."""
    length: Annotated[int, at_least(3), FREE] = 5
    """Of a sample."""
    speeds: tuple[float, ...] = (1.0,)
    """Some."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, "--num-layers must be >= 1, got 0"),
        ({"steps": -5}, "--steps must be >= 1, got -5"),
        ({"dropout": 1.0}, r"--dropout must be in \[0, 1\), got 1.0"),
        ({"weight_drop": -0.1}, r"--weight-drop must be in \[0, 1\)"),
        ({"learning_rate": 0.0}, "--learning-rate must be > 0 and finite"),
        ({"clip_norm": float("nan")}, "--clip-norm must be > 0 and finite"),
        ({"weight_decay": float("inf")}, "--weight-decay must be >= 0"),
        ({"scale": 0.0}, "--scale must be > 0"),
        ({"length": 2}, "--length must be >= 3, got 2"),
        ({"seed": -1}, r"--seed must be in \[0, 2\^31\)"),
        ({"warmup_steps": 1000}, "--warmup-steps must be below steps=1000"),
        ({"keep_checkpoints": 1}, "--keep-checkpoints must be >= 2"),
        ({"data": ""}, "--data must be a name or a path, got none"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


def test_a_range_holds_in_a_class_that_gives_another_default():
    @dataclasses.dataclass(frozen=True)
    class Other(Config):
        scale: float | None = 2.0
        length: int = 9

    with pytest.raises(InputError, match="--scale must be > 0"):
        Other(scale=-1.0)
    with pytest.raises(InputError, match="--dropout must be in"):
        Other(dropout=2.0)
    with pytest.raises(InputError, match="--length must be >= 3"):
        Other(length=2)
    assert free_fields(Other()) == free_fields(Config())


def test_what_is_free_may_differ():
    free = {"length", "data_dir", "log_interval", "checkpoint_interval", "keep_checkpoints"}
    assert free_fields(Config()) == free
    other = as_stored(Config(seed=1, length=9, log_interval=7))
    assert differing_fields(Config(), other) == ["seed"]
    assert differing_fields(Config(), other, frozenset({"seed"})) == []


def test_configs_go_through_json():
    values = dataclasses.asdict(Config(scale=3.0)) | {"speeds": [1.0]}
    assert config_from_dict(Config, values) == Config(scale=3.0)
    values["speed"] = values.pop("steps")
    with pytest.raises(InputError, match="another version: speed, steps"):
        config_from_dict(Config, values)
