"""What the network reads of a price series, and what it is asked: all of it without levels.

With log returns r_t = log p_t - log p_{t-1}, known at the close of day t, and the
exponentially weighted variance v_t = λ v_{t-1} + (1 - λ) r_t² (RiskMetrics: λ = 0.94; the
first is the mean over the first 22 days), day t's features are

    surprise   r_t / √v_{t-1}                     size       log(|surprise| + 0.1)
    week       (r_{t-4} + ... + r_t) / √(5 v_t)   month      22 days likewise
    rough 5    log(rms of 5 returns / √v_t)       rough 22   22 days likewise
    level      log √(v_t / w_t), w_t as v_t with λ = 0.99

and the questions are the sign and the size of r_{t+1}. No feature has a unit: a quiet bond
fund and a wild share look alike, so that a trained model can read a series that it has
never seen. Each value uses returns up to its own day and none after it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.stock_prediction.daily.files import PriceSeries

Floats = NDArray[np.float64]

WARM_UP = 22  # returns before the first day with features: a month of trading
NUM_FEATURES = 7
NUM_LAGS = 5
DECAY, SLOW_DECAY = 0.94, 0.99
# A hundredth of a per cent a day: below it a price is not moving, and a return divided by
# its size would mean nothing.
_LEAST_VARIANCE = 1e-8


class Days(NamedTuple):
    """What is known at the close of each day of a series, and what comes next."""

    name: str
    dates: NDArray[np.datetime64]  # [K], the days on which the features are known
    next_dates: NDArray[np.datetime64]  # [K], the days asked about; NaT after the last
    features: Floats  # [K, I]
    variance: Floats  # [K], v_t: the EWMA forecast of r²_{t+1}
    history: Floats  # [K], the mean of all r² so far
    mean_squares: Floats  # [K, 3], the mean of r² over 1, 5 and 22 days
    lags: Floats  # [K, `NUM_LAGS`], r_t, r_{t-1}, ...
    next_returns: Floats  # [K], r_{t+1}; NaN after the last


def days_of(series: PriceSeries) -> Days:
    """Return features and questions of N daily prices.

    Returns:
      K = N - `WARM_UP` days: the first has `WARM_UP` returns behind it, the last
      is the last of the series, about whose morrow nothing is known.

    Raises:
      InputError: the series is too short for a single day.
    """
    if len(series.prices) <= WARM_UP:
        raise InputError(
            f"days_of: {series.name} has {len(series.prices)} daily prices without a gap, but "
            f"{WARM_UP + 1} are the least; give a longer series"
        )
    r = np.diff(np.log(series.prices))
    v, w = (ewma_variance(r, decay) for decay in (DECAY, SLOW_DECAY))
    mean_squares = np.stack([trailing_mean_square(r, n) for n in (1, 5, 22)], axis=-1)
    surprise = r / np.sqrt(np.concatenate([v[:1], v[:-1]]))
    features = np.stack(
        [
            surprise,
            np.log(np.abs(surprise) + 0.1),
            _trailing_sum(r, 5) / np.sqrt(5 * v),
            _trailing_sum(r, 22) / np.sqrt(22 * v),
            *(0.5 * np.log(mean_squares[:, i] / v) for i in (1, 2)),
            0.5 * np.log(v / w),
        ],
        axis=-1,
    )
    rows = slice(WARM_UP - 1, None)
    return Days(
        series.name,
        series.dates[1:][rows],
        np.append(series.dates[1:][WARM_UP:], np.datetime64("NaT", "D")),
        features[rows],
        v[rows],
        np.maximum(np.cumsum(r**2) / np.arange(1, len(r) + 1), _LEAST_VARIANCE)[rows],
        mean_squares[rows],
        np.lib.stride_tricks.sliding_window_view(r, NUM_LAGS)[WARM_UP - NUM_LAGS :, ::-1],
        np.append(r[WARM_UP:], np.nan),
    )


def ewma_variance(r: Floats, decay: float) -> Floats:
    """Return the exponentially weighted mean `[N]` of r², of returns `[N]`, with λ = `decay`.

    N >= `WARM_UP`; the first so many are one number, their mean: fit for use after these.
    """
    v = np.empty(len(r))
    v[:WARM_UP] = np.mean(r[:WARM_UP] ** 2)
    for t in range(WARM_UP, len(r)):
        v[t] = decay * v[t - 1] + (1.0 - decay) * r[t] ** 2
    return np.maximum(v, _LEAST_VARIANCE)


def trailing_mean_square(r: Floats, days: int) -> Floats:
    """Return the mean of r² over the last days up to each one, `[N]`."""
    return np.maximum(_trailing_sum(r**2, days) / days, _LEAST_VARIANCE)


def _trailing_sum(x: Floats, days: int) -> Floats:
    """Return the sum of the last `days` values up to each one; fewer at the start.

    Summed window by window: differences of running sums would lose digits.
    """
    padded = np.concatenate([np.zeros(days - 1), x])
    return np.lib.stride_tricks.sliding_window_view(padded, days).sum(axis=-1)
