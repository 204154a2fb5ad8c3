"""Hourly measurements: ETTh1, two years of an electricity transformer (Zhou et al. 2021).

Six loads and the oil temperature `OT`, 17,420 hours without a gap. The split that all
published figures use: 12 months of 30 days to learn from, 4 to choose by, 4 to measure on;
the rest is left over. Everything is standardised by the training months' mean and
deviation, and errors are in that unit.

A forecast belongs to a period by the hours that it is *of*; what it reads may reach back
into the period before.
"""

import contextlib
import datetime
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.corpora import Source, fetch
from experiments.common.errors import InputError
from experiments.common.records import digest_of
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.measure import Floats
from experiments.stock_prediction.tables import read_table

ETTH1 = Source(
    name="etth1",
    file="ett/ETTh1.csv",
    repository="zhouhaoyi/ETDataset",
    commit="1d16c8f4f943005d613b5bc962e9eeb06058cf07",
    path="ETT-small/ETTh1.csv",
    sha256="f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    licence="CC BY-ND 4.0",
)
_MONTH = 30 * 24
BORDERS = (0, 12 * _MONTH, 16 * _MONTH, 20 * _MONTH)  # of train, validation and test
PARTS = ("train", "valid", "test")


class Hours(NamedTuple):
    """Hourly values of several variables."""

    names: tuple[str, ...]
    times: NDArray[np.datetime64]  # [N], hours without a gap
    values: Floats  # [N, V]


def read_hours(path: Path, wanted: Sequence[str] | None = None) -> Hours:
    """Return the hourly values of a CSV file: a column `date`, and numbers in all others.

    Args:
      path: the file.
      wanted: the variables that it must have, in this order; None: any.

    Raises:
      InputError: there is no date, there are other variables, a value is missing or no
        number, or an hour is missing or there twice; names the file and the line.
    """
    header, rows = read_table(path)
    names = [name.lower() for name in header]
    if "date" not in names or len(names) < 2:
        raise InputError(
            f"read_hours: {path} has the columns {', '.join(header)}; give one named date and "
            "at least one with values"
        )
    column = names.index("date")
    kept = tuple(name for i, name in enumerate(header) if i != column)
    if wanted is not None and list(kept) != list(wanted):
        raise InputError(
            f"read_hours: {path} has the columns {', '.join(header)}, but the run has learned "
            f"date, {', '.join(wanted)}; give these, in this order, or with --workdir a run "
            "on other data"
        )
    times, values = [], []
    for line, row in rows:
        text = row.pop(column)
        try:
            times.append(datetime.datetime.fromisoformat(text.strip()).replace(tzinfo=None))
        except ValueError:
            raise InputError(
                f"read_hours: {path}, line {line}: the date is {text!r}; write it as "
                "2016-07-01 00:00:00"
            ) from None
        values.append([_number(path, line, cell) for cell in row])
        if len(times) > 1 and times[-1] - times[-2] != datetime.timedelta(hours=1):
            raise InputError(
                f"read_hours: {path}, line {line}: {times[-1]} follows {times[-2]}; every hour "
                "must be there once, in order: fill gaps or cut the file at them"
            )
    return Hours(kept, np.array(times, "datetime64[h]"), np.array(values))


def _number(path: Path, line: int, text: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise InputError(
        f"read_hours: {path}, line {line}: {text!r} is no number; every value must be there"
    )


class Standard(NamedTuple):
    """Mean and deviation of each variable over the training months."""

    mean: Floats  # [V]
    deviation: Floats  # [V]

    def __call__(self, values: Floats) -> Floats:
        """Return values `[..., V]` in deviations from the mean."""
        return (values - self.mean) / self.deviation

    def undo(self, values: Floats) -> Floats:
        """Return standardised values in their own units."""
        return values * self.deviation + self.mean


class Data(NamedTuple):
    """Hourly values, ready to learn from and to measure on."""

    hours: Hours
    standard: Standard
    values: NDArray[np.float32]  # [N, V], standardised

    @property
    def digest(self) -> str:
        """Return a SHA-256 of the hours."""
        return digest_of(self.hours)

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a forecast for other hours of these variables needs."""
        last = min(BORDERS[2], len(self.values)) - 1
        return {
            "num_folds": 1,
            "variables": list(self.hours.names),
            "standard": [part.tolist() for part in self.standard],
            "valid_until": str(self.hours.times[last]),
        }


def load(config: Config) -> Data:
    """Return ETTh1.

    Raises:
      InputError: the file is missing or damaged.
    """
    return prepare(read_hours(fetch(ETTH1, config.data_dir)))


def prepare(hours: Hours) -> Data:
    """Return hours in deviations of their training months."""
    train = hours.values[BORDERS[0] : BORDERS[1]]
    standard = Standard(train.mean(axis=0), np.maximum(train.std(axis=0), 1e-6))
    return Data(hours, standard, standard(hours.values).astype(np.float32))


def window_starts(part: str, input_length: int, horizon: int, num_hours: int) -> NDArray[np.int64]:
    """Return the first hour read of every window whose forecast lies within one of `PARTS`.

    Of `num_hours` hours a window reads `input_length`, and forecasts the `horizon` after them.

    Raises:
      InputError: not a single window fits.
    """
    i = PARTS.index(part)
    first = max(0, BORDERS[i] - input_length)
    starts = np.arange(first, min(BORDERS[i + 1], num_hours) - input_length - horizon + 1)
    if not len(starts):
        raise InputError(
            f"window_starts: no window of {input_length} hours read and {horizon} forecast fits "
            f"the {part} months; lower input_length or horizon"
        )
    return starts


def windows_at(
    values: Floats, starts: NDArray[np.integer], input_length: int, horizon: int
) -> tuple[Floats, Floats]:
    """Return what is read `[..., input_length, V]` and what follows `[..., horizon, V]`."""
    found = values[starts[..., None] + np.arange(input_length + horizon)]
    return found[..., :input_length, :], found[..., input_length:, :]
