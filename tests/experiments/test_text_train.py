"""Whole runs at tiny sizes: files, going on, kills, and numbers that are not finite."""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import checkpoints, run_folder
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.records import read_json
from experiments.common.run_folder import START, Best, Standing
from experiments.common.updates import evaluated_params
from experiments.text_generation import run as run_module
from experiments.text_generation.config import Config
from experiments.text_generation.data import load_corpus
from experiments.text_generation.generate import load_writer
from experiments.text_generation.model import language_model
from experiments.text_generation.report import summary
from experiments.text_generation.run import make_run
from experiments.text_generation.train import measure, train
from experiments.text_generation.update import initial_train_state, make_train_step

WORDS = "the cat sat on the mat and the dog ran to the sea to see a rat at tea "

TINY = Config(
    cell="gru",
    num_layers=2,
    hidden_size=6,
    embedding_size=6,
    dropout=0.2,
    ema_decay=0.9,
    batch_size=4,
    chunk_length=8,
    steps=24,
    warmup_steps=4,
    learning_rate=0.02,
    log_interval=4,
    eval_interval=8,
    checkpoint_interval=4,
    keep_checkpoints=3,
    eval_streams=2,
    eval_context=8,
    sample_prompt="the ",
    sample_length=10,
)


def tiny(folder: Path, **options) -> Config:
    file = folder / "text.txt"
    rng = np.random.default_rng(0)
    words = WORDS.split()
    file.write_text(" ".join(words[i] for i in rng.integers(len(words), size=400)))
    return dataclasses.replace(TINY, corpus=str(file), **options)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A run that was never interrupted, and its result."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, train(config, workdir)


# One worker of pytest-xdist for the tests that share a run and its compiled programs.
shares_a_run = pytest.mark.xdist_group("text_train")


def target(config: Config) -> Any:
    model = language_model(config, len(load_corpus(config.corpus).vocabulary))
    return jax.eval_shape(lambda: initial_train_state(config, model))


def bits(config: Config, workdir: Path, step: int) -> dict[str, bytes]:
    """All of a checkpoint's arrays: parameters, optimiser, state, mean and key."""
    state = checkpoints.restore(workdir / "checkpoints", step, target(config)).state
    state = state._replace(key=jax.random.key_data(state.key))
    return {
        jax.tree_util.keystr(path): np.asarray(leaf).tobytes()
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def records(workdir: Path) -> list[dict[str, float]]:
    """The records without what depends on the clock."""
    clock = ("seconds", "steps_per_second")
    return [
        {name: value for name, value in record.items() if name not in clock}
        for record in read_metrics(workdir)
    ]


@shares_a_run
def test_a_run_leaves_its_files(config, finished):
    workdir, result = finished
    assert {path.name for path in workdir.iterdir()} == {
        "checkpoints",
        "learning_curve.png",
        "metrics.jsonl",
        "result.json",
        "run.json",
        "sample.txt",
        "tensorboard",
    }
    assert read_json(workdir / "result.json")["config"] == dataclasses.asdict(config)
    sample = (workdir / "sample.txt").read_text()
    assert sample.startswith("the ")
    assert len(sample) == len("the ") + config.sample_length
    stored = [record["step"] for record in read_metrics(workdir)]
    assert stored == [4, 8, 12, 16, 20, 24]
    kept = checkpoints.steps(workdir / "checkpoints")
    assert kept[-3:] == [16, 20, 24]
    assert result["best_step"] in kept


@shares_a_run
def test_a_run_learns_and_says_so_consistently(finished):
    workdir, result = finished
    curve = [r["validation_nats"] for r in records(workdir) if "validation_nats" in r]
    assert curve[-1] < curve[0]
    assert result["validation_nats"] == min(curve)
    np.testing.assert_allclose(result["validation_bits"], result["validation_nats"] / np.log(2))
    assert set(result["baseline_nats"]) == {"3", "4", "5"}
    assert result["test_nats"] is result["test_baseline_nats"] is None
    assert result == read_json(workdir / "result.json")


@shares_a_run
def test_the_summary_tells_what_was_passed(finished, capsys):
    _, result = finished
    baselines = {"3": result["validation_nats"] + 1, "4": result["validation_nats"] - 1}
    text = summary(result | {"baseline_nats": baselines}, "a sample", "character", Path("here"))
    assert "bits per character" in text
    assert "a sample" in text
    lines = [line for line in text.splitlines() if line.strip().startswith("order")]
    assert lines[0].endswith(" passed")
    assert not lines[0].endswith("not passed")
    assert lines[1].endswith("not passed")
    assert "test" not in text


@shares_a_run
def test_the_same_settings_give_the_same_bits(config, finished, tmp_path):
    train(config, tmp_path / "again")
    assert bits(config, tmp_path / "again", 24) == bits(config, finished[0], 24)
    assert records(tmp_path / "again") == records(finished[0])


@shares_a_run
@pytest.mark.parametrize("damage", [False, True], ids=["whole", "damaged"])
def test_going_on_gives_the_same_bits(config, finished, tmp_path, damage, capsys):
    """From step 20; or from 16, when 20 turns out to be damaged."""
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    folder = workdir / "checkpoints"
    shutil.rmtree(folder / "00000024")
    if damage:
        (folder / "00000020" / "manifest.json").unlink()
    train(config, workdir, resume=True)
    assert bits(config, workdir, 24) == bits(config, finished[0], 24)
    assert records(workdir) == records(finished[0])
    out = capsys.readouterr().out
    assert f"going on from step {16 if damage else 20}" in out
    assert ("step 20 is damaged" in out) == damage


def note(config: Config, workdir: Path, standing: Standing) -> None:
    """Write a checkpoint anew, as if the run had stood so at its step."""
    folder = workdir / "checkpoints"
    state = checkpoints.restore(folder, standing.step, target(config)).state
    run_folder.save(workdir, state, standing, keep=9)


@shares_a_run
def test_a_damaged_best_checkpoint_takes_its_figures_along(config, finished, tmp_path, capsys):
    """Step 16 was best, as the last checkpoint knows, but can no longer be read."""
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    last = checkpoints.verify(workdir / "checkpoints", 24)["value"]
    best = Best(16, 0.5)
    note(config, workdir, Standing(16, best, best.value, 5e5))
    note(config, workdir, Standing(24, best, last, 1e6))
    result = train(config, workdir, resume=True)
    assert (result["best_step"], result["validation_nats"]) == (16, 0.5)
    (workdir / "checkpoints" / "00000016" / "manifest.json").unlink()
    result = train(config, workdir, resume=True)
    assert "step 16 is damaged" in capsys.readouterr().out
    assert (result["best_step"], result["validation_nats"]) == (24, last)
    # The training was over: this process added nothing to it.
    assert result["seconds"] == 1e6 < result["wall_seconds"]


@shares_a_run
def test_a_checkpoint_without_an_evaluation_is_no_result(config, tmp_path):
    corpus = load_corpus(config.corpus)
    model = language_model(config, len(corpus.vocabulary))
    run = make_run(config, corpus, model, tmp_path)
    only = checkpoints.Restored(20, None, {"value": None})
    with pytest.raises(InputError, match="only that of step 20; start a new run"):
        measure(run, only, None, START)


@shares_a_run
def test_going_on_with_other_settings_names_them(config, finished):
    other = dataclasses.replace(config, hidden_size=7, dropout=0.1, temperature=0.5)
    with pytest.raises(InputError) as caught:
        train(other, finished[0], resume=True)
    message = str(caught.value)
    assert "hidden_size is 7, was 6" in message
    assert "dropout is 0.1, was 0.2" in message
    assert "temperature" not in message  # has no part in the parameters


@shares_a_run
def test_going_on_with_another_text_is_refused(config, finished):
    file = Path(config.corpus)
    text = file.read_text()
    file.write_text(text[::-1])
    try:
        with pytest.raises(InputError, match=r"the data are not those that .* was started on"):
            train(config, finished[0], resume=True)
    finally:
        file.write_text(text)


@shares_a_run
def test_a_run_is_not_written_over(config, finished):
    with pytest.raises(InputError, match="already holds a run; give --resume"):
        train(config, finished[0])


def test_what_cannot_work_leaves_no_run_behind(tmp_path):
    for options, message in (
        ({"batch_size": 1000}, "lower one of them or give more text"),
        ({"sample_prompt": "The"}, "has no 'T'"),
        ({"level": "word", "batch_size": 45}, "has 360 symbols"),
        ({"schedule": "diagonal"}, "the model cannot be run so: .*'diagonal'"),
    ):
        config = tiny(tmp_path, **options)
        with pytest.raises(InputError, match=message):
            train(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()


SCRIPT = """
import json, sys
from experiments.common.settings import config_from_dict
from experiments.text_generation.config import Config
from experiments.text_generation.train import train
for workdir in sys.argv[2:]:
    train(config_from_dict(Config, json.loads(sys.argv[1])), workdir, resume=True)
"""


def start(config: Config, *workdirs: Path) -> subprocess.Popen[bytes]:
    arguments = [json.dumps(dataclasses.asdict(config)), *map(str, workdirs)]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(process: subprocess.Popen[bytes], folder: Path, step: int) -> None:
    """Kill a run once it has a checkpoint of this step or a later one."""
    while process.poll() is None and max(checkpoints.steps(folder), default=0) < step:
        time.sleep(0.002)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    # A checkpoint a step: the kill falls in the middle of writing one, mostly.
    config = tiny(
        tmp_path, cell="elman", num_layers=1, steps=16, checkpoint_interval=1, log_interval=3
    )
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    kill_after(start(config, killed), killed / "checkpoints", 3)
    assert not (killed / "result.json").exists()
    # Not in this process: its settings must play no part.
    assert start(config, killed, whole).wait() == 0
    assert bits(config, killed, 16) == bits(config, whole, 16)
    assert records(killed) == records(whole)


def test_a_run_that_diverges_stops_and_names_the_tensor(tmp_path):
    small = {"cell": "elman", "num_layers": 1, "dropout": 0.0, "ema_decay": 0.0}
    wild = tiny(tmp_path, learning_rate=1e38, checkpoint_interval=1, **small)
    with pytest.raises(FloatingPointError) as caught:
        train(wild, tmp_path / "run")
    found = re.search(r"step (\d+): not finite: (loss|gradients|parameters)", str(caught.value))
    assert found, str(caught.value)
    folder = tmp_path / "run" / "checkpoints"
    assert "last good checkpoint" in str(caught.value)
    assert max(checkpoints.steps(folder), default=0) < int(found[1])
    for step in checkpoints.steps(folder):
        state = checkpoints.restore(folder, step, target(wild)).state
        state = state._replace(key=jax.random.key_data(state.key))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


@shares_a_run
def test_a_number_that_is_not_finite_is_never_written(config, tmp_path, monkeypatch):
    """One entry of one parameter turns to nan at step 10, two after a checkpoint."""

    def make_spoiled_step(config, model):
        train_step = make_train_step(config, model)

        def spoiled_step(state, batch):
            if int(state.step) == 9:
                spoil = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), state.params.readout)
                state = state._replace(params=state.params._replace(readout=spoil))
            return train_step(state, batch)

        return spoiled_step

    monkeypatch.setattr(run_module, "make_train_step", make_spoiled_step)
    message = r"step 10: not finite: loss; .*last good checkpoint: step 8"
    with pytest.raises(FloatingPointError, match=message):
        train(config, tmp_path / "run")
    assert checkpoints.steps(tmp_path / "run" / "checkpoints") == [4, 8]
    assert [record["step"] for record in read_metrics(tmp_path / "run")] == [4, 8]


@shares_a_run
def test_writing_uses_the_best_checkpoint(config, finished):
    workdir, result = finished
    writer = load_writer(workdir)
    best = checkpoints.restore(workdir / "checkpoints", result["best_step"], target(config)).state
    expected = evaluated_params(best, config.ema_decay)
    for a, b in zip(jax.tree.leaves(writer.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "".join(writer.vocabulary.symbols) == "".join(sorted(set(WORDS)))


def test_writing_needs_a_run(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        load_writer(tmp_path)
