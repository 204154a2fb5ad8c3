"""What every experiment's config is checked for, stored as and compared by."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import jax

from deeprnn_jax.layers.layer import SKIPS
from deeprnn_jax.schedules import SCHEDULES
from experiments.common.errors import InputError

C = TypeVar("C")
M = TypeVar("M")

# What `deeprnn_jax` has, as the choices of a command line; "none" stands for None there.
if TYPE_CHECKING:
    Skip = str
    Schedule = str
else:
    Skip = Literal["none", *filter(None, SKIPS)]
    Schedule = Literal["auto", *SCHEDULES]


def check_settings(
    config: Any,
    *,
    at_least_one: Sequence[str] = (),
    not_negative: Sequence[str] = (),
    rates: Sequence[str] = (),
    positive: Sequence[str] = (),
) -> None:
    """Refuse values out of range.

    Args:
      config: a dataclass.
      at_least_one: names of its fields that must be 1 or more.
      not_negative: those that must be 0 or more, and finite.
      rates: those that must be in [0, 1).
      positive: those that must be more than 0, and finite.

    Raises:
      InputError: names the option, what it may be and what it is.
    """
    for name in at_least_one:
        require(getattr(config, name) >= 1, config, name, ">= 1")
    for name in not_negative:
        require(0 <= getattr(config, name) < float("inf"), config, name, ">= 0")
    for name in rates:
        require(0.0 <= getattr(config, name) < 1.0, config, name, "in [0, 1)")
    for name in positive:
        require(0.0 < getattr(config, name) < float("inf"), config, name, "> 0 and finite")


def require(holds: bool, config: Any, name: str, expected: str) -> None:
    """Refuse the value of one field unless what is expected holds.

    Raises:
      InputError: names the option, what it may be and what it is.
    """
    if not holds:
        option = "--" + name.replace("_", "-")
        got = getattr(config, name)
        raise InputError(f"Config: {option} must be {expected}, got {'none' if got == '' else got}")


def checked_model(make: Callable[[], M], use: Callable[[M], Any]) -> M:
    """Return a model that can be used as the settings ask for.

    Its use is traced, which compiles and computes nothing: what cannot work is refused
    before a run's folder is opened.

    Args:
      make: builds the model.
      use: builds parameters and applies the model to a batch as training does; returns
        a pytree of arrays.

    Raises:
      InputError: the library refuses the settings.
    """
    try:
        model = make()
        jax.eval_shape(lambda: use(model))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"Config: the model cannot be run so: {error}") from error
    return model


def differing_fields(config: Any, other: Mapping[str, Any], free: Collection[str]) -> list[str]:
    """Return the names of the fields that shape the parameters and are not equal.

    Args:
      config: a dataclass.
      other: another one as a dictionary, as a run's file holds it.
      free: names of the fields that may differ.
    """
    mine = as_stored(config)
    return [name for name, value in mine.items() if name not in free and other.get(name) != value]


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
