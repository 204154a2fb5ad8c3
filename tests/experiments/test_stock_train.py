"""Runs: files, exact resume, choice by seed, and that chance is called chance."""

import dataclasses
import json
import math
import os

import jax
import numpy as np
import pytest

from experiments.common import checkpoints
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.networks import CELLS
from experiments.stock_prediction import seeds, train
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily import make_daily
from experiments.stock_prediction.daily_measure import measure
from experiments.stock_prediction.features import NUM_FEATURES, days_of
from experiments.stock_prediction.hours import BORDERS, Hours
from experiments.stock_prediction.metrics import METRICS
from experiments.stock_prediction.model import daily_model, hourly_model
from experiments.stock_prediction.panel import make_panel
from experiments.stock_prediction.predict import predict
from experiments.stock_prediction.prices import ANY_MOVE, PriceData, load_prices
from experiments.stock_prediction.splits import walk_forward
from tests.experiments.stock_data import SMALL, momentum, random_walk, write_csv

NAMES = seeds.model_names(SMALL.num_folds, SMALL.num_seeds)


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prices")
    for i in range(2):
        write_csv(folder / f"s{i}.csv", random_walk(330, i))
    return dataclasses.replace(SMALL, data=str(folder))


@pytest.fixture(scope="module")
def run(prices, tmp_path_factory):
    """One finished run, and its result."""
    folder = tmp_path_factory.mktemp("run") / "run"
    return folder, train.train(prices, folder)


def saved(folder, step):
    target = seeds.state_shapes(SMALL, daily_model(SMALL, NUM_FEATURES).init, SMALL.num_folds)
    return checkpoints.restore(folder / "checkpoints", step, target).state


def test_a_run_leaves_its_files_and_figures(run):
    folder, result = run
    files = {path.name for path in folder.iterdir()}
    assert files >= {"run.json", "metrics.jsonl", "result.json", "tensorboard", "checkpoints"}
    for name in ("learning_curve", "reliability", "folds"):
        assert (folder / f"{name}.png").stat().st_size > 5000
    assert json.loads((folder / "result.json").read_text()) == result
    test = result["test"]
    assert (test["days"], test["forecasts"], len(result["folds"])) == (120, 240, 2)
    methods = test["methods"]
    assert methods["always up"]["mcc"]["value"] == 0.0
    assert methods["random walk"]["nats"]["value"] == pytest.approx(math.log(2))
    assert methods["EWMA"]["accuracy"] is None
    for metric in METRICS:
        figure = methods["network"][metric]
        assert len(figure["each"]) == SMALL.num_seeds
        assert figure["value"] == pytest.approx(np.mean(figure["each"]))
        assert figure["days"][0] <= figure["value"] <= figure["days"][1]
        assert test["comparisons"][metric]["verdict"] != "better"  # of a random walk


def test_the_default_run_works_offline(tmp_path, capsys):
    pytest.importorskip("bokeh_sampledata")
    days = {"data": Config().data, "test_days": 252, "valid_days": 252}
    result = train.train(dataclasses.replace(SMALL, **days), tmp_path / "run")
    out = capsys.readouterr().out
    assert "data bokeh: 5 series" in out
    assert "always up" in out
    assert "does NOT beat the best baseline" in out or "is worse" in out
    # computed by hand from the package: the share of ups after the last 2 x 252 days
    assert 0.45 < result["test"]["methods"]["always up"]["accuracy"]["value"] < 0.6


def test_resume_is_exact(prices, run, tmp_path):
    whole, result = run
    half = dataclasses.replace(prices, steps=4)
    part = tmp_path / "part"

    class Killed(Exception):
        pass

    with pytest.MonkeyPatch.context() as patch:
        batch_at = train.load(half).problem.batch_at

        def killed(config):
            task = load(config)

            def until_three(step):
                if step == 3:
                    raise Killed
                return batch_at(step)

            return task._replace(problem=task.problem._replace(batch_at=until_three))

        load = train.load
        patch.setattr(train, "load", killed)
        with pytest.raises(Killed):
            train.train(half, part)
    again = train.train(half, part, resume=True)
    for a, b in zip(
        jax.tree.leaves(saved(whole, 4).params), jax.tree.leaves(saved(part, 4).params), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    for key in ("test", "folds", "best_steps"):
        assert again[key] == result[key]
    for a, b in zip(read_metrics(whole), read_metrics(part), strict=True):
        assert a["train_loss"] == b["train_loss"]
    with pytest.raises(InputError, match="already holds a run"):
        train.train(half, part)
    with pytest.raises(InputError, match="hidden_size is 5, was 4"):
        train.train(dataclasses.replace(half, hidden_size=5), part, resume=True)


def test_every_seed_is_chosen_by_its_own_validation(run, capsys):
    folder, result = run
    records = [r for r in read_metrics(folder) if "validation_loss" in r]
    assert [r["step"] for r in records] == [2, 4]
    target = saved(folder, 2)
    chosen = seeds.choose(folder, target, NAMES)
    for m, name in enumerate(NAMES):
        losses = [r[f"validation_{name}"] for r in records]
        step = int(records[int(np.argmin(losses))]["step"])
        assert chosen.steps[m] == step == result["best_steps"][name]
        for a, b in zip(
            jax.tree.leaves(chosen.params), jax.tree.leaves(saved(folder, step).params), strict=True
        ):
            np.testing.assert_array_equal(a[m], b[m])


def test_seeds_side_by_side_are_seeds_alone(prices, run):
    """Model 0 of a run, and the same seed trained by itself, agree."""
    folder, _ = run
    alone = dataclasses.replace(prices, num_seeds=1)
    task = train.load(alone)
    state = seeds.initial_states(alone, task.problem.init, 2)
    step = seeds.make_train_step(alone, task.problem)
    for i in range(4):
        state, _ = step(state, task.problem.batch_at(i))
    together = saved(folder, 4).params
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(a, b[:: SMALL.num_seeds], rtol=1e-4, atol=1e-6)


def data_of(series, config, shift=0):
    """Return series as data; with a shift each day has the answer of so many days later."""
    days = []
    for one in map(days_of, series):
        answers = np.roll(one.next_returns[:-1], -shift)
        days.append(one._replace(next_returns=np.append(answers, np.nan)))
    folds = walk_forward(days, config.num_folds, config.test_days, config.valid_days)
    return PriceData("made up", "none", tuple(days), folds, ANY_MOVE, ())


LEARNING = dataclasses.replace(
    SMALL, hidden_size=8, dropout=0.0, steps=60, batch_size=8, learning_rate=0.03
)


def learned(series, config=LEARNING, shift=0):
    """Train without files and return the test figures."""
    task = make_daily(config, data_of(series, config, shift))
    state = seeds.initial_states(config, task.problem.init, config.num_folds)
    step = seeds.make_train_step(config, task.problem)
    for i in range(config.steps):
        state, _ = step(state, task.problem.batch_at(i))
    return measure(config, task, state.params)["test"]


def test_what_can_be_predicted_is_and_permuted_labels_are_not():
    series = [momentum(500, i) for i in range(2)]
    found = learned(series)["methods"]["network"]["mcc"]
    assert min(found["each"]) > 0.6  # so that the rest of this test means something
    control = learned(series, dataclasses.replace(LEARNING, permute_labels=True))
    mcc = control["methods"]["network"]["mcc"]
    assert abs(mcc["value"]) < 0.15  # 240 forecasts: a deviation of 0.065
    assert control["comparisons"]["mcc"]["verdict"] != "better"


def test_shifted_labels_are_not_predicted_unless_they_are_known():
    """Were a day's own answer anywhere in its features, a random walk would be predicted."""
    walks = [random_walk(500, i) for i in range(2)]
    # Shifted back by a day a label is the return just seen. If that were not found at once,
    # failing to predict the others would prove nothing.
    known = learned(walks, shift=-1)["methods"]["network"]["mcc"]
    assert min(known["each"]) > 0.8
    for shift in (0, 7):
        found = learned(walks, shift=shift)
        network = found["methods"]["network"]
        assert abs(network["mcc"]["value"]) < 0.15  # 240 forecasts: a deviation of 0.065
        assert network["nats"]["value"] > math.log(2) - 0.02
        assert all(one["verdict"] != "better" for one in found["comparisons"].values())


def test_another_future_leaves_past_forecasts_bit_for_bit():
    """Of the folds whose test is past, and of all their days up to the cut."""
    config = SMALL
    series, other = random_walk(330, 0), random_walk(330, 9)
    cut = 300  # within the second fold's test days
    prices = np.concatenate([series.prices[:cut], 2.0 * other.prices[cut:]])
    tasks = [
        make_daily(config, data_of([one, random_walk(330, 1)], config))
        for one in (series, series._replace(prices=prices))
    ]
    params = seeds.initial_states(config, tasks[0].problem.init, config.num_folds).params
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # the readout starts from zero
    forecasts = [task.forecast_all(params) for task in tasks]
    known = 300 - 22  # days whose close is before the cut
    for before, after in zip(*forecasts, strict=True):
        assert before[:, :, :known].tobytes() == after[:, :, :known].tobytes()
        assert before[:, :, :, 1].tobytes() == after[:, :, :, 1].tobytes()
        assert (before[:, :, known:, 0] != after[:, :, known:, 0]).all()
    assert tasks[0].scalings[0].mean.tobytes() == tasks[1].scalings[0].mean.tobytes()
    assert tasks[0].baselines == tasks[1].baselines
    for step in range(3):
        for a, b in zip(*(task.problem.batch_at(step) for task in tasks), strict=True):
            np.testing.assert_array_equal(a, b)


HOURLY = dataclasses.replace(
    SMALL,
    data="etth1",
    input_length=24,
    horizon=4,
    segment_length=8,
    learning_rate=0.02,
)


@pytest.fixture
def hours(monkeypatch):
    t = np.arange(BORDERS[-1] + 5)
    waves = np.stack([np.sin(2 * np.pi * t / 24), 3 + 2 * np.cos(2 * np.pi * t / 12)], axis=-1)
    noise = 0.3 * np.random.default_rng(0).standard_normal(waves.shape)
    times = np.datetime64("2016-07-01T00", "h") + t
    made = Hours(("A", "B"), times, waves + noise)
    monkeypatch.setattr(train, "load_hours", lambda data_dir: made)
    return made


def write_hours(path, hours, rows):
    lines = ["date," + ",".join(hours.names)]
    for time, row in zip(hours.times[rows], hours.values[rows].tolist(), strict=True):
        lines.append(f"{str(time).replace('T', ' ')}:00:00," + ",".join(map(repr, row)))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_hours_are_trained_on_measured_and_forecast(hours, tmp_path, capsys):
    folder = tmp_path / "run"
    result = train.train(HOURLY, folder)
    assert "linear (ridge)" in capsys.readouterr().out
    for name in ("learning_curve", "forecasts", "errors_by_hour"):
        assert (folder / f"{name}.png").stat().st_size > 5000
    methods = result["test"]["methods"]
    assert result["test"]["windows"] == 4 * 30 * 24 - 4 + 1
    assert methods["linear (ridge)"]["mse"]["value"] < methods["persistence"]["mse"]["value"]
    by_hour = result["by_hour"]["persistence"]
    assert methods["persistence"]["mse"]["value"] == pytest.approx(np.mean(by_hour))

    file = write_hours(tmp_path / "mine.csv", hours, slice(-100, None))
    out = tmp_path / "forecast.csv"
    text = predict(folder, file, output=out)
    assert f"the 4 hours after {hours.times[-1]}" in text
    assert "persistence" in text
    written = out.read_text().splitlines()
    assert written[0] == "date,A,B"
    assert written[1].startswith(
        str(hours.times[-1] + np.timedelta64(1, "h")).replace("T", " ") + ":00:00,"
    )
    assert len(written) == 5
    early = write_hours(tmp_path / "early.csv", hours, slice(0, 200))
    assert "no figures on past hours" in predict(folder, early)
    for change, message in (
        (lambda s: s.replace("A,B", "B,A"), "has learned date, A, B"),
        (lambda s: "\n".join(s.splitlines()[:20]), "has 19 hours; the run reads 24"),
        (lambda s: "\n".join(s.splitlines()[:30] + s.splitlines()[31:]), "line 31: .* follows"),
        (lambda s: s.replace(s.splitlines()[5].split(",")[1], "nan"), "line 6: 'nan' is no number"),
    ):
        bad = tmp_path / "bad.csv"
        bad.write_text(change(file.read_text()))
        with pytest.raises(InputError, match=message):
            predict(folder, bad)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_fits_both_networks(cell):
    config = dataclasses.replace(HOURLY, cell=cell, num_layers=2, skip="residual")
    for model, x, shape in (
        (daily_model(config, NUM_FEATURES), (9, 3, NUM_FEATURES), (9, 3, 2)),
        (hourly_model(config, 2), (3, 24, 2), (3, 4, 2)),
    ):
        params = jax.eval_shape(model.init, jax.random.key(0))
        y = jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct(x, np.float32))
        assert (y.shape, y.dtype) == (shape, np.float32)


def test_the_hourly_network_reads_each_variable_by_itself_and_no_level():
    model = hourly_model(HOURLY, 2)
    apply = jax.jit(model.apply)
    params = jax.jit(model.init)(jax.random.key(0))
    x = np.random.default_rng(0).standard_normal((3, 24, 2)).astype(np.float32)
    y = np.asarray(apply(params, x))
    assert y.shape == (3, 4, 2)
    other = x.copy()
    other[..., 1] += np.random.default_rng(1).standard_normal((3, 24)).astype(np.float32)
    after = np.asarray(apply(params, other))
    np.testing.assert_allclose(after[..., 0], y[..., 0], rtol=1e-5, atol=1e-6)
    assert (np.abs(after[..., 1] - y[..., 1]) > 1e-3).any()
    raised = np.asarray(apply(params, x + np.float32(7.0)))
    np.testing.assert_allclose(raised, y + 7.0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("option", [{"permute_labels": True}, {"input_length": 16}])
def test_settings_that_do_not_go_with_hours(hours, tmp_path, option):
    with pytest.raises(InputError, match="--" + next(iter(option)).replace("_", "-")):
        train.train(dataclasses.replace(HOURLY, **option), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_that_cannot_be_run_leaves_no_run(prices, hours, tmp_path):
    for config in (prices, HOURLY):
        config = dataclasses.replace(config, skip="dense", schedule="wavefront")
        with pytest.raises(InputError, match="schedule='wavefront' cannot run this network"):
            train.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_acl18_is_split_and_labelled_as_published():
    if not os.environ.get("DEEPRNN_DATA"):
        pytest.skip("DEEPRNN_DATA names no folder with StockNet's prices")
    data = load_prices(dataclasses.replace(SMALL, data="acl18"))
    panel = make_panel(data.series, data.moves)
    (fold,) = data.folds
    train, valid, test = (
        period.holds(panel.next_dates) & panel.moved
        for period in (fold.train, fold.valid, fold.test)
    )
    assert len(data.series) == 88
    # Xu and Cohen 2018 count 20,339, 2,555 and 3,720.
    assert [part.sum() for part in (train, valid, test)] == [20_325, 2_555, 3_720]
    assert panel.up[test].mean() == pytest.approx(0.5129, abs=5e-5)
