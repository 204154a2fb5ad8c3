"""Whole runs at tiny sizes: files, going on, seeds side by side, composing, comparing."""

import contextlib
import dataclasses
import io
import shutil
from pathlib import Path

import jax
import mido
import numpy as np
import pytest

from experiments.common import command, sweep
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.records import read_json
from experiments.common.settings import as_stored, differing_fields
from experiments.common.training import load_trained
from experiments.music_generation.compare import (
    SCHEDULES,
    Comparison,
    base_config,
    comparison_of,
)
from experiments.music_generation.config import Config
from experiments.music_generation.configs import PRESETS
from experiments.music_generation.data import load
from experiments.music_generation.experiment import EXPERIMENT
from experiments.music_generation.midi import read_midi, write_midi
from experiments.music_generation.rolls import NUM_KEYS
from experiments.music_generation.use import compose, write_piece
from tests.experiments.test_music_data import random_pieces
from tests.experiments.test_music_midi import user_file

# One worker of pytest-xdist, for they share a run.
pytestmark = pytest.mark.xdist_group("music_train")

TINY = Config(
    cell="elman",
    hidden_size=6,
    num_layers=1,
    num_seeds=2,
    seed=3,
    dropout=0.3,
    input_dropout=0.1,
    ema_decay=0.9,
    steps=4,
    batch_size=4,
    crop_frames=24,
    num_buckets=1,
    warmup_steps=1,
    eval_interval=2,
    sample_frames=6,
)
FREE = {"log_interval": 2, "checkpoint_interval": 2, "sample_frames": 6}
SHAPING = {name: getattr(TINY, name) for name in differing_fields(TINY, as_stored(Config()))}
OPTIONS = [f"--{n.replace('_', '-')}={v}" for n, v in (SHAPING | FREE).items()]


def main(*words):
    command.main(EXPERIMENT, words)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on own music, from the command line: its settings, its folder, what it said."""
    place = tmp_path_factory.mktemp("music")
    (place / "own music").mkdir()
    for i, piece in enumerate(random_pieces(range(12, 20))):
        write_midi(place / "own music" / f"{i}.mid", piece, 0.5)
    config = dataclasses.replace(TINY, data=str(place / "own music"), **FREE)
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(place)
        main("--data", "own music", *OPTIONS, "--workdir", "run")
    return config, place / "run", said.getvalue()


@pytest.fixture(scope="module")
def trained(finished):
    return load_trained(EXPERIMENT, finished[1])


def first_of(params):
    return jax.tree.map(lambda leaf: leaf[0], params)


def test_a_run_leaves_its_files_and_its_figures(finished):
    config, workdir, said = finished
    files = {"sample.mid", "sample.png", "learning_curve.png", "result.json", "run.json"}
    assert files <= {path.name for path in workdir.iterdir()}
    result = read_json(workdir / "result.json")
    assert result["config"] == as_stored(config)
    assert (result["seeds"], result["test_oracle_nll"]) == ([3, 4], None)
    np.testing.assert_allclose(result["test_nll"], np.mean(result["test_nll_of_seeds"]))
    deviation = abs(np.subtract(*result["test_nll_of_seeds"])) / np.sqrt(2)
    np.testing.assert_allclose(result["test_nll_deviation"], deviation)
    assert set(result["test_baselines"]) == {
        "note frequencies",
        "repeat the last frame",
        "Markov chain a note",
    }
    assert np.isfinite([result["test_nll"], *result["test_baselines"].values()]).all()
    assert result["test_frames"] == len(load(config).test[0]) - 1
    curve = [r["validation_nll"] for r in read_metrics(workdir) if "validation_nll" in r]
    assert curve[-1] < curve[0]
    assert result["validation_nll"] == min(curve)
    assert read_midi(workdir / "sample.mid", 0.5).roll.shape[0] <= 6
    for words in (f"reading 8 MIDI files in {config.data}", "Markov chain a note", "over 2 seeds"):
        assert words in said
    assert "Bai et al." not in said


@pytest.fixture(scope="module")
def alone(finished, tmp_path_factory):
    """A table of one run, that of the second seed, and its folder."""
    config, _, _ = finished
    base = dataclasses.replace(config, seed=4, num_seeds=1)
    folder = tmp_path_factory.mktemp("alone")
    return sweep.run(comparison_of(base, cells=["elman"], depths=[1]), folder), folder


def test_a_seed_trained_alone_comes_to_the_same(trained, alone):
    """Batches, dropout, clipping and the mean: nothing may leak from the seed beside it."""
    content, folder = alone
    single = load_trained(EXPERIMENT, folder / "elman-1")
    pairs = zip(jax.tree.leaves(trained.params), jax.tree.leaves(single.params), strict=True)
    for both, one in pairs:
        np.testing.assert_allclose(both[1], one[0], rtol=2e-4, atol=2e-5)
    assert not np.allclose(*jax.tree.leaves(trained.params)[0])
    of_seeds = read_json(trained.folder / "result.json")["test_nll_of_seeds"]
    np.testing.assert_allclose(of_seeds[1], content["rows"][0]["test_nll"], rtol=1e-4)


def test_comparing_makes_a_table_and_goes_on(finished, alone, tmp_path):
    """What is finished is not trained anew."""
    config, whole, _ = finished
    shutil.copytree(whole, tmp_path / "elman-1")
    shutil.rmtree(tmp_path / "elman-1" / "checkpoints")  # with which it could not even be read
    content = sweep.run(comparison_of(config, cells=["elman"], depths=[1]), tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert "| cell | 1 layer | published |\n|---|---|---|\n| RNN | " in table
    result = read_json(tmp_path / "elman-1" / "result.json")
    assert f"{result['test_nll']:.3f} ± {result['test_nll_deviation']:.3f} (" in table
    assert content["config"] == as_stored(config)
    assert read_json(tmp_path / "comparison.json") == content
    assert "±" not in (alone[1] / "table.md").read_text()
    assert (tmp_path / "comparison.png").is_file()


def test_a_comparisons_schedule():
    assert base_config(Comparison()) == dataclasses.replace(SCHEDULES["chorales"], warmup_steps=20)
    short = base_config(Comparison(data="jsb", steps=4, num_seeds=1))
    changed = {"steps": 4, "num_seeds": 1, "warmup_steps": 0}
    assert short == dataclasses.replace(SCHEDULES["jsb"], **changed)


def test_the_first_seed_composes(trained, tmp_path):
    roll = write_piece(trained, tmp_path / "again.mid")
    sample = (trained.folder / "sample.mid").read_bytes()
    assert (tmp_path / "again.mid").read_bytes() == sample
    nothing = np.zeros((0, NUM_KEYS), np.uint8)
    composed = compose(trained.model, first_of(trained.params), nothing, trained.config)
    np.testing.assert_array_equal(roll, composed)


def test_a_model_that_knows_c_alone_reads_c(trained, tmp_path, capsys):
    """What is given stays where it is; the answer is moved back."""
    notes = [(n, 0.0, 4.0, 0) for n in (62, 66, 69)]  # D major
    score = read_midi(user_file(tmp_path / "tune.mid", notes), 1.0)
    in_c = trained._replace(facts={"frame_beats": 1.0, "octaves": 1})
    roll = write_piece(in_c, tmp_path / "more.mid", score)
    assert "taken to be in D major: read +10 semitones away" in capsys.readouterr().out
    np.testing.assert_array_equal(roll[:4], score.roll)
    read = np.roll(score.roll, 10, axis=1)
    answer = compose(trained.model, first_of(trained.params), read, trained.config)
    np.testing.assert_array_equal(roll[4:, :70], answer[:, 10:80])


def test_going_on_from_a_users_file(finished, tmp_path, monkeypatch, capsys):
    """From elsewhere, and without the folder that was learned from."""
    config, workdir, _ = finished
    notes = [(60, 0.0, 2.0, 0), (64, 0.5, 2.0, 0), (36, 0.0, 1.0, 9), (110, 0.0, 1.0, 0)]
    tune = user_file(tmp_path / "tune.mid", notes, ticks_per_beat=120, tempo=600_000)
    options = ["--workdir", str(workdir), "--seed-midi", str(tune), "--output", "out/more.mid"]
    monkeypatch.chdir(tmp_path)
    folder = Path(config.data)
    away = folder.rename(folder.with_name("gone"))
    try:
        main("--generate", *options, "--sample-frames=5", "--max-notes=3", "--min-notes=1")
        with pytest.raises(SystemExit, match="own music', which is neither"):
            main("--resume", "--workdir", str(workdir))
    finally:
        away.rename(folder)
    out = capsys.readouterr()
    assert f"left out of {tune}: 1 drum notes" in out.err
    assert "1 notes outside" in out.err
    assert "4 frames given and 5 composed" in out.out
    output = tmp_path / "out" / "more.mid"
    score = read_midi(output, 0.5)
    assert score.tempo == 600_000
    np.testing.assert_array_equal(score.roll[:4], read_midi(tune, 0.5).roll)
    assert set(score.roll[4:].sum(axis=1)) <= {1, 2, 3}
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    main("--generate", *options, "--seed-frames", "2")
    assert "2 frames given and 6 composed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed-midi", "missing.mid"], "there is no file missing.mid"),
        (["--output", "song.wav"], "must end in .mid"),
        (["--seed-midi", "a.mid", "--seed-frames", "0"], "--seed-frames must be >= 1, got 0"),
        (["--seed-midi", "a.mid", "--output", "./a.mid"], "would overwrite --seed-midi"),
    ],
    ids=str,
)
def test_what_cannot_be_composed(finished, options, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        main("--generate", "--workdir", str(finished[1]), *options)


def test_composing_needs_a_run_and_its_options_need_generate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="no run in runs/music_generation; train one"):
        main("--generate")
    with pytest.raises(SystemExit, match="goes with --generate"):
        main("--seed-midi", "tune.mid")
    with pytest.raises(SystemExit, match=r"error: .*'no music', which is neither"):
        main("--data", "no music", "--workdir", "none")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_seeds": 0}, "--num-seeds must be >= 1"),
        ({"crop_frames": 1}, "--crop-frames must be >= 2"),
        ({"transpose": -1}, "--transpose must be >= 0"),
        ({"transpose_share": 1.1}, "--transpose-share must be in"),
        ({"dropout": 1.0}, r"--dropout must be in \[0, 1\)"),
        ({"input_scale": 0.0}, "--input-scale must be > 0 and finite"),
        ({"sample_frames": 0}, "--sample-frames must be >= 1"),
        ({"temperature": -1.0}, "--temperature must be >= 0"),
        ({"min_notes": 3, "max_notes": 2}, "--min-notes must be <= max_notes=2"),
        ({"min_notes": 89, "max_notes": 100}, "--min-notes must be <= max_notes=100, and 88"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


def test_presets():
    assert PRESETS["default"] == Config()
    assert PRESETS["jsb"].data == "jsb"
    assert PRESETS["jsb"].num_seeds >= 3
    assert PRESETS["nottingham"].data == "nottingham"


def test_the_default_data_are_there_offline(tmp_path, monkeypatch, capsys):
    """And one who knows their rules passes all that does not; the programs are compiled already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEEPRNN_DATA", raising=False)
    main(*OPTIONS)
    out = capsys.readouterr().out
    for words in ("Markov chain a note", "one who knows the rules", "over 2 seeds"):
        assert words in out
    (run,) = Path("runs/music_generation").iterdir()
    assert mido.MidiFile(run / "sample.mid").length > 0
    result = read_json(run / "result.json")
    assert result["test_oracle_nll"] < min(result["test_baselines"].values())
