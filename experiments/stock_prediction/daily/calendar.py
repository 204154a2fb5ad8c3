"""Whether the dates of a file's prices are the trading days, one by one.

The step from one price to the next is 1 day, 3 over a weekend, 4 or 5 over a long one
(Thursday to Tuesday at Easter). A longer one is a holiday of some days, or a part of the file
that is weekly or has holes, and there what is taken for the return of a day is that of many.

Holidays are few. Of 66 of the calendars in exchange_calendars 4.13, from 1995 on, none has more
than 5 such steps in any 250, a year (Shanghai; 40 have one or none), nor more than 2 in a
month; StockNet's 88 files have none in 108,501 steps. So a file is refused where in any year
of it more than 5 % of the steps are longer than 5 days. The year is the worst one, as a weekly
beginning is a small share of a history that is daily for decades since. Below that the steps
are told, for the user to judge.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError

LONG_WEEKEND_DAYS = 5
MOST_LONG = 0.05  # of a year's steps
_YEAR = 250  # steps
_ALWAYS_ALLOWED = 2  # in a file of a few weeks two holidays are more than 5 %
_MOST_NAMED = 3


def check_daily(path: Path, dates: NDArray[np.datetime64]) -> None:
    """Refuse dates `[N]`, rising, that are not daily, be it in a part of the file `path` only.

    Raises:
      InputError: most rows are more than a weekend apart, or too many in one year are more
        than a long weekend apart.
    """
    if len(dates) < 2:  # no step, and too few for anything else as well
        return
    steps = np.diff(dates).astype(int)
    spacing = float(np.median(steps))
    if spacing > 3.0:
        raise InputError(
            f"read_prices: the rows of {path} are {spacing:g} days apart; give daily prices"
        )
    long = steps > LONG_WEEKEND_DAYS
    year = min(_YEAR, len(steps))
    counts = np.convolve(long, np.ones(year, int), mode="valid")  # in each year of the file
    begin = int(np.argmax(counts))
    count = int(counts[begin])
    if count > max(_ALWAYS_ALLOWED, MOST_LONG * year):
        first = begin + int(np.argmax(long[begin:]))
        raise InputError(
            f"read_prices: {path} is not daily throughout: from {dates[begin]} to "
            f"{dates[begin + year]}, {count} of {year} steps ({100 * count / year:.1f} %) are "
            f"longer than {LONG_WEEKEND_DAYS} days, as from {dates[first]} to "
            f"{dates[first + 1]}, where at most {100 * MOST_LONG:g} % may be, for holidays; give "
            "the price of every trading day, and cut off a part that is weekly"
        )


def tell_long_steps(pieces: Sequence[NDArray[np.datetime64]]) -> list[str]:
    """Return a line on the steps of more than a long weekend, or none.

    The pieces are the dates `[N]` between a file's gaps: what is cut out there is no step.
    """
    pairs = (pair for dates in pieces for pair in itertools.pairwise(dates))
    steps = [(a, b) for a, b in pairs if (b - a).astype(int) > LONG_WEEKEND_DAYS]
    if not steps:
        return []
    longest = sorted(steps, key=lambda step: step[0] - step[1])[:_MOST_NAMED]
    named = ", ".join(f"{before} to {after}" for before, after in sorted(longest))
    which = "" if len(steps) == len(longest) else "the longest "
    count = "1 step" if len(steps) == 1 else f"{len(steps)} steps"
    return [
        f"{count} of more than {LONG_WEEKEND_DAYS} days, of which each is taken for one day's "
        f"return; sound for holidays, not for missing days: {which}{named}"
    ]
