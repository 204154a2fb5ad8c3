"""The command line: what it accepts and what it refuses."""

import dataclasses

import pytest

from experiments.common import command
from experiments.common.errors import InputError
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.configs import PRESETS
from experiments.stock_prediction.experiment import EXPERIMENT


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    """Run where no other runs are."""
    monkeypatch.chdir(tmp_path)


def settings(*arguments):
    return command.parse(EXPERIMENT, arguments)[1]


def test_no_arguments_are_the_default_run():
    assert settings() == Config()


@pytest.mark.parametrize("name", ["acl18", "etth1"])
def test_a_data_set_brings_its_own_settings(name):
    for arguments in (["--data", name], ["--preset", name]):
        changed = settings(*arguments, "--seed=9")
        assert changed == dataclasses.replace(PRESETS[name], seed=9)
    other = settings("--data", name, "--preset", "default")
    assert other == dataclasses.replace(Config(), data=name)


def test_own_prices_are_learned_from_with_the_default_settings(tmp_path):
    (tmp_path / "mine.csv").touch()
    own = dataclasses.replace(Config(), data=str(tmp_path / "mine.csv"))
    assert settings("--data", "mine.csv") == own


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
        ({"data": "etth1", "permute_labels": True}, "--permute-labels must be left out with data"),
        (
            {"data": "etth1", "input_length": 16, "segment_length": 8},
            "--input-length must be >= 24",
        ),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


def test_a_file_that_is_not_there_ends_without_a_traceback(tmp_path):
    with pytest.raises(SystemExit, match=r"error: read_table: cannot read none\.csv"):
        command.main(EXPERIMENT, ["--data", "none.csv"])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("output", "message"),
    [("none/out.csv", "there is no folder none to write"), (".", r"is the folder \.; give a file")],
)
def test_an_output_that_cannot_be_written_is_refused_first(output, message):
    with pytest.raises(SystemExit, match=message):
        command.main(EXPERIMENT, ["--predict", "prices.csv", "--output", output])


def test_an_output_goes_with_a_file_to_forecast():
    with pytest.raises(SystemExit, match="--output goes with --predict"):
        command.main(EXPERIMENT, ["--output", "out.csv"])
