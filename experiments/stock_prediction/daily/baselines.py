"""What a sceptic would ask for: forecasts that need no network.

Of the direction:
- the random walk says nothing of it: a coin, log 2 nats;
- always up;
- the share of ups among the training moves, as a constant probability;
- the same again: tomorrow moves as today;
- AR(5) by least squares, r_{t+1} = a + Σ b_k r_{t-k} + e, on returns divided by √v_t, all
  series together; e's deviation makes it a probability.

Of the volatility:
- the historical mean, of all r² of the series so far;
- the exponentially weighted mean (RiskMetrics 1996), λ = 0.94;
- HAR (Corsi 2009) on squared returns: r²_{t+1} = a + b r²_t + c week + d month by least
  squares, all divided by the historical mean, all series together. A forecast that is not
  positive is replaced by that mean (the insanity filter of Swanson and White 1997).

Least squares sees a fold's training days alone. The coefficients have no unit, and so serve
a series that they have never seen.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from experiments.stock_prediction.daily.metrics import Forecasts
from experiments.stock_prediction.daily.panel import Moves, Panel
from experiments.stock_prediction.daily.splits import Period
from experiments.stock_prediction.measure import Floats

DIRECTION = ("random walk", "always up", "share of ups", "same again", "AR(5)")
VOLATILITY = ("historical mean", "EWMA", "HAR")


class Fitted(NamedTuple):
    """What the baselines have learned from the training days; lists, to be kept as JSON."""

    share_up: float
    ar: list[float]  # a, b_0 ... b_4
    ar_deviation: float
    har: list[float]  # a, b, c, d


def fit_baselines(panel: Panel, train: Period) -> Fitted:
    """Fit what there is to fit on the training days of a panel."""
    days = train.holds(panel.next_dates)
    scale = np.sqrt(panel.variance[days])
    x, y = _with_ones(panel.lags[days] / scale[:, None]), panel.next_returns[days] / scale
    ar = np.linalg.lstsq(x, y)[0]
    squared = panel.next_returns[days] ** 2 / panel.history[days]
    har = np.linalg.lstsq(_har_inputs(panel, days), squared)[0]
    moved = days & panel.moved
    return Fitted(
        share_up=float(panel.up[moved].mean()) if moved.any() else 0.5,
        ar=ar.tolist(),
        ar_deviation=float(np.std(y - x @ ar)),
        har=har.tolist(),
    )


def forecast(
    fitted: Fitted, panel: Panel, days: NDArray[np.bool_], moves: Moves
) -> dict[str, Forecasts]:
    """Return each baseline's forecasts `[K]` for the K days `[T, N]` that are chosen."""
    ones = np.ones(int(days.sum()))
    historical = panel.history[days]
    har = _har_inputs(panel, days) @ np.array(fitted.har) * historical
    return {
        "random walk": Forecasts(p_up=0.5 * ones),
        "always up": Forecasts(p_up=ones, certain=True),
        "share of ups": Forecasts(p_up=fitted.share_up * ones),
        "same again": Forecasts(p_up=(panel.lags[days][:, 0] > 0.0) * 1.0, certain=True),
        "AR(5)": Forecasts(p_up=_ar_p_up(fitted, panel, days, moves)),
        "historical mean": Forecasts(variance=historical),
        "EWMA": Forecasts(variance=panel.variance[days]),
        "HAR": Forecasts(variance=np.where(har > 0.0, har, historical)),
    }


def _ar_p_up(fitted: Fitted, panel: Panel, days: NDArray[np.bool_], moves: Moves) -> Floats:
    """Return P(up | up or down) of a normal return around the autoregression's forecast."""
    scale = np.sqrt(panel.variance[days])
    mean = _with_ones(panel.lags[days] / scale[:, None]) @ np.array(fitted.ar)
    above, below = (np.log1p(moves.above) / scale, np.log1p(moves.below) / scale)
    up = ndtr((mean - above) / fitted.ar_deviation)
    down = ndtr((below - mean) / fitted.ar_deviation)
    return up / np.maximum(up + down, 1e-12)


def _har_inputs(panel: Panel, days: NDArray[np.bool_]) -> Floats:
    return _with_ones(panel.mean_squares[days] / panel.history[days][:, None])


def _with_ones(x: Floats) -> Floats:
    return np.concatenate([np.ones((len(x), 1)), x], axis=1)
