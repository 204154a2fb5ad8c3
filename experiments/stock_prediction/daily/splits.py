"""Periods of days: what is learned from, chosen by and measured on, always in this order.

A day belongs to the period in which its *answer* falls, the return of the day after. So
no answer of a later period is seen in an earlier one. Features reach back over the border,
into days that are past by then.

Walk-forward: the last `num_folds` stretches of `test_days` trading days are predicted one
after the other, each by models that learned from all that lies before it (an expanding
window) but for the `valid_days` just before it, by which the training is stopped.

    fold 1   train train train valid TEST
    fold 2   train train train train valid TEST
    fold 3   train train train train train valid TEST
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.stock_prediction.daily.features import Days

Dates = NDArray[np.datetime64]


class Period(NamedTuple):
    """Days from `start` up to, without, `end`."""

    start: np.datetime64
    end: np.datetime64

    def holds(self, dates: Dates) -> NDArray[np.bool_]:
        """Tell for each date whether it lies within; NaT never does."""
        return (dates >= self.start) & (dates < self.end)

    def __str__(self) -> str:
        return f"{self.start} to {self.end - np.timedelta64(1, 'D')}"


class Fold(NamedTuple):
    """One model's periods, each after the one before."""

    train: Period
    valid: Period
    test: Period
    later: Period | None = None  # after the test, where a published split leaves days over


def period(start: str, end: str) -> Period:
    """Return the period of two ISO dates."""
    return Period(np.datetime64(start, "D"), np.datetime64(end, "D"))


# Xu and Cohen 2018, section 4: train and test; Feng et al. 2019 likewise.
ACL18_FOLD = Fold(
    train=period("2014-01-02", "2015-08-03"),
    valid=period("2015-08-03", "2015-10-01"),
    test=period("2015-10-01", "2016-01-01"),
    later=period("2016-01-01", "2017-09-02"),
)


def walk_forward(
    series: Sequence[Days], num_folds: int, test_days: int, valid_days: int
) -> tuple[Fold, ...]:
    """Return the folds of an expanding window over all days that are answered.

    Raises:
      InputError: there are too few days; less is left to the first fold's training than
        to its validation and test together.
    """
    answered = [days.next_dates[~np.isnat(days.next_dates)] for days in series]
    dates = np.unique(np.concatenate(answered))
    first = len(dates) - num_folds * test_days - valid_days  # days to learn the first fold from
    if first < valid_days + test_days:
        need = (num_folds + 1) * test_days + 2 * valid_days
        raise InputError(
            f"walk_forward: {len(dates)} trading days are too few for num_folds={num_folds} of "
            f"test_days={test_days} and valid_days={valid_days}, which take {need}; lower them "
            "or give longer series"
        )
    folds = []
    for i in range(num_folds):
        test = first + valid_days + i * test_days
        end = dates[test + test_days] if i < num_folds - 1 else dates[-1] + np.timedelta64(1, "D")
        valid = Period(dates[test - valid_days], dates[test])
        folds.append(Fold(Period(dates[0], valid.start), valid, Period(dates[test], end)))
    return tuple(folds)
