"""Daily prices from a CSV file: what is read, what is refused, what is treated and how.

A file has a header with a date and a closing price, in any order and beside any other
column: Yahoo's (`Date,Open,High,Low,Close,Adj Close,Volume`), Nasdaq's with its `$`, or
just `date,close`. An adjusted close is taken where there is one, because splits and
dividends are no gains and losses.

| what a file may hold | what becomes of it |
|---|---|
| a price that is missing (empty, NaN, null) | the day is left out, and counted |
| dates out of order | sorted, and said so |
| a date twice with one and the same price | kept once, and counted |
| a date twice with two prices | refused: daily prices have one a day |
| a price of zero or less, or infinite | refused: it has no logarithm |
| text, or a decimal comma, for a price | refused |
| dates like 03/04/2020 | refused: March or April? |
| weekends and holidays | no gap: the next trading day's return follows |
| more than 10 days without a price | cut there: what lies between is no daily return |
| weekly or monthly prices | refused: the model speaks of days |
| a move of more than half or double | kept, and pointed out: perhaps a split unadjusted |
"""

import csv
import datetime
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError

MAX_GAP_DAYS = 10  # after 10 September 2001 the New York exchange was closed for 7
_DATE_NAMES = ("date", "timestamp", "datetime", "day")
_PRICE_NAMES = ("adjclose", "adjustedclose", "closeadjusted", "close", "closelast", "price")
_MISSING = frozenset({"", "nan", "null", "none", "n/a", "na", "-"})


class PriceSeries(NamedTuple):
    """The daily prices of one stock without a gap."""

    name: str
    dates: NDArray[np.datetime64]  # [N], days, rising
    prices: NDArray[np.float64]  # [N], more than zero


class PriceFile(NamedTuple):
    """What a file holds, and what was done to it."""

    pieces: tuple[PriceSeries, ...]  # one, or more where there are gaps, the oldest first
    notes: tuple[str, ...]  # a line for each treatment


def read_prices(path: Path, name: str | None = None) -> PriceFile:
    """Return the daily prices of a CSV file.

    Args:
      path: the file; UTF-8, separated by commas, semicolons or tabs.
      name: what to call the series; else the file's stem.

    Raises:
      InputError: see the table above; names the file and the line.
    """
    dates, prices, missing = _read_rows(path)
    notes = [f"{_rows(missing)} without a price left out"] if missing else []
    order = np.argsort(dates, kind="stable")
    if (order != np.arange(len(order))).any():
        notes.append("the dates are out of order; sorted")
    dates, prices = dates[order], prices[order]
    same = np.flatnonzero(dates[1:] == dates[:-1])
    for i in same:
        if prices[i] != prices[i + 1]:
            raise InputError(
                f"read_prices: {path} has two prices for {dates[i]}: {prices[i]:g} and "
                f"{prices[i + 1]:g}; give one price a day of one stock"
            )
    if len(same):
        notes.append(f"{_rows(len(same))} there twice, kept once")
        dates, prices = np.delete(dates, same), np.delete(prices, same)
    _check_daily(path, dates, prices)
    pieces = _cut_at_gaps(PriceSeries(name or path.stem, dates, prices))
    if len(pieces) > 1:
        cuts = ", ".join(f"{a.dates[-1]} to {b.dates[0]}" for a, b in itertools.pairwise(pieces))
        notes.append(f"cut at gaps of more than {MAX_GAP_DAYS} days: {cuts}")
    return PriceFile(pieces, tuple(notes + _leaps(dates, prices)))


def _read_rows(path: Path) -> tuple[NDArray[np.datetime64], NDArray[np.float64], int]:
    """Return dates and prices as they stand in the file, and how many prices are missing."""
    header, rows = read_table(path)
    names = [re.sub(r"[^a-z]", "", name.lower()) for name in header]
    date_column = _find(path, header, names, _DATE_NAMES, "a date")
    price_column = _find(path, header, names, _PRICE_NAMES, "a closing price")
    dates, prices, missing = [], [], 0
    for line, row in rows:
        text = row[price_column].strip()
        date = _parse_date(path, line, row[date_column])
        if text.lower() in _MISSING:
            missing += 1
            continue
        dates.append(date)
        prices.append(_parse_price(path, line, text))
    if len(dates) < 2:
        raise InputError(
            f"read_prices: {path} has {len(dates)} prices; a return needs two at least"
        )
    return np.array(dates, "datetime64[D]"), np.array(prices), missing


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return a CSV file's header, and its rows with the number of their lines.

    Raises:
      InputError: no such file, not text, no rows, or a row of another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(
            f"read_table: cannot read {path}: {reason}; give the path of a CSV file"
        ) from error
    lines = text.splitlines()
    first = lines[0] if lines else ""
    separator = max(",;\t", key=first.count)
    reader = csv.reader(lines, delimiter=separator)
    rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise InputError(
            f"read_table: {path} has no rows; give a header line and a line for each time"
        )
    header = [name.strip() for name in rows[0][1]]
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(
                f"read_table: {path}, line {line}: {len(row)} values for {len(header)} "
                "columns; is the file cut off, or a number written with a comma?"
            )
    return header, rows[1:]


def _find(path: Path, header: list[str], names: list[str], wanted: Sequence[str], what: str) -> int:
    """Return the column of the first of the wanted names that is there."""
    for name in wanted:
        if names.count(name) > 1:
            raise InputError(f"read_prices: {path} has the column {name} more than once")
        if name in names:
            return names.index(name)
    raise InputError(
        f"read_prices: {path} has no column with {what} (one of {', '.join(wanted)}), only "
        f"{', '.join(header)}; name it in the first line"
    )


def _parse_date(path: Path, line: int, text: str) -> datetime.date:
    """Return a date written year first; a time of day is dropped."""
    try:
        return datetime.datetime.fromisoformat(text.strip().replace("/", "-")).date()
    except ValueError:
        raise InputError(
            f"read_prices: {path}, line {line}: the date is {text!r}; write year, month and "
            "day as 2024-01-31, since 01/02/2024 is January in one country and February "
            "in another"
        ) from None


def _parse_price(path: Path, line: int, text: str) -> float:
    """Return a price that has a logarithm."""
    try:
        price = float(text.removeprefix("$"))
    except ValueError:
        raise InputError(
            f"read_prices: {path}, line {line}: the price is {text!r}; write a number with a "
            "decimal point and no other sign in it"
        ) from None
    if not (math.isfinite(price) and price > 0.0):
        raise InputError(
            f"read_prices: {path}, line {line}: the price is {text}, and must be more than 0; "
            "leave the cell empty where there is none"
        )
    return price


def _check_daily(path: Path, dates: NDArray[np.datetime64], prices: NDArray[np.float64]) -> None:
    """Refuse what is no series of daily prices."""
    spacing = float(np.median(np.diff(dates).astype(float)))
    if spacing > 3.0:
        raise InputError(
            f"read_prices: the rows of {path} are {spacing:g} days apart; give daily prices"
        )
    if (prices == prices[0]).all():
        raise InputError(f"read_prices: the price in {path} never moves; give another series")


def _cut_at_gaps(series: PriceSeries) -> tuple[PriceSeries, ...]:
    """Return the pieces of a series between its gaps."""
    days = np.diff(series.dates).astype(int)
    cuts = np.flatnonzero(days > MAX_GAP_DAYS) + 1
    dates, prices = np.split(series.dates, cuts), np.split(series.prices, cuts)
    return tuple(PriceSeries(series.name, d, p) for d, p in zip(dates, prices, strict=True))


def _rows(count: int) -> str:
    return f"{count} row{'s' if count > 1 else ''}"


def _leaps(dates: NDArray[np.datetime64], prices: NDArray[np.float64]) -> list[str]:
    """Point out moves that are more likely a split than the market's doing."""
    ratio = prices[1:] / prices[:-1]
    found = np.flatnonzero((ratio > 2.0) | (ratio < 0.5))
    if not len(found):
        return []
    worst = found[np.argmax(np.abs(np.log(ratio[found])))]
    return [
        f"{len(found)} times the price doubled or halved in a day, as on {dates[worst + 1]} "
        f"(x {ratio[worst]:.3g}): if that is a split, give adjusted prices"
    ]
