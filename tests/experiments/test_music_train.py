"""Whole runs at tiny sizes: files, going on, seeds side by side, composing, comparing."""

import dataclasses
import shutil
from pathlib import Path

import jax
import mido
import numpy as np
import pytest

from experiments.common import checkpoints
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.records import read_json
from experiments.common.settings import as_stored
from experiments.music_generation import __main__ as cli
from experiments.music_generation import compare as comparing
from experiments.music_generation.config import FREE_ON_RESUME, Config
from experiments.music_generation.configs import PRESETS
from experiments.music_generation.generate import load_composer
from experiments.music_generation.midi import read_midi
from experiments.music_generation.model import music_model
from experiments.music_generation.seeds import evaluated_params_of_each, initial_states
from experiments.music_generation.train import train
from tests.experiments.test_music_midi import user_file

TINY = Config(
    hidden_size=6,
    num_layers=1,
    num_seeds=2,
    seed=3,
    dropout=0.3,
    input_dropout=0.1,
    ema_decay=0.9,
    steps=8,
    batch_size=4,
    crop_frames=24,
    num_buckets=1,
    warmup_steps=2,
    log_interval=2,
    eval_interval=4,
    checkpoint_interval=2,
    keep_checkpoints=4,
    sample_frames=6,
)

shares_a_run = pytest.mark.xdist_group("music_train")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was never interrupted, and its result."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, train(TINY, workdir)


def state_of(config, workdir, step):
    target = jax.eval_shape(lambda: initial_states(config, music_model(config)))
    state = checkpoints.restore(workdir / "checkpoints", step, target).state
    return state._replace(key=jax.random.key_data(state.key))


def bits(workdir, step, config=TINY):
    leaves = jax.tree_util.tree_leaves_with_path(state_of(config, workdir, step))
    return {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}


@shares_a_run
def test_a_run_leaves_its_files_and_its_figures(finished):
    workdir, result = finished
    files = {"sample.mid", "sample.png", "learning_curve.png", "result.json", "run.json"}
    assert files <= {path.name for path in workdir.iterdir()}
    assert len(result["test_nll_of_seeds"]) == 2
    np.testing.assert_allclose(result["test_nll"], np.mean(result["test_nll_of_seeds"]))
    deviation = abs(np.subtract(*result["test_nll_of_seeds"])) / np.sqrt(2)
    np.testing.assert_allclose(result["test_nll_deviation"], deviation)
    assert set(result["test_baselines"]) == {
        "note frequencies",
        "repeat the last frame",
        "Markov chain a note",
    }
    assert result["test_oracle_nll"] < min(result["test_baselines"].values())
    curve = [r["validation_nll"] for r in read_metrics(workdir) if "validation_nll" in r]
    assert curve[-1] < curve[0]
    assert result["validation_nll"] == min(curve)
    assert read_midi(workdir / "sample.mid", 1.0).roll.shape[0] <= 6


@shares_a_run
def test_going_on_gives_the_same_bits(finished, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    for step in (6, 8):
        shutil.rmtree(workdir / "checkpoints" / f"{step:08d}")
    train(TINY, workdir, resume=True)
    assert bits(workdir, 8) == bits(finished[0], 8)
    with pytest.raises(InputError, match="hidden_size is 7, was 6"):
        train(dataclasses.replace(TINY, hidden_size=7), workdir, resume=True)


@shares_a_run
def test_a_seed_trained_alone_comes_to_the_same(finished, tmp_path):
    """Batches, dropout, clipping and the mean: nothing may leak from the seed beside it."""
    alone = dataclasses.replace(TINY, seed=4, num_seeds=1)
    result = train(alone, tmp_path / "alone")
    both = state_of(TINY, finished[0], 8)
    single = state_of(alone, tmp_path / "alone", 8)
    for a, b in zip(jax.tree.leaves(both.params), jax.tree.leaves(single.params), strict=True):
        np.testing.assert_allclose(a[1], b[0], rtol=2e-4, atol=2e-5)
    assert not np.allclose(jax.tree.leaves(both.params)[0][0], jax.tree.leaves(both.params)[0][1])
    np.testing.assert_allclose(finished[1]["test_nll_of_seeds"][1], result["test_nll"], rtol=1e-4)


@shares_a_run
def test_composing_uses_the_best_checkpoint(finished):
    workdir, result = finished
    composer = load_composer(workdir)
    target = jax.eval_shape(lambda: initial_states(TINY, composer.model))
    best = checkpoints.restore(workdir / "checkpoints", result["best_step"], target).state
    expected = evaluated_params_of_each(best, TINY.ema_decay)
    for a, b in zip(jax.tree.leaves(composer.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b[0])


@shares_a_run
def test_going_on_from_a_users_file(finished, tmp_path, capsys):
    notes = [(60, 0.0, 4.0, 0), (64, 1.0, 4.0, 0), (36, 0.0, 1.0, 9), (110, 0.0, 1.0, 0)]
    tune = user_file(tmp_path / "tune.mid", notes, ticks_per_beat=120, tempo=600_000)
    output = tmp_path / "out" / "more.mid"
    options = ["--workdir", str(finished[0]), "--seed-midi", str(tune), "--output", str(output)]
    cli.main(["--generate", *options, "--sample-frames", "5", "--max-notes", "3", "--min-notes=1"])
    out = capsys.readouterr()
    assert "left out of" in out.err
    assert "1 drum notes" in out.err
    assert "1 notes outside" in out.err
    assert "4 frames given and 5 composed" in out.out
    score = read_midi(output, 1.0)
    assert score.tempo == 600_000
    np.testing.assert_array_equal(score.roll[:4], read_midi(tune, 1.0).roll)
    assert set(score.roll[4:].sum(axis=1)) <= {1, 2, 3}
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    cli.main(["--generate", *options, "--seed-frames", "2"])
    assert "2 frames given and 6 composed" in capsys.readouterr().out


@shares_a_run
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed-midi", "missing.mid"], "there is no file missing.mid"),
        (["--output", "song.wav"], "must end in .mid"),
        (["--sample-frames", "0"], "--sample-frames must be >= 1"),
        (["--max-notes", "2", "--min-notes", "3"], "--min-notes must be <= max_notes=2"),
        (["--temperature", "-1"], "--temperature must be >= 0"),
        (["--data", "jsb"], "none trained on jsb, it was trained on chorales"),
        (["--preset", "jsb"], "none of --preset jsb, it was trained on chorales"),
        (["--seed-midi", "a.mid", "--output", "./a.mid"], "would overwrite --seed-midi"),
    ],
    ids=str,
)
def test_what_cannot_be_composed(finished, options, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        cli.main(["--generate", "--workdir", str(finished[0]), *options])


def test_composing_needs_a_run_and_its_options_need_generate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="no run in runs/music_generation; train one"):
        cli.main(["--generate"])
    with pytest.raises(SystemExit, match="belong to --generate"):
        cli.main(["--seed-midi", "tune.mid"])
    with pytest.raises(SystemExit, match="2"):  # tyro's own message, and no KeyError
        cli.main(["--preset", "bach"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_seeds": 0}, "--num-seeds must be >= 1"),
        ({"dropout": 1.0}, r"--dropout must be in \[0, 1\)"),
        ({"crop_frames": 1}, "--crop-frames must be >= 2"),
        ({"warmup_steps": 500}, "--warmup-steps must be below steps=500"),
        ({"learning_rate": float("nan")}, "--learning-rate must be > 0 and finite"),
        ({"transpose": -1}, "--transpose must be >= 0"),
        ({"transpose_share": 1.1}, "--transpose-share must be in"),
        ({"min_notes": 89}, "--min-notes"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**{"steps": 500} | options)


def test_a_network_that_cannot_be_run_leaves_no_run(tmp_path):
    config = dataclasses.replace(TINY, skip="dense", schedule="wavefront")
    with pytest.raises(InputError, match="schedule='wavefront' cannot run this network"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_presets_and_free_options():
    assert PRESETS["default"] == Config()
    assert PRESETS["jsb"].data == "jsb"
    assert PRESETS["jsb"].num_seeds >= 3
    assert PRESETS["nottingham"].data == "nottingham"
    assert {field.name for field in dataclasses.fields(Config)} >= FREE_ON_RESUME


def test_two_steps_of_the_default_run(tmp_path, monkeypatch, capsys):
    """No arguments but fewer steps: offline, whatever the environment says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEEPRNN_DATA", raising=False)
    cli.main(["--steps=2", "--warmup-steps=1", "--hidden-size=8", "--num-buckets=1"])
    out = capsys.readouterr().out
    for words in ("Markov chain a note", "one who knows the rules", "over 3 seeds"):
        assert words in out
    (run,) = Path("runs/music_generation").iterdir()
    assert mido.MidiFile(run / "sample.mid").length > 0


@shares_a_run
def test_comparing_makes_a_table_and_goes_on(tmp_path, monkeypatch):
    """One of the nine; a second call trains nothing anew."""
    monkeypatch.setattr(comparing, "CELLS", {"gru": "GRU"})
    monkeypatch.setattr(comparing, "DEPTHS", (1,))
    # The schedule of the run above, whose compiled programs serve here too.
    monkeypatch.setattr(comparing, "SCHEDULES", {"chorales": TINY})
    comparison = comparing.Comparison(steps=4)
    content = comparing.compare(comparison, tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert "| cell | 1 layer | published |" in table
    result = read_json(tmp_path / "gru-1" / "result.json")
    assert result["config"] == as_stored(dataclasses.replace(TINY, steps=4, warmup_steps=0))
    assert f"{result['test_nll']:.3f} ± {result['test_nll_deviation']:.3f}" in table
    assert (tmp_path / "comparison.png").is_file()
    trained = []
    monkeypatch.setattr(comparing, "train", lambda *_, **__: trained.append(1))
    assert comparing.compare(comparison, tmp_path)["rows"] == content["rows"]
    assert not trained
