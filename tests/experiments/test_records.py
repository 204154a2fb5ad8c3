"""The folders of runs and the small JSON files in them."""

import json
import os

import jax
import pytest

from experiments.common.records import (
    RUN_FILE,
    environment,
    new_run,
    newest_run,
    read_json,
    write_json,
)


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
