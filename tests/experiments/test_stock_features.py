"""Features, folds and chunks: right, and without a look ahead."""

import dataclasses
import itertools

import numpy as np
import pytest

from experiments.common.errors import InputError
from experiments.stock_prediction.daily.batches import batch_at, make_chunks
from experiments.stock_prediction.daily.data import load
from experiments.stock_prediction.daily.features import (
    NUM_FEATURES,
    WARM_UP,
    days_of,
    ewma_variance,
)
from experiments.stock_prediction.daily.files import PriceSeries
from experiments.stock_prediction.daily.panel import (
    ACL18_MOVES,
    ANY_MOVE,
    Moves,
    fit_scaling,
    make_panel,
    permuted,
)
from experiments.stock_prediction.daily.splits import ACL18_FOLD, Period, period, walk_forward
from tests.experiments.stock_data import SMALL, random_walk, weekdays, write_csv


def by_hand(r, t):
    """Give day t's features from returns 0 ... t alone, in plain Python."""
    v = {}
    for decay in (0.94, 0.99):
        value = sum(x * x for x in r[:22]) / 22
        before = value
        for x in r[22 : t + 1]:
            before, value = value, decay * value + (1 - decay) * x * x
        v[decay] = (before, value)
    before, now = v[0.94]
    surprise = r[t] / before**0.5
    rms = {n: (sum(x * x for x in r[t - n + 1 : t + 1]) / n) ** 0.5 for n in (5, 22)}
    return [
        surprise,
        np.log(abs(surprise) + 0.1),
        sum(r[t - 4 : t + 1]) / (5 * now) ** 0.5,
        sum(r[t - 21 : t + 1]) / (22 * now) ** 0.5,
        np.log(rms[5] / now**0.5),
        np.log(rms[22] / now**0.5),
        0.5 * np.log(now / v[0.99][1]),
    ]


def test_features_are_those_of_the_equations():
    series = random_walk(80, 0)
    r = np.diff(np.log(series.prices)).tolist()
    days = days_of(series)
    assert days.features.shape == (80 - WARM_UP, NUM_FEATURES)
    for k in range(len(days.dates)):
        t = k + WARM_UP - 1  # of the returns
        np.testing.assert_allclose(days.features[k], by_hand(r, t), rtol=1e-9)
        assert days.dates[k] == series.dates[t + 1]
        np.testing.assert_array_equal(days.lags[k], r[t : t - 5 : -1])
        np.testing.assert_allclose(days.history[k], np.mean(np.square(r[: t + 1])))
        expected = [max(np.mean(np.square(r[t - n + 1 : t + 1])), 1e-8) for n in (1, 5, 22)]
        np.testing.assert_allclose(days.mean_squares[k], expected)
        if k < len(days.dates) - 1:
            assert days.next_returns[k] == r[t + 1]
            assert days.next_dates[k] == series.dates[t + 2]
    assert np.isnan(days.next_returns[-1])
    assert np.isnat(days.next_dates[-1])


def test_features_have_no_unit():
    series = random_walk(80, 0)
    days, dearer = days_of(series), days_of(series._replace(prices=series.prices * 1000))
    np.testing.assert_allclose(dearer.features, days.features, rtol=1e-7, atol=1e-9)
    wilder = days_of(series._replace(prices=series.prices**3))
    np.testing.assert_allclose(wilder.features, days.features, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("cut", [30, 60, 77])
def test_another_future_leaves_all_that_is_past_bit_for_bit(cut):
    series, other = random_walk(80, 0), random_walk(80, 1)
    prices = np.concatenate([series.prices[:cut], other.prices[cut:] * 3.0])
    before, after = days_of(series), days_of(series._replace(prices=prices))
    known = cut - WARM_UP  # days whose close is before the cut
    for name in ("features", "variance", "history", "mean_squares", "lags"):
        a, b = getattr(before, name), getattr(after, name)
        assert a[:known].tobytes() == b[:known].tobytes(), name
        assert (a[known:] != b[known:]).any(), name
    assert before.next_returns[: known - 1].tobytes() == after.next_returns[: known - 1].tobytes()
    assert before.next_returns[known - 1] != after.next_returns[known - 1]


def test_a_price_that_stands_still_has_features():
    series = random_walk(80, 0)
    prices = np.concatenate([np.full(50, 10.0), series.prices[50:]])
    assert np.isfinite(days_of(series._replace(prices=prices)).features).all()
    assert ewma_variance(np.zeros(40), 0.94).min() > 0


def test_a_series_too_short_for_one_day_is_refused():
    assert len(days_of(random_walk(WARM_UP + 1, 0)).dates) == 1
    with pytest.raises(InputError, match=f"has {WARM_UP} daily prices .* {WARM_UP + 1} are"):
        days_of(random_walk(WARM_UP, 0))


def test_folds_are_disjoint_ordered_and_expand():
    series = [days_of(random_walk(300, i)) for i in range(2)]
    folds = walk_forward(series, num_folds=3, test_days=40, valid_days=30)
    answered = series[0].next_dates[:-1]
    seen_tests = np.zeros(len(answered), int)
    for i, fold in enumerate(folds):
        train, valid, test = (p.holds(answered) for p in (fold.train, fold.valid, fold.test))
        assert not (train & valid | train & test | valid & test).any()
        assert answered[train].max() < answered[valid].min() <= answered[valid].max()
        assert answered[valid].max() < answered[test].min()
        assert (train.sum(), valid.sum(), test.sum()) == (277 - 150 + 40 * i, 30, 40)
        seen_tests += test
    assert seen_tests.max() == 1
    assert seen_tests.sum() == 120
    assert folds[-1].test.holds(answered[-1:]).all()
    assert not folds[0].train.holds(np.array(["NaT"], "datetime64[D]")).any()


def test_folds_need_days_enough():
    series = [days_of(random_walk(300, 0))]
    with pytest.raises(InputError, match="277 trading days are too few for num_folds=4"):
        walk_forward(series, num_folds=4, test_days=60, valid_days=40)


def test_the_published_split_is_disjoint_and_ordered():
    fold = ACL18_FOLD
    ends = [fold.train, fold.valid, fold.test, fold.later]
    assert all(a.end <= b.start for a, b in itertools.pairwise(ends))


def test_moves_are_those_of_the_paper():
    plain = np.array([0.0056, 0.0054, 0.0, -0.0049, -0.0051])
    np.testing.assert_array_equal(ACL18_MOVES.up(np.log1p(plain)), plain > 0.0055)
    np.testing.assert_array_equal(ACL18_MOVES.down(np.log1p(plain)), plain <= -0.005)
    assert not ANY_MOVE.up(np.zeros(1)).any()
    assert not ANY_MOVE.down(np.zeros(1)).any()


@pytest.fixture
def panel():
    lengths = (200, 120, 150)
    return make_panel([days_of(random_walk(n, i)) for i, n in enumerate(lengths)], ANY_MOVE)


TRAIN = period("2001-03-01", "2001-06-01")
CHUNKED = dataclasses.replace(SMALL, chunk_length=20, burn_in=6, batch_size=7, seed=3)


def test_a_panel_is_padded_at_the_end(panel):
    assert panel.lengths.tolist() == [n - WARM_UP for n in (200, 120, 150)]
    padding = np.arange(len(panel.up))[:, None] >= panel.lengths - 1
    assert not panel.moved[padding].any()
    assert np.isnat(panel.next_dates[padding]).all()
    assert not np.isnat(panel.next_dates[~padding]).any()
    np.testing.assert_array_equal(panel.up, panel.next_returns > 0)
    np.testing.assert_array_equal(panel.moved, panel.next_returns != 0)


def test_padding_is_no_move_whatever_counts_as_one():
    panel = make_panel([days_of(random_walk(n, n)) for n in (60, 40)], Moves(-1.0, 1.0))
    np.testing.assert_array_equal(panel.up, panel.asked)  # above -100 % are all, where there is one
    np.testing.assert_array_equal(panel.moved, panel.asked)
    assert (panel.next_returns[~panel.asked] == 0).all()


def test_scaling_is_by_training_days_alone(panel):
    scaling = fit_scaling(panel, TRAIN)
    rows = np.concatenate(
        [
            panel.features[(dates >= TRAIN.start) & (dates < TRAIN.end), n]
            for n, dates in enumerate(panel.next_dates.T)
        ]
    )
    np.testing.assert_allclose(scaling.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.deviation, rows.std(axis=0), rtol=1e-12)
    later = panel.next_dates >= TRAIN.end
    changed = panel._replace(features=np.where(later[..., None], 99.0, panel.features))
    again = fit_scaling(changed, TRAIN)
    assert again.mean.tobytes() == scaling.mean.tobytes()
    assert again.deviation.tobytes() == scaling.deviation.tobytes()


def test_chunks_hold_no_day_after_training(panel):
    fold = ACL18_FOLD._replace(train=TRAIN)
    scaling = fit_scaling(panel, TRAIN)
    chunks = make_chunks(panel, [fold], [scaling], CHUNKED)
    (places,) = chunks.places
    dates = panel.next_dates[places[:, :1] + np.arange(20), places[:, 1:]]
    assert (dates < TRAIN.end).all()
    counted = dates[:, 6:] >= TRAIN.start
    assert counted.all()
    # and every training day of every series is in one of them
    for n in range(3):
        inside = TRAIN.holds(panel.next_dates[:, n])
        assert set(dates[places[:, 1] == n].ravel()) >= set(panel.next_dates[inside, n])


def test_a_batch_is_what_it_says(panel):
    fold = ACL18_FOLD._replace(train=TRAIN)
    other = ACL18_FOLD._replace(train=Period(TRAIN.start, np.datetime64("2001-08-01")))
    scalings = [fit_scaling(panel, one.train) for one in (fold, other)]
    chunks = make_chunks(panel, [fold, other], scalings, CHUNKED)
    batch = batch_at(panel, chunks, 5, CHUNKED)
    assert batch.x.shape == (4, 20, 7, NUM_FEATURES)
    again = batch_at(panel, chunks, 5, CHUNKED)
    assert all((a == b).all() for a, b in zip(batch, again, strict=True))
    assert (batch.x[0] != batch.x[1]).any()  # seeds draw on their own
    # seed 4 of a run that starts from 4 is the second of one that starts from 3
    shifted = batch_at(panel, chunks, 5, dataclasses.replace(CHUNKED, seed=4))
    np.testing.assert_array_equal(shifted.x[0], batch.x[1])
    assert (batch.asked[:, :6] == 0).all()
    assert (batch.asked[:, 6:] == 1).all()
    for m, scaling in enumerate(np.repeat(np.arange(2), 2)):
        for b in range(7):
            t, n = _place(panel, scalings[scaling], batch.x[m, :, b])
            np.testing.assert_array_equal(batch.up[m, :, b], panel.up[t : t + 20, n])
            ratio = (panel.next_returns**2 / panel.variance)[t : t + 20, n]
            np.testing.assert_allclose(batch.ratio[m, :, b], ratio, rtol=1e-6)


def _place(panel, scaling, x):
    """Find where a chunk was cut from."""
    scaled = scaling(panel.features)
    found = np.argwhere((scaled == x[0]).all(axis=-1))
    assert len(found) == 1
    t, n = found[0]
    np.testing.assert_array_equal(scaled[t : t + len(x), n], x)
    return t, n


def test_chunks_longer_than_the_training_are_refused(panel):
    fold = ACL18_FOLD._replace(train=TRAIN)
    too_long = dataclasses.replace(CHUNKED, chunk_length=99)
    with pytest.raises(InputError, match="chunk_length=99 days within 2001-03-01 to 2001-05-31"):
        make_chunks(panel, [fold], [fit_scaling(panel, TRAIN)], too_long)


def test_permuted_answers_are_the_same_answers_elsewhere(panel):
    dealt = permuted(panel, 0)
    for n, length in enumerate(panel.lengths):
        own = slice(0, length - 1)
        assert sorted(dealt.next_returns[own, n]) == sorted(panel.next_returns[own, n])
        assert np.mean(dealt.next_returns[own, n] == panel.next_returns[own, n]) < 0.1
    np.testing.assert_array_equal(dealt.up, dealt.next_returns > 0)
    np.testing.assert_array_equal(dealt.features, panel.features)


def test_a_folder_of_files_is_a_data_set(tmp_path):
    write_csv(tmp_path / "a.csv", random_walk(300, 0))
    write_csv(tmp_path / "b.csv", random_walk(300, 1))
    write_csv(tmp_path / "c.csv", random_walk(10, 2))
    data = load(dataclasses.replace(SMALL, data=str(tmp_path)))
    assert [days.name for days in data.series] == ["a", "b"]
    assert data.notes == ("c: 10 days from 2001-01-01 left out; 23 are the least",)
    assert len(data.folds) == 2
    moved = load(dataclasses.replace(SMALL, data=str(tmp_path), test_days=61))
    assert moved.digest != data.digest


def test_a_folder_without_files_and_short_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file \*.csv in"):
        load(dataclasses.replace(SMALL, data=str(tmp_path)))
    path = write_csv(tmp_path / "a.csv", PriceSeries("a", weekdays(5), np.arange(1.0, 6.0)))
    with pytest.raises(InputError, match="no series has the 23 daily prices"):
        load(dataclasses.replace(SMALL, data=str(path)))
    with pytest.raises(InputError, match="cannot read none"):
        load(dataclasses.replace(SMALL, data="none"))
