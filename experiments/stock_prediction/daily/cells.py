"""Dates and prices as many sources write them.

They are read a column at a time. One cell may be ambiguous, 03/04/2024 or 1,500, but a
month of trading has a day after the twelfth, and prices are rarely all round: whatever
reading fits every cell is meant. Where two do, or none, the column is refused.

| dates | read |
|---|---|
| 2024-01-31, 2024/1/31, 2024.01.31, 20240131, with or without a time of day | as they are |
| 31/01/2024, 31.01.2024 or 01/31/2024 | by the one order that fits all rows |
| 31-Jan-2024, 31 Jan 24, Jan 31, 2024 | English names of months |
| 1706659200, and in milliseconds | seconds since 1970, in UTC |

| prices | read |
|---|---|
| 1234.56, $1234.56, 1.2e3 | as they are |
| 1,234.56 | commas between thousands |
| 1234,56, 1.234,56 | a decimal comma |
"""

import datetime
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError

T = TypeVar("T")
Cell = tuple[int, str]  # the line in the file, and what is written there

_TIME = r"(?:[T ]\d{1,2}:\d{2}.*)?"
_DAY, _MONTH, _YEAR = r"(?P<day>\d{1,2})", r"(?P<month>\d{1,2})", r"(?P<year>\d{4})"
_SIGN, _AGAIN, _NAME = r"(?P<sign>[-/.])", r"(?P=sign)", r"(?P<month>[a-z]{3,9})\.?"
_DAY_FIRST = f"{_DAY}{_SIGN}{_MONTH}{_AGAIN}{_YEAR}{_TIME}"
_MONTH_FIRST = f"{_MONTH}{_SIGN}{_DAY}{_AGAIN}{_YEAR}{_TIME}"
_UNAMBIGUOUS = (
    f"{_YEAR}{_SIGN}{_MONTH}{_AGAIN}{_DAY}{_TIME}",
    r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})",
    rf"{_DAY}[- ]{_NAME},?[- ](?P<year>\d{{4}}|\d{{2}})",
    rf"{_NAME} {_DAY},? {_YEAR}",
    r"(?P<seconds>\d{10})(?:\d{3})?",
)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)

_POINT = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d*)(?:\.\d*)?(?:e[-+]?\d+)?"
_COMMA = r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d*)(?:,\d*)?"
_CURRENCIES = "$€£¥₹ \u00a0"


def parse_dates(path: Path, cells: Sequence[Cell]) -> tuple[NDArray[np.datetime64], list[str]]:
    """Return the days `[N]` of a column, and a note where their order had to be found out.

    The N `cells` are line and text of each row; `path` is the file, for messages.

    Raises:
      InputError: a cell is no date, or both or neither order of day and month fit.
    """
    readings = {"": _date_reader(*_UNAMBIGUOUS)}
    if any(re.fullmatch(_DAY_FIRST, text) for _, text in cells):
        readings = {
            "day, month, year": _date_reader(_DAY_FIRST),
            "month, day, year": _date_reader(_MONTH_FIRST),
        }
    advice = "write year, month and day as 2024-01-31"
    name, dates = _only_reading(path, cells, readings, "the date", advice)
    return np.array(dates, "datetime64[D]"), [f"dates are read as {name}"] if name else []


def parse_prices(
    path: Path, cells: Sequence[Cell], column: str
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the prices `[N]` of a column, and a note where their comma had to be found out.

    The N `cells` are line and text of each row; `path` and the name `column` are for messages.

    Raises:
      InputError: a cell is no number, or has no logarithm, or a comma can be read two ways.
    """
    cells = [(line, text.strip(_CURRENCIES)) for line, text in cells]
    readings = {"a decimal point": _number_reader(_POINT, thousands=",", point=".")}
    commas = any("," in text for _, text in cells)
    if commas:
        readings["a decimal comma"] = _number_reader(_COMMA, thousands=".", point=",")
    what = f"the price in the column {column}"
    advice = "write a number with a decimal point and no other sign in it"
    name, prices = _only_reading(path, cells, readings, what, advice)
    for (line, text), price in zip(cells, prices, strict=True):
        if not (math.isfinite(price) and price > 0.0):
            raise InputError(
                f"read_prices: {path}, line {line}: {what} is {text}, and must be more than 0; "
                "leave the cell empty where there is none"
            )
    return np.array(prices), [f"prices are read with {name}"] if commas else []


def _only_reading(
    path: Path,
    cells: Sequence[Cell],
    readings: Mapping[str, Callable[[str], T | None]],
    what: str,
    advice: str,
) -> tuple[str, list[T]]:
    """Return the name of the one reading that fits all cells, and what it makes of them."""
    left: dict[str, list[T]] = {name: [] for name in readings}
    for line, text in cells:
        for name in list(left):
            value = readings[name](text)
            if value is None:
                del left[name]
            else:
                left[name].append(value)
        if not left:
            raise InputError(
                f"read_prices: {path}, line {line}: {what} is {text!r}, which is "
                f"none, or written otherwise than those before; {advice}"
            )
    (name, values), *others = left.items()
    for other, different in others:
        for (line, text), a, b in zip(cells, values, different, strict=True):
            if a != b:
                raise InputError(
                    f"read_prices: {path}, line {line}: {what} is {text!r}: with {name} or "
                    f"with {other}? No line tells; {advice}"
                )
    return name, values


def _date_reader(*patterns: str) -> Callable[[str], datetime.date | None]:
    """Return what reads a date by the first pattern that fits; None where it is no date."""
    compiled = [re.compile(pattern, re.IGNORECASE) for pattern in patterns]

    def read(text: str) -> datetime.date | None:
        for pattern in compiled:
            if found := pattern.fullmatch(text):
                try:
                    return _date(found.groupdict())
                except ValueError:  # 30 February, or a word that is no month
                    return None
        return None

    return read


def _date(parts: Mapping[str, str]) -> datetime.date:
    """Return the date of a pattern's parts, or raise ValueError where there is none such."""
    if "seconds" in parts:
        return datetime.datetime.fromtimestamp(int(parts["seconds"]), datetime.UTC).date()
    year, month = int(parts["year"]), parts["month"]
    if len(parts["year"]) == 2:  # as POSIX has it: 69 is 1969, 68 is 2068
        year += 1900 if year > 68 else 2000
    if not month.isdigit():
        (month,) = (i for i, name in enumerate(_MONTHS, 1) if name.startswith(month.lower()))
    return datetime.date(year, int(month), int(parts["day"]))


def _number_reader(pattern: str, *, thousands: str, point: str) -> Callable[[str], float | None]:
    """Return what reads a number that fits a pattern; None where it is no number."""
    compiled = re.compile(pattern, re.IGNORECASE)

    def read(text: str) -> float | None:
        if not compiled.fullmatch(text):
            return None
        try:
            return float(text.replace(thousands, "").replace(point, "."))
        except ValueError:  # nothing, or a point alone
            return None

    return read
