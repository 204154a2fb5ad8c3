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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError

T = TypeVar("T")
Cell = tuple[int, str]  # the line in the file, and what is written there

_TIME = r"(?:[T ]\d{1,2}:\d{2}.*)?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){_TIME}")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_TIME}")
_NAMED = re.compile(r"(\d{1,2})[- ]([a-z]{3,9})\.?,?[- ](\d{4}|\d{2})", re.IGNORECASE)
_NAME_FIRST = re.compile(r"([a-z]{3,9})\.? (\d{1,2}),? (\d{4})", re.IGNORECASE)
_SINCE_1970 = re.compile(r"(\d{10})(\d{3})?")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)

_POINT = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d*)(?:\.\d*)?(?:e[-+]?\d+)?", re.IGNORECASE)
_COMMA = re.compile(r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d*)(?:,\d*)?")
_CURRENCIES = "$€£¥₹ \u00a0"


def parse_dates(path: Path, cells: Sequence[Cell]) -> tuple[NDArray[np.datetime64], list[str]]:
    """Return the days `[N]` of a column, and a note where their order had to be found out.

    Args:
      path: the file, for messages.
      cells: line and text of each row.

    Raises:
      InputError: a cell is no date, or both or neither order of day and month fit.
    """
    if not any(_YEAR_LAST.fullmatch(text) for _, text in cells):
        return np.array([_date(path, cell) for cell in cells], "datetime64[D]"), []
    orders: dict[str, Callable[[str], datetime.date | None]] = {
        "day, month, year": lambda text: _year_last(text, day_first=True),
        "month, day, year": lambda text: _year_last(text, day_first=False),
    }
    advice = "write year, month and day as 2024-01-31"
    name, dates = _only_reading(path, cells, orders, "the date", advice)
    return np.array(dates, "datetime64[D]"), [f"dates are read as {name}"]


def parse_prices(
    path: Path, cells: Sequence[Cell], column: str
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the prices `[N]` of a column, and a note where their comma had to be found out.

    Args:
      path: the file, for messages.
      cells: line and text of each row.
      column: its name, for messages.

    Raises:
      InputError: a cell is no number, or has no logarithm, or a comma can be read two ways.
    """
    cells = [(line, text.strip(_CURRENCIES)) for line, text in cells]
    readings: dict[str, Callable[[str], float | None]] = {"a decimal point": _with_point}
    commas = any("," in text for _, text in cells)
    if commas:
        readings["a decimal comma"] = _with_comma
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
    readings: dict[str, Callable[[str], T | None]],
    what: str,
    advice: str,
) -> tuple[str, list[T]]:
    """Return the name of the one reading that fits all cells, and what it makes of them.

    Raises:
      InputError: there is none, or more than one that do not agree.
    """
    left = {name: [] for name in readings}
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


def _date(path: Path, cell: Cell) -> datetime.date:
    """Return a date that can be read in one way alone."""
    line, text = cell
    try:
        if found := _YEAR_FIRST.fullmatch(text):
            return datetime.date(int(found[1]), int(found[3]), int(found[4]))
        if found := _COMPACT.fullmatch(text):
            return datetime.date(*map(int, found.groups()))
        if found := _SINCE_1970.fullmatch(text):
            return datetime.datetime.fromtimestamp(int(found[1]), datetime.UTC).date()
        if found := _NAMED.fullmatch(text):
            year = int(found[3])
            # Two digits as POSIX has it: 69 is 1969, 68 is 2068.
            year += 0 if year > 99 else 1900 if year > 68 else 2000
            return datetime.date(year, _month(found[2]), int(found[1]))
        if found := _NAME_FIRST.fullmatch(text):
            return datetime.date(int(found[3]), _month(found[1]), int(found[2]))
    except ValueError:  # 30 February, or a word that is no month
        pass
    raise InputError(
        f"read_prices: {path}, line {line}: the date is {text!r}; write year, month and day as "
        "2024-01-31"
    )


def _month(name: str) -> int:
    """Return 1 to 12.

    Raises:
      ValueError: it is no month.
    """
    fits = [i for i, month in enumerate(_MONTHS, 1) if month.startswith(name.lower())]
    if len(fits) != 1:
        raise ValueError(name)
    return fits[0]


def _year_last(text: str, *, day_first: bool) -> datetime.date | None:
    found = _YEAR_LAST.fullmatch(text)
    if found is None:
        return None
    day, month = (found[1], found[3]) if day_first else (found[3], found[1])
    try:
        return datetime.date(int(found[4]), int(month), int(day))
    except ValueError:
        return None


def _with_point(text: str) -> float | None:
    return _number(text.replace(",", "")) if _POINT.fullmatch(text) else None


def _with_comma(text: str) -> float | None:
    fits = _COMMA.fullmatch(text)
    return _number(text.replace(".", "").replace(",", ".")) if fits else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # nothing, or a point alone
        return None
