"""Daily prices from a CSV file: what is read, what is refused, what is treated and how.

A file has a header with a date and a closing price, in any order and beside any other
column: Yahoo's (`Date,Open,High,Low,Close,Adj Close,Volume`), Stooq's, Nasdaq's with its `$`,
investing.com's (`Date,Price,Open,...`), yfinance's with its three lines of header, FRED's
with a name of its own for the price, or just `date,close`. An adjusted close is taken where
there is one, because splits and dividends are no gains and losses. How dates and numbers may
be written is told in `cells`.

| what a file may hold | what becomes of it |
|---|---|
| a price that is missing (empty, NaN, null) | the day is left out, and counted |
| dates out of order | sorted, and said so |
| a date twice with one and the same price | kept once, and counted |
| a date twice with two prices | refused: daily prices have one a day |
| a price of zero or less, or infinite | refused: it has no logarithm |
| text for a price | refused |
| dates like 03/04/2024, or a decimal comma | read where only one way fits all rows, said so |
| weekends and holidays | no gap: the next trading day's return follows |
| more than 5 days without a price | no gap either, but counted, and the longest are named |
| more than 14 days without a price | cut there: what lies between is no daily return |
| weekly or monthly prices, be it in a part | refused: the model speaks of days; see `calendar` |
| a move of more than half or double | kept, and pointed out: perhaps a split unadjusted |
"""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.stock_prediction.daily.calendar import check_daily, tell_long_steps
from experiments.stock_prediction.daily.cells import parse_dates, parse_prices
from experiments.stock_prediction.tables import read_table

# New York was closed for 7 after 10 September 2001, Shanghai and Tokyo are for 11 at times.
MAX_GAP_DAYS = 14
_DATE_NAMES = ("date", "timestamp", "datetime", "day", "time", "observationdate", "tradedate")
_PRICE_NAMES = (
    *("adjclose", "adjustedclose", "closeadjusted", "closeadj"),
    *("close", "closelast", "closeprice", "closingprice", "price", "last", "lastprice"),
)
_NO_PRICE_NAMES = frozenset(
    {"", "volume", "vol", "open", "high", "low", "change", "returns", "return"}
)
_MISSING = frozenset({"", "nan", "null", "none", "n/a", "na", "-", "."})


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
    dates, prices, notes = _read_rows(path)
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
    check_daily(path, dates)
    if (prices == prices[0]).all():
        raise InputError(f"read_prices: the price in {path} never moves; give another series")
    pieces = _cut_at_gaps(PriceSeries(name or path.stem, dates, prices))
    if len(pieces) > 1:
        cuts = ", ".join(f"{a.dates[-1]} to {b.dates[0]}" for a, b in itertools.pairwise(pieces))
        notes.append(f"cut at gaps of more than {MAX_GAP_DAYS} days: {cuts}")
    notes += tell_long_steps([piece.dates for piece in pieces]) + _leaps(dates, prices)
    return PriceFile(pieces, tuple(notes))


def _read_rows(path: Path) -> tuple[NDArray[np.datetime64], NDArray[np.float64], list[str]]:
    """Return dates and prices as they stand in the file, and notes on how they were read."""
    header, rows = read_table(path)
    if header[0] == "Price" and rows[0][1][0] == "Ticker" and rows[1:]:  # yfinance's three lines
        header, rows = [rows[1][1][0] or "Date", *header[1:]], rows[2:]
    date_column, price_column = _columns(path, header)
    kept = [(line, row) for line, row in rows if row[price_column].strip().lower() not in _MISSING]
    dates = [(line, row[date_column].strip()) for line, row in kept]
    prices = [(line, row[price_column].strip()) for line, row in kept]
    if len(prices) < 2:
        raise InputError(
            f"read_prices: {path} has {len(prices)} prices in the column "
            f"{header[price_column]}; a return needs two at least (an empty column in front of "
            "another of closing prices must go)"
        )
    missing = len(rows) - len(prices)
    notes = [f"{_rows(missing)} without a price left out"] if missing else []
    if _plain(header[price_column]) not in _PRICE_NAMES:
        notes.append(f"the column {header[price_column]} is taken for the closing price")
    days, order = parse_dates(path, dates)
    values, comma = parse_prices(path, prices, header[price_column])
    return days, values, notes + order + comma


def _columns(path: Path, header: list[str]) -> tuple[int, int]:
    """Return which columns hold the date and the price."""
    names = [_plain(name) for name in header]
    date = _find(path, names, _DATE_NAMES)
    if date is None and header[0].lower() in ("", "unnamed: 0"):
        date = 0  # what pandas makes of an index without a name
    price = _find(path, names, _PRICE_NAMES)
    if price is None and date is not None and len(header) == 2:
        # Named after what it is the price of.
        price = None if names[1 - date] in _NO_PRICE_NAMES else 1 - date
    if date is not None and price is not None:
        return date, price
    what, wanted = ("a date", _DATE_NAMES) if date is None else ("a closing price", _PRICE_NAMES)
    raise InputError(
        f"read_prices: {path} has no column with {what} (one of {', '.join(wanted)}), "
        f"only {', '.join(header)}; name it in the first line"
    )


def _plain(name: str) -> str:
    """Return a column's name without case, spaces and signs."""
    return re.sub(r"[^a-z]", "", name.lower())


def _find(path: Path, names: list[str], wanted: Sequence[str]) -> int | None:
    """Return the column of the first of the wanted names that is there, or None."""
    for name in wanted:
        if names.count(name) > 1:
            raise InputError(
                f"read_prices: {path} has the column {name} more than once; give one stock's"
            )
        if name in names:
            return names.index(name)
    return None


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
