"""A text model that is trained on several devices, and by two processes: the numbers of one."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

pytest.importorskip("tyro")
pytest.importorskip("tensorboardX")

from experiments.common import command
from experiments.common.devices import Rows, spread_over
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.records import read_json
from experiments.common.training import load_trained
from experiments.text_generation.experiment import EXPERIMENT
from tests.experiments.runs import bits

ROOT = Path(__file__).parents[2]
# Epochs of 7 steps: a state is carried on, and begun anew. With dropout everywhere.
SETTINGS = [
    *("--cell=gru", "--num-layers=1", "--hidden-size=8", "--embedding-size=4", "--batch-size=8"),
    *("--dropout=0.3", "--embedding-dropout=0.2", "--weight-drop=0.2", "--ema-decay=0.5"),
    *("--chunk-length=6", "--steps=12", "--learning-rate=0.05", "--warmup-steps=1"),
    *("--log-interval=1", "--eval-interval=4", "--checkpoint-interval=4", "--sample-length=4"),
]
# One worker of pytest-xdist, for they share a run.
pytestmark = pytest.mark.xdist_group("devices")


@pytest.fixture(scope="module")
def tale(tmp_path_factory):
    path = tmp_path_factory.mktemp("tale") / "tale.txt"
    path.write_text("once upon a time there was a sea " * 12)
    return path


@pytest.fixture(scope="module")
def alone(tale):
    """The run of one device."""
    folder = tale.parent / "alone"
    command.main(EXPERIMENT, [*SETTINGS, f"--data={tale}", f"--workdir={folder}"])
    return folder


def started(program, number, *arguments, cwd, **variables):
    """Start Python with so many devices, and further variables of the environment."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={number}"
    environment = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=os.environ | environment | variables,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*runs):
    """Give what each has printed, output and errors; where one fails, the later ones are ended."""
    printed = []
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(run)  # which waits in the end, after the next line's call
            stack.callback(run.kill)
        for run in runs:
            printed.append(run.communicate(timeout=300))
            if run.returncode:
                break
    return printed


def losses(folder):
    """Give what was measured at each step, [12, 2], and at each evaluation, [3]."""
    records = read_metrics(folder)
    assert [record["step"] for record in records] == list(range(1, 13))
    trained = [(record["train_nats"], record["gradient_norm"]) for record in records]
    return np.array(trained), [r["validation_nats"] for r in records if "validation_nats" in r]


def assert_same_losses(folder, other):
    for found, expected in zip(losses(folder), losses(other), strict=True):
        assert np.ptp(expected, axis=0).min() > 0.01  # it learns: a wrong gradient would show
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


START = """
import shutil, sys
import jax
from experiments.common import command, devices
from experiments.text_generation.experiment import EXPERIMENT

def go_on(run, copy, *options):
    def without_last():
        shutil.copytree(run, copy)
        shutil.rmtree(f"{copy}/checkpoints/00000012")
    devices.in_first(without_last)
    command.main(EXPERIMENT, ["--resume", f"--workdir={copy}", *options])
"""

FOUR = """
put_batch, whole = devices.Spread.put_batch, devices.Spread.whole

def seen_batch(spread, batch):
    placed = put_batch(spread, batch)
    assert placed.x.sharding.shard_shape(placed.x.shape) == (6, 2), placed.x.sharding
    return placed

def seen_state(spread, state):
    for leaf in jax.tree.leaves(state.carry):
        assert leaf.sharding.shard_shape(leaf.shape) == (2, 8), leaf.sharding
    for leaf in jax.tree.leaves(state._replace(carry=None)):
        assert leaf.sharding.is_fully_replicated and leaf.sharding.num_devices == 4
    return whole(spread, state)

devices.Spread.put_batch, devices.Spread.whole = seen_batch, seen_state
try:
    devices.initialize("localhost:1", 2, None)  # before JAX has looked for devices
except ValueError as error:
    print(error)
command.main(EXPERIMENT, ["--workdir=four", "--devices=4", *sys.argv[2:]])
go_on("four", "again", "--devices=4")
go_on(sys.argv[1], "from_one", "--devices=4")
"""

TWO = """
run, *options = sys.argv[1:]
command.main(EXPERIMENT, [f"--workdir={run}", "--distributed", *options])
assert jax.process_count() == 2 and jax.device_count() == 4
go_on(run, f"{run}-again")
"""


def test_four_devices_come_to_the_numbers_of_one(alone, tale, tmp_path):
    """From the first step, and going on: with their own run to the same bits."""
    run = started(START + FOUR, 4, alone, f"--data={tale}", *SETTINGS, cwd=tmp_path)
    [(out, error)] = ended(run)
    assert run.returncode == 0, error
    assert re.match("initialize: jax.distributed must be told .* process id .* Give --coord", out)
    assert out.count("going on from step 8") == 2
    for name in ("four", "again", "from_one"):
        assert_same_losses(tmp_path / name, alone)
    assert bits(tmp_path / "again", 12) == bits(tmp_path / "four", 12)
    used = [read_json(folder / "result.json")["devices"] for folder in (alone, tmp_path / "four")]
    assert used == [1, 4]


def free_port():
    try:
        with socket.socket() as one:
            one.bind(("localhost", 0))
            return one.getsockname()[1]
    except OSError as error:
        pytest.skip(f"no socket may be opened here: {error}")


def run_by_two_processes(folder, settings):
    """Return what both print; another may take the port before they do: once more then."""
    for _ in range(3):
        address = f"localhost:{free_port()}"
        options = [f"--coordinator-address={address}", "--num-processes=2", *settings]
        start = partial(started, START + TWO, 2, folder, *options, cwd=folder.parent)
        runs = [start(f"--process-id={i}", JAX_COORDINATOR_BIND_ADDRESS=address) for i in range(2)]
        printed = ended(*runs)
        if "Failed to add port" not in printed[0][1]:
            break
    assert [run.returncode for run in runs] == [0, 0], printed
    lines = [out.splitlines() for out, _ in printed]
    return [[line for line in of_one if "[Gloo]" not in line] for of_one in lines]


def test_two_processes_come_to_the_numbers_of_one_and_the_first_writes(alone, tale, tmp_path):
    first, second = run_by_two_processes(tmp_path / "two", [f"--data={tale}", *SETTINGS])
    assert "going on from step 8" in first
    assert second == []
    for name in ("two", "two-again"):
        assert_same_losses(tmp_path / name, alone)
        assert len(list((tmp_path / name / "tensorboard").iterdir())) == (1 if name == "two" else 2)
    assert {path.name for path in tmp_path.iterdir()} == {"two", "two-again"}
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        path.name for path in alone.iterdir()
    }
    trained = [load_trained(EXPERIMENT, folder).params for folder in (alone, tmp_path / "two")]
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), *trained)


@pytest.mark.parametrize(
    ("number", "batch_size", "message"),
    [
        (0, 8, "train: devices must be from 1 to 4, as many as JAX finds, got 0; leave it away"),
        (5, 8, "train: devices must be from 1 to 4, as many as JAX finds, got 5; leave it away"),
        (4, 6, "train: batch_size must be a multiple of devices=4, got 6; change one of them"),
    ],
)
def test_devices_that_cannot_be_used_are_refused(number, batch_size, message, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    with pytest.raises(InputError, match=f"^{message}$"):
        spread_over(number, Rows((1,)), batch_size)


def test_rows_must_be_told(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    with pytest.raises(InputError, match="devices must be 1 where a problem does not tell its"):
        spread_over(2, None, 8)


def test_several_processes_use_all_their_devices(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(InputError, match="must be 4, all that the 2 processes have, got 2; leave"):
        spread_over(2, Rows((1,)), 8)


def test_what_cannot_be_spread_leaves_no_run(tale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="error: train: devices must be from 1 to "):
        command.main(EXPERIMENT, [*SETTINGS, f"--data={tale}", "--devices=1000"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices=2", "--generate=a"], "--devices is for a training; leave it or --generate"),
        (["--distributed", "--generate=a"], "--distributed is for a training; leave it or --gen"),
        (["--process-id=0"], "--process-id goes with --distributed; add it"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_options_that_do_not_go_together(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        command.main(EXPERIMENT, options)
