"""The command line, and forecasts for a user's own prices."""

import csv
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.common.errors import InputError
from experiments.common.records import newest_run
from experiments.stock_prediction import __main__ as cli
from experiments.stock_prediction.config import FREE_ON_RESUME, Config
from experiments.stock_prediction.configs import PRESETS
from experiments.stock_prediction.predict import predict
from tests.experiments.stock_data import SMALL, random_walk, write_csv


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    """Run where no other runs are."""
    monkeypatch.chdir(tmp_path)


def test_no_arguments_are_the_default_run():
    assert cli.parse([]) == (cli.Task(), Config())


@pytest.mark.parametrize("name", ["acl18", "etth1"])
def test_a_data_set_brings_its_own_settings(name):
    for arguments in (["--data", name], [f"--data={name}"], ["--preset", name]):
        assert cli.parse(arguments)[1] == PRESETS[name]
        changed = cli.parse([*arguments, "--seed=9"])[1]
        assert changed == dataclasses.replace(PRESETS[name], seed=9)
    other = cli.parse(["--data", name, "--preset", "default"])[1]
    assert other == dataclasses.replace(Config(), data=name)
    assert cli.parse(["--data", "mine.csv"])[1] == dataclasses.replace(Config(), data="mine.csv")


def test_help_documents_every_field(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    source = Path(sys.modules[Config.__module__].__file__).read_text()
    for field in dataclasses.fields(Config):
        assert "--" + field.name.replace("_", "-") in out
        after = source.split(f"    {field.name}: ", 1)[1]
        assert after.split("\n", 1)[1].lstrip().startswith('"""'), field.name
    assert set(FREE_ON_RESUME) <= {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_seeds": 0}, "--num-seeds must be >= 1, got 0"),
        ({"dropout": 1.0}, r"--dropout must be in \[0, 1\)"),
        ({"volatility_weight": -1.0}, "--volatility-weight must be >= 0"),
        ({"learning_rate": float("nan")}, "--learning-rate must be > 0 and finite"),
        ({"burn_in": 64}, "--burn-in must be below chunk_length=64"),
        ({"warmup_steps": 10_000}, "--warmup-steps must be below steps"),
        ({"segment_length": 25}, "--segment-length must be a divisor of input_length=336"),
        ({"bootstrap_draws": 9}, "--bootstrap-draws must be >= 100"),
        ({"data": ""}, "--data must be a name or a path, got none"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


@pytest.mark.parametrize("arguments", [["--resume"], ["--predict", "prices.csv"]])
def test_going_on_and_forecasting_need_a_run(arguments):
    with pytest.raises(SystemExit, match="no run in runs/stock_prediction; train one"):
        cli.main(arguments)


def test_a_file_that_is_not_there_ends_without_a_traceback():
    with pytest.raises(SystemExit, match=r"error: read_table: cannot read none\.csv"):
        cli.main(["--data", "none.csv"])
    assert not any(cli.RUNS.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run trained from the command line on two files."""
    prices, home = tmp_path_factory.mktemp("prices"), tmp_path_factory.mktemp("home")
    for i in range(2):
        write_csv(prices / f"s{i}.csv", random_walk(330, i))
    values = {**dataclasses.asdict(SMALL), "data": str(prices)}
    changed = {k: v for k, v in values.items() if v != getattr(Config(), k)}
    arguments = [f"--{k.replace('_', '-')}={v}" for k, v in changed.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        cli.main(arguments)
        run = newest_run(cli.RUNS)
        assert run is not None
        return run.resolve()


def test_the_next_day_of_a_users_prices(folder, tmp_path, capsys):
    series = random_walk(500, 7, "mine")
    write_csv(tmp_path / "mine.csv", series)
    output = tmp_path / "out.csv"
    options = ["--workdir", str(folder), "--output", str(output)]
    cli.main(["--predict", "mine.csv", *options])
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
    predict(folder, tmp_path / "short.csv", output=output)
    with output.open() as file:
        before = np.array([float(row["p_up"]) for row in csv.DictReader(file)])
    np.testing.assert_allclose(before, p[: len(before)], atol=2e-6)


def test_past_days_of_the_training_years_give_no_figures(folder, tmp_path):
    path = write_csv(tmp_path / "old.csv", random_walk(100, 7))
    text = predict(folder, path)
    assert "no figures on past days: all 77 lie before" in text
    assert "accuracy" not in text
    text = predict(folder, write_csv(path, random_walk(23, 7)))
    assert "no day yet whose morrow is known" in text


def test_notes_on_a_file_are_shown_and_the_last_piece_is_read(folder, tmp_path):
    series = random_walk(300, 7)
    keep = np.r_[0:200, 230:300]
    gap = series._replace(dates=series.dates[keep], prices=series.prices[keep])
    text = predict(folder, write_csv(tmp_path / "gap.csv", gap))
    assert "note: cut at gaps of more than 14 days" in text
    assert f"after {series.dates[-1]}" in text
    keep = np.r_[0:200, 290:300]
    gap = series._replace(dates=series.dates[keep], prices=series.prices[keep])
    with pytest.raises(InputError, match="has 10 daily prices since the last gap of 14 days"):
        predict(folder, write_csv(tmp_path / "gap.csv", gap))


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
def test_bad_prices_end_without_a_traceback(folder, tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(SystemExit, match=message):
        cli.main(["--predict", "bad.csv", "--workdir", str(folder)])


def test_a_folder_that_is_not_there_for_the_output(folder, tmp_path):
    path = write_csv(tmp_path / "a.csv", random_walk(100, 7))
    with pytest.raises(InputError, match="there is no folder"):
        predict(folder, path, output=tmp_path / "none" / "out.csv")
    with pytest.raises(InputError, match="is the folder"):
        predict(folder, path, output=tmp_path)
    with pytest.raises(SystemExit, match="--output goes with --predict"):
        cli.main(["--output", "out.csv"])
    with pytest.raises(InputError, match="holds no run"):
        predict(tmp_path, path)
