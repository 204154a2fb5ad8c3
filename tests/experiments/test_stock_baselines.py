"""The baselines: each finds what it is made for, and nothing of the days to come."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from experiments.stock_prediction.daily import baselines
from experiments.stock_prediction.daily.features import days_of
from experiments.stock_prediction.daily.files import PriceSeries
from experiments.stock_prediction.daily.panel import ACL18_MOVES, ANY_MOVE, make_panel
from experiments.stock_prediction.daily.splits import Period
from experiments.stock_prediction.hourly import baselines as hourly_baselines
from experiments.stock_prediction.hourly.data import BORDERS, PARTS, window_starts, windows_at
from tests.experiments.stock_data import momentum, random_walk, weekdays

TRAIN = Period(np.datetime64("2001-01-01"), np.datetime64("2002-06-01"))


def panel_of(*series):
    return make_panel([days_of(one) for one in series], ANY_MOVE)


def test_least_squares_is_numpys_own():
    panel = panel_of(random_walk(500, 0), random_walk(450, 1))
    days = TRAIN.holds(panel.next_dates)
    rows, targets, squares, answers = [], [], [], []
    for t, n in np.argwhere(days):
        scale = np.sqrt(panel.variance[t, n])
        rows.append([1.0, *(panel.lags[t, n] / scale)])
        targets.append(panel.next_returns[t, n] / scale)
        squares.append([1.0, *(panel.mean_squares[t, n] / panel.history[t, n])])
        answers.append(panel.next_returns[t, n] ** 2 / panel.history[t, n])
    fitted = baselines.fit_baselines(panel, TRAIN)
    rows, targets = np.array(rows), np.array(targets)
    ar = np.linalg.solve(rows.T @ rows, rows.T @ targets)
    np.testing.assert_allclose(fitted.ar, ar, rtol=1e-8)
    np.testing.assert_allclose(fitted.ar_deviation, np.std(targets - rows @ ar), rtol=1e-8)
    squares, answers = np.array(squares), np.array(answers)
    har = np.linalg.solve(squares.T @ squares, squares.T @ answers)
    np.testing.assert_allclose(fitted.har, har, rtol=1e-8)
    assert fitted.share_up == pytest.approx(np.mean(targets > 0))


def test_only_training_days_are_learned_from():
    panel = panel_of(random_walk(500, 0))
    later = panel.next_dates >= TRAIN.end
    changed = panel._replace(
        next_returns=np.where(later, 9.0, panel.next_returns),
        lags=np.where(later[..., None], 9.0, panel.lags),
        mean_squares=np.where(later[..., None], 9.0, panel.mean_squares),
        up=panel.up | later,
    )
    assert later.any()
    assert baselines.fit_baselines(changed, TRAIN) == baselines.fit_baselines(panel, TRAIN)


def test_the_autoregression_sees_momentum():
    panel = panel_of(momentum(600, 0))
    fitted = baselines.fit_baselines(panel, TRAIN)
    test = panel.next_dates >= TRAIN.end
    said = baselines.forecast(fitted, panel, test, ANY_MOVE)
    right = (said["AR(5)"].p_up > 0.5) == panel.up[test]
    assert right.mean() > 0.8
    again = (said["same again"].p_up > 0.5) == panel.up[test]
    assert again.mean() > 0.8
    assert (said["always up"].p_up == 1).all()
    assert (said["random walk"].p_up == 0.5).all()


def test_probabilities_are_those_of_a_normal_return():
    panel = panel_of(random_walk(60, 0))
    fitted = baselines.Fitted(0.5, [0.1, 0.2, 0, 0, 0, 0], 1.3, [1, 0, 0, 0])
    days = np.zeros(panel.up.shape, bool)
    days[10] = True
    scale = np.sqrt(panel.variance[10, 0])
    mean = 0.1 * scale + 0.2 * panel.lags[10, 0, 0]
    draws = stats.norm(mean, 1.3 * scale).rvs(400_000, random_state=0)
    for moves in (ANY_MOVE, ACL18_MOVES):
        up, down = moves.up(draws).mean(), moves.down(draws).mean()
        (p,) = baselines.forecast(fitted, panel, days, moves)["AR(5)"].p_up
        assert p == pytest.approx(up / (up + down), abs=4e-3)


def test_har_finds_its_own_coefficients():
    random = np.random.default_rng(0)
    count, weights = 20_000, (0.1, 0.3, 0.4)
    r, sums = random.standard_normal(count), [0.0]  # of squares so far
    for t in range(count):
        if t >= 22:
            means = [(sums[t] - sums[t - n]) / n for n in (1, 5, 22)]
            r[t] *= math.sqrt(0.2 + sum(w * m for w, m in zip(weights, means, strict=True)))
        sums.append(sums[t] + r[t] ** 2)
    prices = np.exp(np.cumsum(0.01 * r))
    panel = panel_of(PriceSeries("har", weekdays(count), prices))
    whole = Period(np.datetime64("2001-01-01"), np.datetime64("2101-01-01"))
    fitted = baselines.fit_baselines(panel, whole)
    np.testing.assert_allclose(fitted.har[1:], weights, atol=0.12)
    answered = ~np.isnat(panel.next_dates)
    said = baselines.forecast(fitted, panel, answered, ANY_MOVE)
    squared = panel.next_returns[answered] ** 2

    def qlike(name):
        return np.mean(np.log(said[name].variance) + squared / said[name].variance)

    assert qlike("HAR") < qlike("EWMA") < qlike("historical mean")


def test_a_forecast_that_is_not_positive_is_replaced():
    panel = panel_of(random_walk(60, 0))
    fitted = baselines.Fitted(0.5, [0.0] * 6, 1.0, [-5.0, 0, 0, 0])
    days = np.ones(panel.up.shape, bool)
    said = baselines.forecast(fitted, panel, days, ANY_MOVE)
    np.testing.assert_array_equal(said["HAR"].variance, panel.history[days])


def test_copies_of_the_past():
    x = np.arange(2 * 30 * 3, dtype=float).reshape(2, 30, 3)
    np.testing.assert_array_equal(
        hourly_baselines.persistence(x, 5), np.stack([x[:, -1]] * 5, axis=1)
    )
    said = hourly_baselines.seasonal(x, 30)
    for h in range(30):
        np.testing.assert_array_equal(said[:, h], x[:, 30 - 24 + h % 24])


@pytest.fixture(scope="module")
def hours():
    t = np.arange(BORDERS[-1] + 10)[:, None]
    waves = np.sin(2 * np.pi * t / np.array([24.0, 12.0])) + 0.001 * t
    return waves + 0.1 * np.random.default_rng(0).standard_normal(waves.shape)


def test_windows_are_disjoint_ordered_and_complete(hours):
    last = -1
    for part, (start, end) in zip(PARTS, itertools.pairwise(BORDERS), strict=True):
        starts = window_starts(part, 48, 6, len(hours))
        first_hours = starts + 48
        assert first_hours[0] == max(start, 48)
        assert first_hours[-1] + 6 == end
        assert first_hours[0] > last
        assert (np.diff(starts) == 1).all()
        last = first_hours[-1] + 5
    x, y = windows_at(hours, np.array([3, 10]), 48, 6)
    np.testing.assert_array_equal(x[1], hours[10:58])
    np.testing.assert_array_equal(y[1], hours[58:64])


def test_ridge_is_the_solution_of_its_equations(hours):
    found = hourly_baselines.fit_linear(hours, 30, 4)
    starts = window_starts("train", 30, 4, len(hours))
    x, y = windows_at(hours, starts, 30, 4)
    rows = (x - x[:, -1:]).transpose(0, 2, 1).reshape(-1, 30)
    targets = (y - x[:, -1:]).transpose(0, 2, 1).reshape(-1, 4)
    # ridge as least squares with rows of its own for the penalty, the constant left free
    extra = np.sqrt(found.penalty) * np.eye(30, 31)
    design = np.concatenate([np.c_[rows, np.ones(len(rows))], extra])
    expected = np.linalg.lstsq(design, np.r_[targets, np.zeros((30, 4))], rcond=None)[0]
    np.testing.assert_allclose(found.weights, expected, rtol=1e-5, atol=1e-7)
    by_hand = np.einsum("btv,th->bhv", x - x[:, -1:], expected[:-1]) + expected[-1][:, None]
    np.testing.assert_allclose(found(x), by_hand + x[:, -1:], rtol=1e-6, atol=1e-7)
    assert np.mean((found(x) - y) ** 2) < np.mean((hourly_baselines.seasonal(x, 4) - y) ** 2)
