"""Metrics and intervals against brute force."""

import math

import numpy as np
import pytest

from experiments.stock_prediction import measure
from experiments.stock_prediction.daily.metrics import (
    Answers,
    Forecasts,
    day_sums,
    metrics_of,
)
from experiments.stock_prediction.hourly import metrics as hourly_metrics


@pytest.fixture
def case():
    random = np.random.default_rng(0)
    count = 300
    answers = Answers(
        day=np.sort(random.integers(20, size=count)),
        up=random.random(count) < 0.6,
        moved=random.random(count) < 0.8,
        squared=random.standard_normal(count) ** 2 * 1e-4,
    )
    p = random.random(count)
    p[:10] = 0.5
    return answers, Forecasts(p, random.random(count) * 1e-4 + 1e-5)


def brute_force(answers, forecasts):
    """Compute every metric forecast by forecast."""
    hits, nats, said, came, qlike = [], [], [], [], []
    for up, moved, r2, p, v in zip(
        answers.up, answers.moved, answers.squared, forecasts.p_up, forecasts.variance, strict=True
    ):
        qlike.append(math.log(v) + r2 / v)
        if moved:
            say = 0.5 if p == 0.5 else float(p > 0.5)
            hits.append(say if up else 1 - say)
            nats.append(-math.log(p if up else 1 - p))
            said.append(say)
            came.append(float(up))
    # MCC is the correlation of two binary variables
    mcc = np.corrcoef(said, came)[0, 1]
    return {
        "accuracy": np.mean(hits),
        "mcc": mcc,
        "nats": np.mean(nats),
        "qlike": np.mean(qlike),
    }


def test_metrics_against_brute_force(case):
    answers, forecasts = case
    without_halves = forecasts._replace(p_up=np.where(forecasts.p_up == 0.5, 0.7, forecasts.p_up))
    found = metrics_of(day_sums(answers, without_halves, 20).sum(axis=0))
    for name, value in brute_force(answers, without_halves).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)


def test_one_half_is_half_a_hit(case):
    answers, forecasts = case
    found = metrics_of(day_sums(answers, forecasts, 20).sum(axis=0))
    assert found["accuracy"] == pytest.approx(brute_force(answers, forecasts)["accuracy"])
    coin = day_sums(answers, Forecasts(np.full(300, 0.5)), 20).sum(axis=0)
    found = metrics_of(coin)
    assert (found["accuracy"], found["mcc"]) == (0.5, 0.0)
    assert found["nats"] == pytest.approx(math.log(2))
    assert np.isnan(found["qlike"])


def test_sums_by_day_add_up_and_stand_apart(case):
    answers, forecasts = case
    table = day_sums(answers, forecasts, 20)
    one = answers.day == 7
    alone = day_sums(
        Answers(np.zeros(one.sum(), int), *(column[one] for column in answers[1:])),
        Forecasts(forecasts.p_up[one], forecasts.variance[one]),
        1,
    )
    np.testing.assert_allclose(table[7], alone[0], rtol=1e-12)


def test_a_forecast_that_always_says_up():
    up = np.array([1, 1, 1, 0], bool)
    answers = Answers(np.zeros(4, int), up, np.ones(4, bool), np.ones(4))
    found = metrics_of(day_sums(answers, Forecasts(np.ones(4), certain=True), 1)[0])
    assert (found["accuracy"], found["mcc"]) == (0.75, 0.0)
    assert np.isnan(found["nats"])


def test_mcc_by_hand():
    # tp, fp, tn, fn = 6, 1, 2, 1, a textbook's cats and dogs with one more of each
    sums = np.array([6, 1, 2, 1, 0, 0, 10.0])
    expected = (6 * 2 - 1 * 1) / math.sqrt(7 * 7 * 3 * 3)
    assert metrics_of(sums)["mcc"] == pytest.approx(expected)


def test_errors_against_brute_force():
    random = np.random.default_rng(1)
    a, b = random.standard_normal((2, 3, 4, 5))
    squares = [(x - y) ** 2 for x, y in zip(a.ravel(), b.ravel(), strict=True)]
    absolute = [abs(x - y) for x, y in zip(a.ravel(), b.ravel(), strict=True)]
    sums = hourly_metrics.day_sums(a, b, np.array([0, 1, 1]))
    assert sums[:, 2].tolist() == [20, 40]
    found = hourly_metrics.metrics_of(sums.sum(axis=0))
    assert found["mse"] == pytest.approx(sum(squares) / 60)
    assert found["mae"] == pytest.approx(sum(absolute) / 60)
    assert hourly_metrics.metrics_of(sums[0])["mae"] == pytest.approx(np.mean(absolute[:20]))
    by_row = hourly_metrics.mean_squared_error(a, b, axis=(1, 2))
    np.testing.assert_allclose(by_row[1], np.mean((a[1] - b[1]) ** 2))


def test_the_interval_over_seeds_is_students():
    found = measure.over_seeds(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    # t(0.975, 4) = 2.776445, deviation 1.581139
    half = 2.776445 * 1.581139 / math.sqrt(5)
    np.testing.assert_allclose(found, [3.0, 3.0 - half, 3.0 + half], rtol=1e-6)
    assert np.isnan(measure.over_seeds(np.array([1.0])).low)


def test_blocks_are_of_neighbouring_days():
    weights = measure.bootstrap_weights(12, 4, 50, seed=0)
    assert (weights.sum(axis=1) == 12).all()
    # with blocks of all days every draw is the days as they were
    assert (measure.bootstrap_weights(12, 12, 5, seed=0) == 1).all()
    rises = ((weights > np.roll(weights, 1, axis=1)).sum(axis=1)) <= 3
    assert rises.all()  # three blocks begin at three places at most
    assert [measure.block_length(n) for n in (1, 8, 27, 64, 65, 1000)] == [1, 2, 3, 4, 5, 10]
    assert measure.block_length(64, at_least=6) == 6


def mean_of(sums):
    return {"mean": sums[..., 0] / sums[..., 1]}


def test_the_bootstrap_finds_the_standard_error_of_a_mean():
    values = np.random.default_rng(2).standard_normal(400)
    table = np.stack([values, np.ones(400)], axis=-1)[None]
    found = measure.resample(table, measure.bootstrap_weights(400, 1, 4000, 0), mean_of)
    low, high = measure.over_days(values.mean(), found.draws["mean"])[1:]
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], values.mean() + np.array([-half, half]), atol=0.012)
    np.testing.assert_allclose(found.seeds["mean"], [values.mean()])


def test_days_that_hang_together_widen_the_interval():
    random = np.random.default_rng(3)
    values = np.repeat(random.standard_normal(40), 10)
    table = np.stack([values, np.ones(400)], axis=-1)[None]

    def width(block):
        weights = measure.bootstrap_weights(400, block, 1000, 0)
        drawn = measure.resample(table, weights, mean_of).draws["mean"]
        return np.diff(measure.over_days(0.0, drawn)[1:])[0]

    assert width(10) > 2 * width(1)


@pytest.mark.parametrize(("gain", "verdict"), [(1.0, "better"), (-1.0, "worse"), (0.0, "no diff")])
def test_a_verdict_needs_both_intervals(gain, verdict):
    random = np.random.default_rng(4)
    noise = random.standard_normal((5, 200)) * 0.1
    model = np.stack([noise + gain, np.ones((5, 200))], axis=-1)
    base = np.stack([random.standard_normal((1, 200)) * 0.1, np.ones((1, 200))], axis=-1)
    weights = measure.bootstrap_weights(200, 4, 500, 0)
    ours, theirs = (measure.resample(table, weights, mean_of) for table in (model, base))

    def verdict_of(ours, higher_is_better=True):
        found = measure.compare(ours, theirs, "mean", higher_is_better=higher_is_better)
        return found["verdict"]

    assert verdict_of(ours).startswith(verdict)
    if gain:
        opposite = {"better": "worse", "worse": "better"}[verdict]
        assert verdict_of(ours, higher_is_better=False) == opposite
        for wide in (  # over seeds, and over days
            ours._replace(seeds={"mean": gain + np.array([-9.0, 0.0, 9.0])}),
            ours._replace(draws={"mean": gain + np.linspace(-9.0, 9.0, 500)}),
        ):
            assert verdict_of(wide) == "no difference beyond chance"
