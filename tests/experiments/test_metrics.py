"""Records of a run, its small files, its picture, and the guard."""

import json
import os

import jax
import jax.numpy as jnp
import pytest
from matplotlib.image import imread

from experiments.common.metrics import METRICS_FILE, MetricsLog, read_metrics
from experiments.common.non_finite import check_finite, finite_flags
from experiments.common.plots import learning_curve
from experiments.common.records import (
    RUN_FILE,
    environment,
    new_run,
    newest_run,
    read_json,
    write_json,
)


def test_records_come_back_and_the_board_has_a_file(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.write(10, {"train_bits": 2.5})
        log.write(20, {"train_bits": 2.0, "validation_bits": 2.25})
    assert read_metrics(tmp_path) == [
        {"step": 10, "train_bits": 2.5},
        {"step": 20, "train_bits": 2.0, "validation_bits": 2.25},
    ]
    assert any((tmp_path / "tensorboard").iterdir())


def test_going_on_leaves_no_step_twice(tmp_path):
    with MetricsLog(tmp_path) as log:
        for step in (10, 20, 30):
            log.write(step, {"loss": float(step)})
    # A kill in the middle of a write.
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"step": 40, "lo')
    with MetricsLog(tmp_path, start=20) as log:
        log.write(30, {"loss": -1.0})
    assert read_metrics(tmp_path) == [
        {"step": 10, "loss": 10.0},
        {"step": 20, "loss": 20.0},
        {"step": 30, "loss": -1.0},
    ]


def test_a_new_run_starts_an_empty_file(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.write(10, {"loss": 1.0})
    with MetricsLog(tmp_path):
        pass
    assert read_metrics(tmp_path) == []


def test_numbers_that_are_not_finite_are_not_recorded(tmp_path):
    with MetricsLog(tmp_path) as log, pytest.raises(ValueError, match="JSON"):
        log.write(1, {"loss": float("nan")})
    assert read_metrics(tmp_path) == []


def test_write_json_is_all_or_nothing(tmp_path):
    file = tmp_path / "result.json"
    write_json(file, {"bits": 2.0})
    with pytest.raises(ValueError, match="JSON"):
        write_json(file, {"bits": float("inf")})
    assert read_json(file) == {"bits": 2.0}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_runs_get_folders_of_their_own_and_the_newest_is_found(tmp_path):
    assert newest_run(tmp_path / "runs") is None
    runs = [new_run(tmp_path / "runs", "pydoc-lstm") for _ in range(3)]
    assert len(set(runs)) == 3
    for age, run in zip((20, 0, 10), runs, strict=True):
        write_json(run / RUN_FILE, {})
        then = (run / RUN_FILE).stat().st_mtime - age
        os.utime(run / RUN_FILE, (then, then))
    new_run(tmp_path / "runs", "never-begun")
    assert newest_run(tmp_path / "runs") == runs[1]


def test_the_environment_is_described():
    found = environment()
    json.dumps(found)
    assert found["packages"]["jax"] == jax.__version__
    assert found["backend"] == jax.default_backend()


def test_the_curve_is_drawn(tmp_path):
    path = tmp_path / "curve.png"
    curves = {"train": [(0, 4.0), (10, 2.0)], "validation": []}
    learning_curve(path, curves, {"order 3": 2.47}, ylabel="bits", title="a run")
    picture = imread(path)
    assert picture.ndim == 3
    assert picture.std() > 0.01  # not blank


ORDER = ("loss", "gradients", "parameters")


def flags(loss=1.0, gradient=1.0, parameter=1.0):
    """Flags made under jit, which sorts the names of a dictionary."""

    @jax.jit
    def make(loss, gradient, parameter):
        return finite_flags(
            loss=loss,
            gradients={"w": jnp.ones(3), "b": jnp.array([0.0, gradient])},
            parameters=[jnp.zeros(2), parameter],
        )

    return make(loss, gradient, parameter)


def test_finite_numbers_pass():
    check_finite(3, flags(), ORDER)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_cause_is_named_with_its_step(bad):
    with pytest.raises(FloatingPointError, match=r"step 7: not finite: loss;"):
        check_finite(7, flags(loss=bad, gradient=bad, parameter=bad), ORDER)
    with pytest.raises(FloatingPointError, match=r"not finite: gradients\['b'\];"):
        check_finite(7, flags(gradient=bad, parameter=bad), ORDER)
    with pytest.raises(FloatingPointError, match=r"not finite: parameters\[1\];"):
        check_finite(7, flags(parameter=bad), ORDER)
