"""Runs: files, going on, choice by seed, what is learned, and forecasts for a user's file."""

import csv
import dataclasses
import functools
import json
import math
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common import checkpoints, command
from experiments.common.errors import InputError
from experiments.common.experiment import Model, Trained
from experiments.common.metrics import read_metrics
from experiments.common.networks import CELLS
from experiments.common.optimizers import adamw_of
from experiments.common.training import first_state, load_trained, train
from experiments.common.updates import make_train_step
from experiments.stock_prediction import daily, hourly
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily.batches import Batch
from experiments.stock_prediction.daily.data import load, prepare
from experiments.stock_prediction.daily.features import NUM_FEATURES, days_of
from experiments.stock_prediction.daily.metrics import METRICS
from experiments.stock_prediction.daily.problem import make_forecast, make_problem, validation
from experiments.stock_prediction.experiment import EXPERIMENT
from experiments.stock_prediction.hourly.data import BORDERS, Hours
from experiments.stock_prediction.problem import model_keys, model_names, of_each
from tests.experiments.runs import bits
from tests.experiments.stock_data import SMALL, momentum, random_walk, write_csv

FACTS = {"num_folds": SMALL.num_folds, "num_features": NUM_FEATURES}
# One worker of pytest-xdist for the tests that share a run and its compiled programs.
pytestmark = pytest.mark.xdist_group("stock_train")


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
    return folder, train(EXPERIMENT, prices, folder)


def test_the_loss_is_of_days_that_moved_and_of_those_asked_for(prices):
    """Nats of the direction and half the volatility's QLIKE, day by day."""
    config = dataclasses.replace(prices, volatility_weight=0.6)
    rng = np.random.default_rng(0)
    out = rng.normal(size=(5, 3, 2)).astype(np.float32)
    model = Model(init=lambda key: (), apply=lambda params, x, key=None: out)
    up, moved, asked = (rng.random((5, 3)) < 0.6 for _ in range(3))
    ratio = rng.random((5, 3))
    batch = Batch(*(np.float32(a) for a in (out, up, moved, ratio, asked)))
    loss, carry = make_problem(config, load(prices), model).loss_fn((), batch, None, None)

    nats, qlike = [], []
    for day in np.ndindex(5, 3):
        logit, a = map(float, out[day])
        if moved[day]:
            nats.append(math.log(1 + math.exp(-logit if up[day] else logit)))
        if asked[day]:
            qlike.append(a + ratio[day] * math.exp(-a))
    assert carry is None
    assert float(loss) == pytest.approx(np.mean(nats) + 0.6 * 0.5 * np.mean(qlike), rel=1e-5)


@pytest.fixture(scope="module")
def trained(run):
    return load_trained(EXPERIMENT, run[0])


def first_of(config):
    """Return the states before the first step; they need no data but for the number of folds."""
    model = EXPERIMENT.build(config, FACTS)
    return first_state(EXPERIMENT, config, FACTS, model)


@functools.cache
def first_params():
    """Return the parameters before the first step, of models as in `SMALL`."""
    return jax.jit(first_of(SMALL))().params


def test_a_run_leaves_its_files_and_figures(run):
    folder, result = run
    files = {path.name for path in folder.iterdir()}
    assert files >= {"run.json", "metrics.jsonl", "result.json", "tensorboard", "checkpoints"}
    for name in ("learning_curve", "reliability", "folds"):
        assert (folder / f"{name}.png").stat().st_size > 5000
    assert json.loads((folder / "result.json").read_text()) == result
    assert len(result["best_step"]) == 4
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


def test_the_default_data_are_there_offline():
    pytest.importorskip("bokeh_sampledata")
    config = dataclasses.replace(SMALL, data=Config().data, test_days=252, valid_days=252)
    data = EXPERIMENT.load(config)
    assert EXPERIMENT.describe(data).startswith("data bokeh: 5 series")
    figures, found = EXPERIMENT.measure(untrained(config, data), data)
    # computed by hand from the package: the share of ups after the last 2 x 252 days
    assert 0.45 < figures["test"]["methods"]["always up"]["accuracy"]["value"] < 0.6
    assert len(found.dates) == figures["test"]["days"] == 504
    text = "\n".join(daily.report.summary(figures | {"data": "bokeh"}))
    assert "does NOT beat the best baseline" in text or "is worse" in text


def test_going_on_gives_the_same_bits(prices, run, tmp_path):
    whole, result = run
    part = tmp_path / "part"
    shutil.copytree(whole, part)
    shutil.rmtree(part / "checkpoints" / "00000004")
    experiment = dataclasses.replace(EXPERIMENT, report=lambda *found: "")
    again = train(experiment, prices, part, resume=True)
    assert bits(part, 4) == bits(whole, 4)
    for key in ("test", "folds", "best_step"):
        assert again[key] == result[key]


def test_every_seed_is_chosen_by_its_own_validation(run, trained):
    folder, result = run
    records = [r for r in read_metrics(folder) if "validation_loss" in r]
    assert [r["step"] for r in records] == [2, 4]
    target = jax.eval_shape(first_of(SMALL))
    saved = {
        step: checkpoints.restore(folder / "checkpoints", step, target).state.params
        for step in (2, 4)
    }
    for m, name in enumerate(model_names(SMALL, FACTS)):
        losses = [r[f"validation_{name}"] for r in records]
        step = int(records[int(np.argmin(losses))]["step"])
        assert trained.best_step[m] == step == result["best_step"][name]
        for a, b in zip(
            jax.tree.leaves(trained.params),
            jax.tree.leaves(saved[step]),
            strict=True,
        ):
            np.testing.assert_array_equal(a[m], b[m])


def untrained(config, data):
    model = EXPERIMENT.build(config, data.facts)
    return Trained(Path(), config, data.facts, model, first_params(), [], None)


def test_seeds_side_by_side_are_seeds_alone(prices):
    """The first seed of a run has the key, the batches and the validation that it has alone."""
    alone = dataclasses.replace(prices, num_seeds=1)
    data, model = EXPERIMENT.load(alone), EXPERIMENT.build(alone, FACTS)
    keys, keys_alone = (jax.random.key_data(model_keys(c, FACTS)) for c in (prices, alone))
    assert len(np.unique(keys, axis=0)) == 4
    np.testing.assert_array_equal(keys[::2], keys_alone)
    together, by_itself = (EXPERIMENT.problem(c, data, model) for c in (prices, alone))
    for step in range(3):
        for a, b in zip(together.batch_at(step), by_itself.batch_at(step), strict=True):
            np.testing.assert_array_equal(a[::2], b)
    random = np.random.default_rng(0)
    said = random.uniform(0.2, 0.8, (2, 2, 2, *data.panel.up.shape))  # of anything, [F, S, T, N]
    losses, *parts = validation(prices, data, said)
    for a, b in zip((losses, *parts), validation(alone, data, said[:, :, :1]), strict=True):
        np.testing.assert_array_equal(a[::2], b)
    named, named_alone = of_each(prices, FACTS, losses), of_each(alone, FACTS, losses[::2])
    assert named_alone.pop("validation_loss") == losses[::2].mean()
    assert len(named_alone) == 2
    assert named_alone.items() <= named.items()


def data_of(series, config, shift=0):
    """Return series as data; with a shift each day has the answer of so many days later."""
    days = []
    for one in map(days_of, series):
        answers = np.roll(one.next_returns[:-1], -shift)
        days.append(one._replace(next_returns=np.append(answers, np.nan)))
    return prepare(config, "made up", "none", (), days)


LEARNING = dataclasses.replace(
    SMALL, hidden_size=8, dropout=0.0, steps=60, batch_size=8, learning_rate=0.03
)


@pytest.fixture(scope="module")
def learned():
    """Train without files and return the test figures; compiled once, as all are of one shape."""
    model, draw, steps = EXPERIMENT.build(LEARNING, FACTS), jax.jit(first_of(LEARNING)), []

    def learn(series, config=LEARNING, shift=0):
        data = data_of(series, config, shift)
        problem = EXPERIMENT.problem(config, data, model)
        if not steps:
            steps.append(make_train_step(problem.loss_fn, *adamw_of(config), many=True))
        state = draw()
        for i in range(config.steps):
            state, _ = steps[0](state, problem.batch_at(i))
        trained = Trained(Path(), config, data.facts, model, state.params, [], None)
        return EXPERIMENT.measure(trained, data)[0]["test"]

    return learn


def test_what_can_be_predicted_is_and_permuted_labels_are_not(learned):
    series = [momentum(500, i) for i in range(2)]
    found = learned(series)["methods"]["network"]["mcc"]
    assert min(found["each"]) > 0.6  # so that the rest of this test means something
    control = learned(series, dataclasses.replace(LEARNING, permute_labels=True))
    mcc = control["methods"]["network"]["mcc"]
    assert abs(mcc["value"]) < 0.15  # 240 forecasts: a deviation of 0.065
    assert control["comparisons"]["mcc"]["verdict"] != "better"


def test_shifted_labels_are_not_predicted_unless_they_are_known(learned):
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
    both = [
        data_of([one, random_walk(330, 1)], config)
        for one in (series, series._replace(prices=prices))
    ]
    model = EXPERIMENT.build(config, FACTS)
    # the readout starts from zero
    params = jax.tree.map(lambda leaf: leaf + 0.1, first_params())
    forecasts = [make_forecast(model, data)(params) for data in both]
    known = 300 - 22  # days whose close is before the cut
    for before, after in zip(*forecasts, strict=True):
        assert before[:, :, :known].tobytes() == after[:, :, :known].tobytes()
        assert before[:, :, :, 1].tobytes() == after[:, :, :, 1].tobytes()
        assert (before[:, :, known:, 0] != after[:, :, known:, 0]).all()
    assert both[0].scalings[0].mean.tobytes() == both[1].scalings[0].mean.tobytes()
    assert both[0].baselines == both[1].baselines
    problems = [EXPERIMENT.problem(config, data, model) for data in both]
    for step in range(3):
        for a, b in zip(*(problem.batch_at(step) for problem in problems), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_next_day_of_a_users_prices(run, trained, tmp_path, capsys):
    series = random_walk(500, 7, "mine")
    write_csv(tmp_path / "mine.csv", series)
    output = tmp_path / "out.csv"
    options = ["--workdir", str(run[0]), "--output", str(output)]
    command.main(EXPERIMENT, ["--predict", str(tmp_path / "mine.csv"), *options])
    text = capsys.readouterr().out
    assert f"mine: the trading day after {series.dates[-1]}" in text
    for name in ("network, mean of 2 seeds", "share of ups", "AR(5)", "EWMA", "HAR", "always up"):
        assert name in text
    with output.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["date"] for row in rows] == [str(d) for d in series.dates[22:]]
    p = np.array([float(row["p_up"]) for row in rows])
    assert ((p > 0) & (p < 1)).all()
    # the models start from the EWMA, and four steps do not lead far
    volatility = np.array([[float(row[k]) for k in ("volatility", "ewma")] for row in rows])
    np.testing.assert_allclose(volatility[:, 0], volatility[:, 1], rtol=0.2)
    seen = [row["in_training_years"] == "1" for row in rows]
    assert seen == sorted(seen, reverse=True)
    fair = sum(not one for one in seen) - 1  # the last day has no answer
    assert f"on the {fair} past days from" in text

    # the file's own past alone decides: a shorter file gives the same forecasts
    shorter = series._replace(dates=series.dates[:400], prices=series.prices[:400])
    write_csv(tmp_path / "short.csv", shorter)
    daily.use.forecast(trained, tmp_path / "short.csv", output)
    with output.open() as file:
        before = np.array([float(row["p_up"]) for row in csv.DictReader(file)])
    np.testing.assert_allclose(before, p[: len(before)], atol=2e-6)


def test_past_days_of_the_training_years_give_no_figures(trained, tmp_path):
    path = write_csv(tmp_path / "old.csv", random_walk(100, 7))
    text = daily.use.forecast(trained, path, None)
    assert "no figures on past days: all 77 lie before" in text
    assert "accuracy" not in text
    text = daily.use.forecast(trained, write_csv(path, random_walk(23, 7)), None)
    assert "no day yet whose morrow is known" in text


def test_notes_on_a_file_are_shown_and_the_last_piece_is_read(trained, tmp_path):
    series = random_walk(300, 7)
    keep = np.r_[0:200, 230:300]
    gap = series._replace(dates=series.dates[keep], prices=series.prices[keep])
    text = daily.use.forecast(trained, write_csv(tmp_path / "gap.csv", gap), None)
    assert "note: cut at gaps of more than 14 days" in text
    assert f"after {series.dates[-1]}" in text
    keep = np.r_[0:200, 290:300]
    gap = series._replace(dates=series.dates[keep], prices=series.prices[keep])
    with pytest.raises(InputError, match="has 10 daily prices since the last gap of 14 days"):
        daily.use.forecast(trained, write_csv(tmp_path / "gap.csv", gap), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,close\n2024-01-02,1\n2024-01-03,0\n", "line 3: .* in the column close is 0"),
        (
            "date,close\n2024-01-02,1\n2024-01-03,-1\n",
            "in the column close is -1",
        ),
        ("date,close\n2024-01-02,1\n2024-01-02,2\n", "two prices for 2024-01-02"),
        ("date,close\n2024-01-02,1\n2024-01-03,2\n", "has 2 daily prices; at least 23"),
        ("date,open\n2024-01-02,1\n", "no column with a closing price"),
    ],
    ids=lambda value: None if "\n" in value else value[:20],
)
def test_bad_prices_are_refused(trained, tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        daily.use.forecast(trained, tmp_path / "bad.csv", None)


def test_a_file_to_forecast_that_is_not_there_ends_without_a_traceback(run):
    with pytest.raises(SystemExit, match=r"error: read_table: cannot read none\.csv"):
        command.main(EXPERIMENT, ["--predict", "none.csv", "--workdir", str(run[0])])


HOURLY = dataclasses.replace(
    SMALL,
    data="etth1",
    input_length=24,
    horizon=4,
    segment_length=8,
    learning_rate=0.02,
)


@pytest.fixture(scope="module")
def hours():
    t = np.arange(BORDERS[-1] + 5)
    waves = np.stack([np.sin(2 * np.pi * t / 24), 3 + 2 * np.cos(2 * np.pi * t / 12)], axis=-1)
    noise = 0.3 * np.random.default_rng(0).standard_normal(waves.shape)
    return Hours(("A", "B"), np.datetime64("2016-07-01T00", "h") + t, waves + noise)


TWO = {"variables": ["A", "B"]}


def write_hours(path, hours, rows):
    lines = ["date," + ",".join(hours.names)]
    for time, row in zip(hours.times[rows], hours.values[rows].tolist(), strict=True):
        lines.append(f"{str(time).replace('T', ' ')}:00:00," + ",".join(map(repr, row)))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def hourly_run(hours, tmp_path_factory):
    """One finished run on hours: its result, what it said, and the trained models."""
    folder, said = tmp_path_factory.mktemp("hourly") / "run", []
    experiment = dataclasses.replace(
        EXPERIMENT,
        load=lambda config: hourly.data.prepare(hours),
        report=lambda *found: said.append(EXPERIMENT.report(*found)) or said[0],
    )
    return train(experiment, HOURLY, folder), *said, load_trained(EXPERIMENT, folder)


def test_hours_are_in_deviations_of_the_training_months(hours):
    values = hours.values.copy()
    values[BORDERS[1] :] = 1e3 + 7 * values[BORDERS[1] :]  # what comes later is not known
    found = hourly.data.prepare(hours._replace(values=values))
    of_training = found.values[: BORDERS[1]]
    np.testing.assert_allclose(of_training.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(of_training.std(axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(found.standard.undo(found.values), values, rtol=1e-4)


def test_hours_are_trained_on_and_measured(hourly_run):
    result, said, trained = hourly_run
    assert "linear (ridge)" in said
    for name in ("learning_curve", "forecasts", "errors_by_hour"):
        assert (trained.folder / f"{name}.png").stat().st_size > 5000
    methods = result["test"]["methods"]
    assert result["test"]["windows"] == 4 * 30 * 24 - 4 + 1
    assert methods["linear (ridge)"]["mse"]["value"] < methods["persistence"]["mse"]["value"]
    by_hour = result["by_hour"]["persistence"]
    assert methods["persistence"]["mse"]["value"] == pytest.approx(np.mean(by_hour))


def test_the_next_hours_of_a_users_file(hourly_run, hours, tmp_path):
    trained = hourly_run[-1]
    file = write_hours(tmp_path / "mine.csv", hours, slice(-100, None))
    out = tmp_path / "forecast.csv"
    text = hourly.use.forecast(trained, file, out)
    assert f"the 4 hours after {hours.times[-1]}" in text
    assert "persistence" in text
    written = out.read_text().splitlines()
    assert written[0] == "date,A,B"
    assert written[1].startswith(
        str(hours.times[-1] + np.timedelta64(1, "h")).replace("T", " ") + ":00:00,"
    )
    assert len(written) == 5
    early = write_hours(tmp_path / "early.csv", hours, slice(0, 200))
    assert "no figures on past hours" in hourly.use.forecast(trained, early, None)
    for change, message in (
        (lambda s: s.replace("A,B", "B,A"), "has learned date, A, B"),
        (lambda s: "\n".join(s.splitlines()[:20]), "has 19 hours; the run reads 24"),
        (lambda s: "\n".join(s.splitlines()[:30] + s.splitlines()[31:]), "line 31: .* follows"),
        (lambda s: s.replace(s.splitlines()[5].split(",")[1], "nan"), "line 6: 'nan' is no number"),
    ):
        bad = tmp_path / "bad.csv"
        bad.write_text(change(file.read_text()))
        with pytest.raises(InputError, match=message):
            hourly.use.forecast(trained, bad, None)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_fits_both_networks(cell):
    config = dataclasses.replace(HOURLY, cell=cell)
    for model, x, shape in (
        (daily.build(config, FACTS), (9, 3, NUM_FEATURES), (9, 3, 2)),
        (hourly.build(config, TWO), (3, 24, 2), (3, 4, 2)),
    ):
        params = jax.eval_shape(model.init, jax.random.key(0))
        y = jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct(x, np.float32))
        assert (y.shape, y.dtype) == (shape, np.float32)


def test_the_hourly_network_reads_each_variable_by_itself_and_no_level(hourly_run):
    trained = hourly_run[-1]
    forecast = hourly.problem.make_forecast(trained.model)  # compiled, for a forecast of hours
    x = np.random.default_rng(0).standard_normal((3, 24, 2)).astype(np.float32)
    y = forecast(trained.params, x)
    assert y.shape == (2, 3, 4, 2)
    other = x.copy()
    other[..., 1] += np.random.default_rng(1).standard_normal((3, 24)).astype(np.float32)
    after = forecast(trained.params, other)
    np.testing.assert_allclose(after[..., 0], y[..., 0], rtol=1e-5, atol=1e-6)
    assert (np.abs(after[..., 1] - y[..., 1]) > 1e-3).any()
    raised = forecast(trained.params, x + np.float32(7.0))
    np.testing.assert_allclose(raised, y + 7.0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("data", ["prices", "hours"])
def test_a_network_that_cannot_be_run_leaves_no_run(prices, hours, tmp_path, data):
    config = prices if data == "prices" else HOURLY
    config = dataclasses.replace(config, skip="dense", schedule="wavefront")
    experiment = EXPERIMENT
    if data == "hours":
        experiment = dataclasses.replace(EXPERIMENT, load=lambda config: hourly.data.prepare(hours))
    with pytest.raises(InputError, match="schedule='wavefront' cannot run this network"):
        train(experiment, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_acl18_is_split_and_labelled_as_published():
    if not os.environ.get("DEEPRNN_DATA"):
        pytest.skip("DEEPRNN_DATA names no folder with StockNet's prices")
    data = load(dataclasses.replace(SMALL, data="acl18"))
    panel, (fold,) = data.panel, data.folds
    parts = [
        period.holds(panel.next_dates) & panel.moved
        for period in (fold.train, fold.valid, fold.test)
    ]
    assert len(data.series) == 88
    # Xu and Cohen 2018 count 20,339, 2,555 and 3,720.
    assert [part.sum() for part in parts] == [20_325, 2_555, 3_720]
    assert panel.up[parts[-1]].mean() == pytest.approx(0.5129, abs=5e-5)
