"""Records of a run: the lines, and what TensorBoard's files hold."""

import struct
from contextlib import closing

import pytest
from tensorboardX.proto.event_pb2 import Event

from experiments.common.metrics import METRICS_FILE, MetricsLog, curve_of, read_metrics


def events(folder):
    """What the board's files hold: of each record length, checksum, content, checksum."""
    found = []
    for file in sorted((folder / "tensorboard").iterdir()):
        content, start = file.read_bytes(), 0
        while start < len(content):
            (length,) = struct.unpack_from("<Q", content, start)
            found.append(Event.FromString(content[start + 12 : start + 12 + length]))
            start += length + 16
    return found


def board(folder):
    """The scalars as (step, tag, value)."""
    return [
        (event.step, value.tag, value.simple_value)
        for event in events(folder)
        for value in event.summary.value
    ]


def test_records_come_back_and_the_board_has_them_too(tmp_path):
    with closing(MetricsLog(tmp_path)) as log:
        log.write(10, {"train_bits": 2.5})
        log.write(20, {"train_bits": 2.0, "validation_bits": 2.25})
    assert read_metrics(tmp_path) == [
        {"step": 10, "train_bits": 2.5},
        {"step": 20, "train_bits": 2.0, "validation_bits": 2.25},
    ]
    assert board(tmp_path) == [
        (10, "train_bits", 2.5),
        (20, "train_bits", 2.0),
        (20, "validation_bits", 2.25),
    ]


def test_a_curve_has_the_steps_at_which_there_is_a_value():
    records = [{"step": 10, "train": 2.5}, {"step": 20, "train": 2.0, "error": 0.25}]
    assert curve_of(records, "train") == [(10, 2.5), (20, 2.0)]
    assert curve_of(records, "error", scale=100) == [(20, 25.0)]
    assert curve_of(records, "other") == []


def test_going_on_leaves_no_step_twice(tmp_path):
    with closing(MetricsLog(tmp_path)) as log:
        for step in (10, 20, 30):
            log.write(step, {"loss": float(step)})
    # A kill in the middle of a write.
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"step": 40, "lo')
    with closing(MetricsLog(tmp_path, start=20)) as log:
        log.write(30, {"loss": -1.0})
    assert read_metrics(tmp_path) == [
        {"step": 10, "loss": 10.0},
        {"step": 20, "loss": 20.0},
        {"step": 30, "loss": -1.0},
    ]
    # The board's own file says from which step on it hides what was there before.
    restarts = [event.step for event in events(tmp_path) if event.HasField("session_log")]
    assert restarts == [21]


def test_a_new_run_starts_an_empty_file(tmp_path):
    with closing(MetricsLog(tmp_path)) as log:
        log.write(10, {"loss": 1.0})
    with closing(MetricsLog(tmp_path)):
        pass
    assert read_metrics(tmp_path) == []


def test_numbers_that_are_not_finite_are_not_recorded(tmp_path):
    with closing(MetricsLog(tmp_path)) as log, pytest.raises(ValueError, match="JSON"):
        log.write(1, {"loss": float("nan")})
    assert read_metrics(tmp_path) == []
