"""What all experiments share, on the smallest: going on, kills, damage, what is refused.

It is the template with a carry from batch to batch, so that all that a checkpoint may hold is
there.
"""

import dataclasses
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import checkpoints, run_folder
from experiments.common.errors import InputError
from experiments.common.experiment import Experiment
from experiments.common.metrics import read_metrics
from experiments.common.records import read_json
from experiments.common.run_folder import Best, Standing
from experiments.common.settings import as_stored
from experiments.common.training import finished_or_trained, first_state, load_trained, train
from experiments.common.updates import evaluated_params
from experiments.template import EXPERIMENT as TEMPLATE
from experiments.template import Config, Data, Part, load
from tests.experiments.runs import bits, records

CONFIG = Config(
    cell="gru",
    num_layers=2,
    hidden_size=4,
    dropout=0.2,
    ema_decay=0.9,
    batch_size=4,
    steps=24,
    warmup_steps=4,
    learning_rate=0.02,
    log_interval=4,
    eval_interval=8,
    checkpoint_interval=4,
    keep_checkpoints=3,
)


def load_few(config: Config) -> Data:
    """The template's data, shorter and fewer."""
    *parts, facts, digest = load(config)
    few = (Part(x[:12, :40], n[:40] % 12 + 1, labels[:40]) for x, n, labels in parts)
    return Data(*few, facts=facts, digest=digest)


def problem_of(config: Config, data: Data, model: Any) -> Any:
    """The template's problem; what a batch hands on is the mean of the losses so far."""
    problem = TEMPLATE.problem(config, data, model)

    def loss_fn(params, batch, carry, key):
        loss, _ = problem.loss_fn(params, batch, None, key)
        return loss + 1e-3 * carry, 0.5 * (carry + jax.lax.stop_gradient(loss))

    return problem._replace(loss_fn=loss_fn)


EXPERIMENT = dataclasses.replace(
    TEMPLATE,
    load=load_few,
    problem=problem_of,
    first_carry=lambda config, model, params: jnp.ones(()),
)


def spoiled(spoil: Callable[[Any], Any]) -> Experiment:
    """The experiment with another loss: `spoil` is given the loss function."""

    def problem(config, data, model):
        of_this = problem_of(config, data, model)
        return of_this._replace(loss_fn=spoil(of_this.loss_fn))

    return dataclasses.replace(EXPERIMENT, problem=problem)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was never interrupted, and its result."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, train(EXPERIMENT, CONFIG, workdir)


# One worker of pytest-xdist for the tests that share a run and its compiled programs.
shares_a_run = pytest.mark.xdist_group("training")


def target() -> Any:
    """The form of a checkpoint."""
    facts = {"kinds": range(4)}
    model = EXPERIMENT.build(CONFIG, facts)
    return jax.eval_shape(first_state(EXPERIMENT, CONFIG, facts, model))


@shares_a_run
def test_a_run_leaves_its_files(finished):
    workdir, result = finished
    assert {path.name for path in workdir.iterdir()} == {
        "checkpoints",
        "learning_curve.png",
        "metrics.jsonl",
        "result.json",
        "run.json",
        "tensorboard",
    }
    assert result == read_json(workdir / "result.json")
    assert result["config"] == as_stored(CONFIG)
    assert [record["step"] for record in read_metrics(workdir)] == [4, 8, 12, 16, 20, 24]
    kept = checkpoints.steps(workdir / "checkpoints")
    assert kept[-3:] == [16, 20, 24]
    assert result["best_step"] in kept
    losses = [r["validation_loss"] for r in records(workdir) if "validation_loss" in r]
    assert result["last_value"] == losses[-1]
    assert result["best_step"] == 8 * (1 + losses.index(min(losses)))


@shares_a_run
def test_the_same_settings_give_the_same_bits(finished, tmp_path):
    train(EXPERIMENT, CONFIG, tmp_path / "again")
    assert bits(tmp_path / "again", 24) == bits(finished[0], 24)
    assert records(tmp_path / "again") == records(finished[0])


@shares_a_run
@pytest.mark.parametrize("damage", [False, True], ids=["whole", "damaged"])
def test_going_on_gives_the_same_bits(finished, tmp_path, damage, capsys):
    """From step 20; or from 16, when 20 turns out to be damaged."""
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    folder = workdir / "checkpoints"
    shutil.rmtree(folder / "00000024")
    if damage:
        (folder / "00000020" / "manifest.json").unlink()
    train(EXPERIMENT, CONFIG, workdir, resume=True)
    assert bits(workdir, 24) == bits(finished[0], 24)
    assert records(workdir) == records(finished[0])
    out = capsys.readouterr().out
    assert f"going on from step {16 if damage else 20}" in out
    assert ("step 20 is damaged" in out) == damage


def note(workdir: Path, standing: Standing) -> None:
    """Write a checkpoint anew, as if the run had stood so at its step."""
    state = checkpoints.restore(workdir / "checkpoints", standing.step, target()).state
    run_folder.save(workdir, state, standing, keep=9)


@shares_a_run
def test_a_damaged_best_checkpoint_takes_its_figures_along(finished, tmp_path, capsys):
    """Step 16 was best, as the last checkpoint knows, but can no longer be read."""
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    last = checkpoints.verify(workdir / "checkpoints", 24)["value"]
    best = Best(16, -1.0)
    note(workdir, Standing(16, best, best.value, 5e5))
    note(workdir, Standing(24, best, last, 1e6))
    assert load_trained(EXPERIMENT, workdir)[-2:] == (16, -1.0)
    assert train(EXPERIMENT, CONFIG, workdir, resume=True)["best_step"] == 16
    (workdir / "checkpoints" / "00000016" / "manifest.json").unlink()
    result = train(EXPERIMENT, CONFIG, workdir, resume=True)
    assert "step 16 is damaged" in capsys.readouterr().out
    best = checkpoints.verify(workdir / "checkpoints", 8)["value"]
    assert load_trained(EXPERIMENT, workdir)[-2:] == (8, best)
    assert result["best_step"] == 8
    # The training was over: this process added nothing to it.
    assert result["seconds"] == 1e6 < result["wall_seconds"]


@shares_a_run
def test_a_checkpoint_without_an_evaluation_is_no_result(finished, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    for step in checkpoints.steps(workdir / "checkpoints"):
        if step != 20:
            shutil.rmtree(workdir / "checkpoints" / f"{step:08d}")
    ended = dataclasses.replace(CONFIG, steps=20)  # as if that had been the last
    run = read_json(workdir / "run.json")
    run_folder.write_json(workdir / "run.json", run | {"config": as_stored(ended)})
    with pytest.raises(InputError, match="only that of step 20; start a new run"):
        train(EXPERIMENT, ended, workdir, resume=True)


@shares_a_run
def test_a_trained_model_is_that_of_the_best_checkpoint(finished):
    workdir, result = finished
    trained = load_trained(EXPERIMENT, workdir)
    best = checkpoints.restore(workdir / "checkpoints", result["best_step"], target()).state
    expected = evaluated_params(best, CONFIG.ema_decay)
    jax.tree.map(np.testing.assert_array_equal, trained.params, expected)
    assert (trained.best_step, trained.config) == (result["best_step"], CONFIG)
    assert trained.facts == {"kinds": ["slow", "fast", "both", "neither"]}
    other = dataclasses.replace(CONFIG, hidden_size=7, log_interval=9)
    with pytest.raises(InputError, match=r"trained with another --hidden-size; leave that away"):
        load_trained(EXPERIMENT, workdir, other)
    with pytest.raises(InputError, match="holds no run"):
        load_trained(EXPERIMENT, workdir / "checkpoints")


@shares_a_run
def test_going_on_with_other_settings_names_them(finished):
    other = dataclasses.replace(CONFIG, hidden_size=7, dropout=0.1, log_interval=5)
    with pytest.raises(InputError) as caught:
        train(EXPERIMENT, other, finished[0], resume=True)
    message = str(caught.value)
    assert "hidden_size is 7, was 4" in message
    assert "dropout is 0.1, was 0.2" in message
    assert "log_interval" not in message  # has no part in the parameters


@shares_a_run
def test_going_on_with_other_data_is_refused(finished):
    others = dataclasses.replace(EXPERIMENT, load=lambda c: load_few(c)._replace(digest="another"))
    with pytest.raises(InputError, match=r"the data are not those that .* was started on"):
        train(others, CONFIG, finished[0], resume=True)


@shares_a_run
def test_a_run_is_not_written_over(finished):
    with pytest.raises(InputError, match="already holds a run; give --resume"):
        train(EXPERIMENT, CONFIG, finished[0])


@shares_a_run
def test_a_finished_run_of_the_same_settings_is_not_trained_again(finished):
    workdir, result = finished
    untrainable = dataclasses.replace(EXPERIMENT, load=lambda config: 1 / 0)
    assert finished_or_trained(untrainable, CONFIG, workdir) == result
    with pytest.raises(InputError, match=r"cannot resume .* seed is 1, was 0"):
        finished_or_trained(EXPERIMENT, dataclasses.replace(CONFIG, seed=1), workdir)


def test_what_cannot_work_leaves_no_run_behind(tmp_path):
    seen = []

    def refuse(loss_fn):
        def loss(params, batch, carry, key):
            seen.extend(jax.tree.leaves((params, batch)))
            raise ValueError("apply: no such order")

        return loss

    def refuse_carry(*arguments):
        raise ValueError("initial_state: no such size")

    for experiment, options, message in (
        (EXPERIMENT, {"data": "other"}, "--data must be waves, got other"),
        (EXPERIMENT, {"schedule": "diagonal"}, "the model cannot be run so: .*'diagonal'"),
        (spoiled(refuse), {}, "the model cannot be run so: apply: no such order"),
        (
            dataclasses.replace(EXPERIMENT, first_carry=refuse_carry),
            {},
            "the model cannot be run so: initial_state: no such size",
        ),
    ):
        with pytest.raises(InputError, match=message):
            train(experiment, dataclasses.replace(CONFIG, **options), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    # The loss was traced, and nothing computed.
    assert all(isinstance(leaf, jax.core.Tracer) for leaf in seen)
    assert seen


def test_a_bug_is_no_users_mistake(tmp_path):
    def err(*arguments):
        raise ValueError("a bug")

    def problem(config, data, model):
        return problem_of(config, data, model)._replace(batch_at=err)

    with pytest.raises(ValueError, match=r"^a bug$"):
        train(dataclasses.replace(EXPERIMENT, problem=problem), CONFIG, tmp_path / "run")
    no_json = dataclasses.replace(
        EXPERIMENT, load=lambda config: load_few(config)._replace(facts={"kinds": np.ones(4)})
    )
    with pytest.raises(TypeError, match="not JSON serializable"):
        train(no_json, CONFIG, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@shares_a_run
def test_a_path_is_kept_in_full(tmp_path, monkeypatch):
    """A run on a file that was named from where it was started is gone on with from anywhere."""
    (tmp_path / "mine").touch()
    monkeypatch.chdir(tmp_path)
    mine = dataclasses.replace(
        EXPERIMENT, load=lambda config: load_few(dataclasses.replace(config, data="waves"))
    )
    config = dataclasses.replace(CONFIG, data="mine")
    result = train(mine, config, tmp_path / "run")
    assert result["data"] == str(tmp_path / "mine")
    assert finished_or_trained(mine, config, tmp_path / "run") == result
    assert load_trained(mine, tmp_path / "run", config).config == config
    monkeypatch.chdir(tmp_path / "run")
    assert load_trained(mine, tmp_path / "run").config.data == str(tmp_path / "mine")


SHORT = dataclasses.replace(
    CONFIG, cell="elman", num_layers=1, dropout=0.0, steps=16, checkpoint_interval=1, log_interval=3
)
# A checkpoint a step: the kill falls in the middle of writing one, mostly.
EVERY_STEP = dataclasses.replace(SHORT, steps=9)
SCRIPT = """
import sys
from experiments.common.training import train
from tests.experiments.test_training import EXPERIMENT, EVERY_STEP
train(EXPERIMENT, EVERY_STEP, sys.argv[1])
"""


def start_and_kill(folder: Path, step: int) -> None:
    """Run in a process of its own, and kill it once it has a checkpoint of this step."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while (
        process.poll() is None and max(checkpoints.steps(folder / "checkpoints"), default=0) < step
    ):
        time.sleep(0.002)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()


@shares_a_run
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    start_and_kill(killed, 3)
    assert not (killed / "result.json").exists()
    for folder in (killed, whole):
        train(EXPERIMENT, EVERY_STEP, folder, resume=True)
    assert bits(killed, 9) == bits(whole, 9)
    assert records(killed) == records(whole)


def test_a_run_that_diverges_stops_and_names_the_tensor(tmp_path):
    wild = dataclasses.replace(SHORT, learning_rate=1e38, ema_decay=0.0)
    with pytest.raises(FloatingPointError) as caught:
        train(TEMPLATE, wild, tmp_path / "run")
    found = re.search(r"step (\d+): not finite: (loss|gradients|parameters)", str(caught.value))
    assert found, str(caught.value)
    folder = tmp_path / "run" / "checkpoints"
    assert "last good checkpoint" in str(caught.value)
    assert max(checkpoints.steps(folder), default=0) < int(found[1])


@shares_a_run
def test_a_number_that_is_not_finite_is_never_written(tmp_path):
    """The loss of batch 10 alone is no number; that is two after a checkpoint."""

    def spoil(loss_fn):
        def loss(params, batch, carry, key):
            loss, carry = loss_fn(
                params, batch._replace(lengths=jnp.abs(batch.lengths)), carry, key
            )
            return loss + jnp.where(batch.lengths.min() < 0, jnp.nan, 0.0), carry

        return loss

    def problem(config, data, model):
        of_this = spoiled(spoil).problem(config, data, model)

        def batch_at(step):
            batch = of_this.batch_at(step)
            return batch._replace(lengths=-batch.lengths) if step == 9 else batch

        return of_this._replace(batch_at=batch_at)

    message = r"step 10: not finite: loss; .*last good checkpoint: step 8"
    with pytest.raises(FloatingPointError, match=message):
        train(dataclasses.replace(EXPERIMENT, problem=problem), CONFIG, tmp_path / "run")
    assert checkpoints.steps(tmp_path / "run" / "checkpoints") == [4, 8]
    assert [record["step"] for record in read_metrics(tmp_path / "run")] == [4, 8]


def side_by_side(seeds: tuple[int, ...], names: bool) -> Experiment:
    """The experiment with a model a seed; they read the same batches."""

    def problem(config, data, model):
        alone = problem_of(config, data, model)
        one = dataclasses.replace(config, seed=5)

        def evaluate(params):
            each = [
                alone.evaluate(jax.tree.map(lambda leaf, m=m: leaf[m], params))["validation_loss"]
                for m in range(len(seeds))
            ]
            of_each = {f"validation_{s}": loss for s, loss in zip(seeds, each, strict=True)}
            return {"validation_loss": float(np.mean(each))} | of_each

        def batch_at(step):
            batch = problem_of(one, data, model).batch_at(step)
            return jax.tree.map(lambda leaf: np.stack([leaf] * len(seeds)), batch)

        return alone._replace(evaluate=evaluate, batch_at=batch_at)

    return dataclasses.replace(
        EXPERIMENT,
        problem=problem,
        keys=lambda config, facts: jax.vmap(jax.random.key)(jnp.array(seeds)),
        names=(lambda config, facts: [str(seed) for seed in seeds]) if names else None,
        measure=lambda trained, data: ({}, {}),
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three seeds, of which each chooses its own best evaluation."""
    workdir = tmp_path_factory.mktemp("runs") / "three"
    config = dataclasses.replace(SHORT, eval_interval=2, learning_rate=0.3, warmup_steps=0)
    return config, workdir, train(side_by_side((3, 4, 5), names=True), config, workdir)


@pytest.mark.xdist_group("three")
def test_each_model_is_the_one_of_its_own_best_evaluation(three):
    config, workdir, result = three
    losses = {r["step"]: r for r in read_metrics(workdir) if "validation_3" in r}
    assert checkpoints.steps(workdir / "checkpoints") == list(losses)
    for seed, step in zip((3, 4, 5), result["best_step"].values(), strict=True):
        best = min(losses, key=lambda s: losses[s][f"validation_{seed}"])
        assert step == best
    assert len(set(result["best_step"].values())) > 1  # else this would show nothing
    trained = load_trained(side_by_side((3, 4, 5), names=True), workdir)
    assert dict(zip("345", trained.best_step, strict=True)) == result["best_step"]
    data = load_few(config)
    found = (
        side_by_side((3, 4, 5), True).problem(config, data, trained.model).evaluate(trained.params)
    )
    for seed, step in zip((3, 4, 5), trained.best_step, strict=True):
        np.testing.assert_allclose(
            found[f"validation_{seed}"], losses[step][f"validation_{seed}"], rtol=1e-5
        )


@pytest.mark.xdist_group("three")
def test_a_damaged_evaluation_is_left_out(three, tmp_path, capsys):
    _, finished, result = three
    workdir = tmp_path / "copy"
    shutil.copytree(finished, workdir)
    damaged = result["best_step"]["3"]
    (workdir / "checkpoints" / f"{damaged:08d}" / "manifest.json").unlink()
    experiment = side_by_side((3, 4, 5), names=True)
    trained = load_trained(experiment, workdir)
    assert f"step {damaged} is damaged" in capsys.readouterr().out
    losses = {r["step"]: r["validation_3"] for r in read_metrics(workdir) if "validation_3" in r}
    losses.pop(damaged)
    assert trained.best_step[0] == min(losses, key=lambda step: losses[step])
    shutil.rmtree(workdir / "checkpoints")
    with pytest.raises(InputError, match="no checkpoint of an evaluation that can be read"):
        load_trained(experiment, workdir)


@pytest.mark.xdist_group("three")
def test_a_seed_among_others_is_that_seed_alone(three, tmp_path):
    """To rounding; the metrics of its validation are compared, step by step."""
    config, workdir, _ = three
    train(side_by_side((4,), names=True), config, tmp_path)
    alone, among = (
        [r["validation_4"] for r in read_metrics(folder) if "validation_4" in r]
        for folder in (tmp_path, workdir)
    )
    assert len(alone) == 8
    np.testing.assert_allclose(alone, among, rtol=2e-4)
