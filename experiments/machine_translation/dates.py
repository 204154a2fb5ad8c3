"""A made task: dates as people write them, to ISO 8601.

    the third of march nineteen eighty-seven    ->  1987-03-03
    wed 3 mar 87                                ->  1987-03-03

Every pair is drawn from a seed. No day of the validation and test splits is in the
training split, in any spelling, so that nothing can be looked up. Two digits of a year
mean 1950 to 2049; with slashes the month comes first, with points the day. What is spelled in
none of these ways is no part of the task, ISO 8601 itself for one.
"""

import datetime
from collections.abc import Callable, Sequence

import numpy as np

from experiments.machine_translation.lines import Pairs

FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)

_NAMES = "january february march april may june july august september october november december"
MONTHS = _NAMES.split()
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_UNITS = _NUMBERS.split()
_TENS = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty"}
_TENS |= {60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety"}
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth"}
_ORDINALS |= {"eight": "eighth", "nine": "ninth", "twelve": "twelfth"}
_ROMAN = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"]


def cardinal(number: int) -> str:
    """Return a number of 0 to 99 in words: "forty-two"."""
    if number < 20:
        return _UNITS[number]
    tens, unit = number - number % 10, number % 10
    return _TENS[tens] + (f"-{_UNITS[unit]}" if unit else "")


def ordinal(number: int) -> str:
    """Return an ordinal of 1 to 99 in words: "forty-second"."""
    head, dash, last = cardinal(number).rpartition("-")
    if last.endswith("y"):
        return last[:-1] + "ieth"
    return head + dash + _ORDINALS.get(last, last + "th")


def year_in_words(year: int) -> str:
    """Return a year of 1901 to 2099 as it is read: "nineteen oh five", "two thousand six"."""
    century, rest = divmod(year, 100)
    if century == 20 and rest < 10:
        return "two thousand" + (f" {cardinal(rest)}" if rest else "")
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def _suffix(day: int) -> str:
    return "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


SPELLINGS: Sequence[Callable[[datetime.date], str]] = (
    lambda d: f"{d.day} {MONTHS[d.month - 1]} {d.year}",
    lambda d: f"{MONTHS[d.month - 1]} {d.day}, {d.year}",
    lambda d: f"{DAYS[d.weekday()]}, {MONTHS[d.month - 1]} {d.day}{_suffix(d.day)}, {d.year}",
    lambda d: f"the {d.day}{_suffix(d.day)} of {MONTHS[d.month - 1]} {d.year}",
    lambda d: f"{DAYS[d.weekday()][:3]} {d.day} {MONTHS[d.month - 1][:3]} {d.year % 100:02}",
    lambda d: f"{d.day}-{MONTHS[d.month - 1][:3]}-{d.year}",
    lambda d: f"{MONTHS[d.month - 1][:3]}. {d.day}, '{d.year % 100:02}",
    lambda d: f"{d.month}/{d.day}/{d.year}",
    lambda d: f"{d.month:02}/{d.day:02}/{d.year % 100:02}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
    lambda d: f"{d.day:02}.{d.month:02}.{d.year % 100:02}",
    lambda d: f"{d.day}.{_ROMAN[d.month - 1]}.{d.year}",
    lambda d: f"{d.year} {MONTHS[d.month - 1]} {d.day}",
    lambda d: f"{d.year:04}{d.month:02}{d.day:02}",
    lambda d: f"the {ordinal(d.day)} of {MONTHS[d.month - 1]}, {year_in_words(d.year)}",
    lambda d: f"{MONTHS[d.month - 1]} the {ordinal(d.day)}, {year_in_words(d.year)}",
    lambda d: f"{DAYS[d.weekday()]} the {ordinal(d.day)} of {MONTHS[d.month - 1]} {d.year}",
)


def make_dates(sizes: Sequence[int], seed: int) -> list[Pairs]:
    """Return splits of pairs, none of which shares a day with another.

    Args:
      sizes: how many pairs each split has. Days are given to the splits in proportion.
      seed: of days and spellings.
    """
    rng = np.random.default_rng(seed)
    number = (LAST - FIRST).days + 1
    order = rng.permutation(number)
    cuts = np.cumsum(sizes)[:-1] * number // sum(sizes)
    splits = []
    for size, days in zip(sizes, np.split(order, cuts), strict=True):
        chosen = [FIRST + datetime.timedelta(days=int(i)) for i in rng.choice(days, size)]
        spellings = rng.integers(len(SPELLINGS), size=size)
        sources = [SPELLINGS[i](date) for i, date in zip(spellings, chosen, strict=True)]
        splits.append(Pairs(sources, [date.isoformat() for date in chosen]))
    return splits
