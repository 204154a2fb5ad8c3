"""Whole runs at tiny sizes, and a user's own recordings through them."""

import dataclasses
import re
import shutil
from functools import lru_cache

import jax
import numpy as np
import pytest
import soundfile

from experiments.common import checkpoints
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.records import read_json, write_json
from experiments.common.settings import as_stored
from experiments.speech_recognition import __main__ as cli
from experiments.speech_recognition import decode, depth_sweep, formants, measure
from experiments.speech_recognition import run as running
from experiments.speech_recognition import train as training
from experiments.speech_recognition import transcribe as transcribing
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.configs import PRESETS
from experiments.speech_recognition.decode import Fusion
from experiments.speech_recognition.features import Moments
from experiments.speech_recognition.recognizer import DEFAULT_FUSION, load_recognizer
from experiments.speech_recognition.run import initial_train_state
from experiments.speech_recognition.train import train
from experiments.speech_recognition.transcribe import features_of, make_transcriber

# The default run on few voices.
TINY = Config(
    num_bands=8,
    hidden_size=6,
    num_layers=1,
    num_lengths=1,
    batch_size=4,
    ema_decay=0.9,
    steps=2,
    warmup_steps=1,
    beam_size=4,
    ngram_order=3,
    log_interval=1,
    eval_interval=1,
    checkpoint_interval=1,
)

# One worker of pytest-xdist for the tests that share a run and its compiled programs.
pytestmark = pytest.mark.xdist_group("speech_train")


@pytest.fixture(scope="module", autouse=True)
def few_voices():
    """Make the default run small: voices, rows of a search, what is tried, compilations."""

    @lru_cache  # by the config, of which the model is a function
    def step_of(config):
        return make_train_step(config, running.acoustic_model(config, 11))

    make_train_step = running.make_train_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formants, "NUM_SPEAKERS", {"train": 1, "valid": 1, "test": 1})
        patch.setattr(formants, "TAKES", {"train": 2, "valid": 1, "test": 1})
        patch.setattr(decode, "_ROWS", 4)
        patch.setattr(measure, "_WEIGHTS", (0.3, 0.6))
        patch.setattr(measure, "_BONUSES", (0.0,))
        patch.setattr(running, "make_train_step", lambda config, model: step_of(config))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two steps that was never interrupted, and its result."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, train(TINY, workdir)


@pytest.fixture(scope="module")
def recognizer(finished):
    return load_recognizer(finished[0])


def bits(workdir, step):
    """All of a checkpoint's arrays: parameters, optimiser, mean and key."""
    found = load_recognizer(workdir)
    target = jax.eval_shape(lambda: initial_train_state(found.config, found.model))
    state = checkpoints.restore(workdir / "checkpoints", step, target).state
    state = state._replace(key=jax.random.key_data(state.key))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def test_two_steps_leave_a_whole_run(finished):
    workdir, result = finished
    assert {path.name for path in workdir.iterdir()} == {
        *("checkpoints", "learning_curve.png", "metrics.jsonl", "posteriors.png"),
        *("result.json", "run.json", "tensorboard", "transcripts.txt"),
    }
    assert read_json(workdir / "result.json") == result
    assert set(result["decoders"]) == {"greedy", "beam", "ngram"}
    assert set(result["baselines"]) == {
        "most frequent transcript",
        "n-gram's best text of the right length",
        "nearest mean spectrum, frame by frame",
    }
    curve = [record["validation_cer"] for record in read_metrics(workdir)]
    assert result["validation_cer"] == min(curve)
    # The checkpoint of the best validation is the one that was decoded with.
    assert result["decoders"]["greedy"]["validation"]["cer"] == min(curve)
    assert (workdir / "transcripts.txt").read_text().count("  reference ") >= 1


def test_a_run_that_is_gone_on_with_is_the_same_bit_for_bit(finished, tmp_path, capsys):
    whole, _ = finished
    part = tmp_path / "part"
    shutil.copytree(whole, part)
    for path in (part / "checkpoints").iterdir():  # as it was after the first step
        if int(path.name) > 1:
            shutil.rmtree(path)
    for name in ("result.json", "posteriors.png"):
        (part / name).unlink()
    resumed = train(TINY, part, resume=True)
    assert "going on from step 1" in capsys.readouterr().out
    assert bits(part, 2) == bits(whole, 2)
    clock = {"seconds", "wall_seconds"}
    first = read_json(whole / "result.json")
    assert {k: v for k, v in resumed.items() if k not in clock} == {
        k: v for k, v in first.items() if k not in clock
    }


def test_a_run_is_not_started_twice_nor_gone_on_with_otherwise(finished):
    workdir, _ = finished
    with pytest.raises(InputError, match="already holds a run"):
        train(TINY, workdir)
    with pytest.raises(InputError, match="hidden_size is 7, was 6"):
        train(dataclasses.replace(TINY, hidden_size=7), workdir, resume=True)
    with pytest.raises(InputError, match="num_bands is 9, was 8"):
        train(dataclasses.replace(TINY, num_bands=9), workdir, resume=True)


def test_a_network_that_cannot_be_run_leaves_no_run(tmp_path):
    config = dataclasses.replace(TINY, bidirectional=False, skip="dense", schedule="wavefront")
    with pytest.raises(InputError, match="schedule='wavefront' cannot run this network"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_ngram_model_is_decoded_with_when_it_is_asked_for(finished, monkeypatch):
    workdir, result = finished
    other = dataclasses.replace(TINY, ngram_order=2)
    asked = []
    monkeypatch.setattr(training, "measure", lambda run, found: asked.append(found) or 1 / 0)
    with pytest.raises(ZeroDivisionError):  # in place of measuring
        train(other, workdir, resume=True)
    usual, found = load_recognizer(workdir), asked[0]
    assert found.config.ngram_order == 2
    assert len(found.language_model.log_probs) < len(usual.language_model.log_probs)
    # A weight that was chosen for one model is not used for another.
    assert usual.fusion._asdict() == result["fusion"]
    assert found.fusion == DEFAULT_FUSION
    with pytest.raises(InputError, match="leave --hidden-size away"):
        load_recognizer(workdir, config=dataclasses.replace(TINY, hidden_size=7))


def own_recording(path, rate=22_050, seconds=1.3, channels=2, level=0.3):
    """A user's file: a voice of this test's, at another rate, in stereo."""
    rng = np.random.default_rng(5)
    t = np.arange(round(rate * seconds)) / rate
    wave = np.sin(2 * np.pi * 150 * t) * np.sin(2 * np.pi * 3 * t) + rng.normal(0, 0.05, len(t))
    wave *= level / np.abs(wave).max()
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate)
    return path


@pytest.mark.parametrize("decoder", ["greedy", "ngram"])
def test_a_users_stereo_file_of_another_rate_is_written_down(recognizer, tmp_path, decoder):
    path, notes = own_recording(tmp_path / "own.wav"), []
    text = make_transcriber(recognizer, decoder, notes.append)(path)
    assert set(text) <= set("0123456789")
    assert [re.sub(r".*: ", "", note) for note in notes] == [
        "2 channels, averaged to one",
        "resampled from 22,050 to 8,000 Hz",
        *([] if text else ["no speech found"]),
    ]


def test_the_language_model_has_a_say_with_ngram_only(recognizer, tmp_path, monkeypatch):
    asked = []

    def search(alphabet, beam_size, model=None):
        def best(outputs, fusion=Fusion(0.0, 0.0)):
            asked.append((model, fusion))
            return ["1"]

        return best

    monkeypatch.setattr(transcribing, "BeamSearch", search)
    path = own_recording(tmp_path / "own.wav")
    for decoder in ("greedy", "beam", "ngram"):
        make_transcriber(recognizer, decoder, print)(path)
    # As `measure` decodes: the bonus, too, is for the search with the model alone.
    fused = (recognizer.language_model, recognizer.fusion)
    assert asked == [(None, Fusion(0.0, 0.0)), fused]
    assert any(recognizer.fusion)


def test_a_file_gives_the_features_that_training_would(recognizer, tmp_path):
    """The signal of a test utterance, written to a file, is normalised as that one was."""
    u = formants.load(0).test[0]
    soundfile.write(tmp_path / "u.wav", u.wave, 8000, subtype="FLOAT")
    frames = features_of(recognizer, tmp_path / "u.wav", print)
    assert len(frames) == 1 + (len(u.wave) - 200) // 80
    np.testing.assert_allclose(frames.mean(axis=0), 0.0, atol=1e-4)
    config = dataclasses.replace(recognizer.config, normalization="global")
    shifted = Moments(recognizer.moments.mean + 1.0, recognizer.moments.deviation)
    one, two = (
        features_of(recognizer._replace(config=config, moments=m), tmp_path / "u.wav", print)
        for m in (recognizer.moments, shifted)
    )
    np.testing.assert_allclose(
        one - two, (1.0 / shifted.deviation)[None] * np.ones_like(one), rtol=1e-3
    )


def test_the_level_of_a_recording_hardly_matters(recognizer, tmp_path):
    loud, soft = (
        features_of(recognizer, own_recording(tmp_path / f"{level}.wav", level=level), print)
        for level in (0.9, 0.3)
    )
    assert np.abs(loud - soft).max() < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0.05}, "lasts 50 ms"),
        ({"level": 1e-5}, "is silent"),
        ({"seconds": 0.0}, "no samples"),
        ({"seconds": 9.0}, "lasts 9 s, at most 8 can be read at once"),
    ],
)
def test_a_recording_that_is_no_use_is_refused(recognizer, tmp_path, monkeypatch, options, message):
    monkeypatch.setattr(transcribing, "_LONGEST_S", 8)
    path = tmp_path / "odd.wav"
    if options.get("seconds") == 0.0:
        soundfile.write(path, np.zeros((0, 2)), 8000)
    else:
        own_recording(path, **options)
    with pytest.raises(InputError, match=message):
        make_transcriber(recognizer, "greedy", print)(path)


def test_a_recording_much_longer_than_training_is_said_so(recognizer, tmp_path):
    notes = []
    path = own_recording(tmp_path / "long.wav", rate=8000, channels=1, seconds=12.0)
    features_of(recognizer, path, notes.append)
    assert len(notes) == 1
    assert "12.0 s, and the model was trained on at most" in notes[0]


def test_a_recording_that_was_too_loud_is_said_so(recognizer, tmp_path):
    wave = np.random.default_rng(0).laplace(size=8000)  # with rare peaks, as speech has
    wave /= np.abs(wave).max()
    for level, told in ((0.9, 0), (1.0, 0), (3.0, 1)):
        soundfile.write(tmp_path / "loud.wav", np.clip(level * wave, -1, 1), 8000)
        notes = []
        features_of(recognizer, tmp_path / "loud.wav", notes.append)
        assert sum("seems to be clipped" in note for note in notes) == told == len(notes)


def test_the_command_writes_recordings_down(finished, tmp_path, capsys):
    paths = [own_recording(tmp_path / f"{i}.wav", rate=8000, channels=1) for i in range(2)]
    common = ["--workdir", str(finished[0]), "--decoder", "greedy", "--transcribe"]
    cli.main([*common, str(paths[0])])
    (one,) = capsys.readouterr().out.splitlines()
    cli.main([*common, *map(str, paths)])
    assert capsys.readouterr().out.splitlines() == [f"{path}: {one}" for path in paths]
    # One that cannot be read does not cost those after it.
    with pytest.raises(SystemExit) as caught:
        cli.main([*common, str(paths[0]), str(tmp_path / "none.wav"), str(paths[1])])
    assert caught.value.code == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{path}: {one}" for path in paths]
    assert re.search(r"^error: .* there is no file .*none\.wav", err, re.MULTILINE)
    with pytest.raises(SystemExit, match=r"error: .* names no recording"):
        cli.main(common)


def test_the_commands_options_reach_the_search(finished, monkeypatch, capsys):
    seen = []

    def make_transcriber(found, *_):
        seen.append(found.config)
        return lambda path: ""

    monkeypatch.setattr(cli, "make_transcriber", make_transcriber)
    common = ["--workdir", str(finished[0]), "--transcribe", "a.wav", "--beam-size", "2"]
    cli.main(common)
    assert seen == [dataclasses.replace(TINY, beam_size=2)]
    told = f"using {finished[0]}, trained on formants\nit knows '0123456789'\n"
    assert capsys.readouterr().err.endswith(told)
    with pytest.raises(SystemExit, match="leave --num-layers away"):
        cli.main([*common, "--num-layers", "2"])


def test_there_must_be_a_run_to_transcribe_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="no run in"):
        cli.main(["--transcribe", "a.wav"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="holds no run"):
        cli.main(["--workdir", "empty", "--transcribe", "a.wav"])


def test_a_corpus_brings_its_settings_and_options_win():
    assert cli.parse([]) == (cli.Task(), Config())
    assert cli.parse(["--data", "an4"])[1] == PRESETS["an4"]
    assert cli.parse(["--data=fsdd", "--steps", "200"])[1] == dataclasses.replace(
        PRESETS["fsdd"], steps=200
    )
    assert cli.parse(["--preset", "an4", "--seed", "3"])[1] == dataclasses.replace(
        PRESETS["an4"], seed=3
    )
    assert cli.parse(["--preset", "an4", "--data", "fsdd"])[1].hidden_size == (
        PRESETS["an4"].hidden_size
    )
    with pytest.raises(InputError, match="must be formants, an4, fsdd, or a folder of your own"):
        cli.parse(["--data", "timit"])


def test_the_sweep_over_depth_goes_on_where_it_stopped(finished, tmp_path, monkeypatch):
    asked = []

    def trained(config, folder, *, resume):
        assert resume
        asked.append(config.num_layers)
        shutil.copytree(finished[0], folder, dirs_exist_ok=True)
        result = read_json(finished[0] / "result.json") | {"config": as_stored(config)}
        write_json(folder / "result.json", result)
        return result

    monkeypatch.setattr(depth_sweep, "train", trained)
    settings = depth_sweep.Sweep(config=TINY, depths=(1, 3))
    (tmp_path / "layers-3").mkdir()
    shutil.copy(finished[0] / "run.json", tmp_path / "layers-3")
    rows = depth_sweep.sweep(settings, tmp_path)
    assert asked == [1, 3]
    assert depth_sweep.sweep(settings, tmp_path) == rows
    assert len(asked) == 2  # both are finished
    assert {path.name for path in tmp_path.iterdir()} == {
        *("layers-1", "layers-3", "depth.md", "depth.json", "depth.png")
    }
    table = (tmp_path / "depth.md").read_text()
    assert "2 steps of 4 utterances" in table
    assert table.count("\n| ") == 3  # head and two depths
    longer = dataclasses.replace(settings, config=dataclasses.replace(TINY, steps=3))
    depth_sweep.sweep(longer, tmp_path)
    assert asked == [1, 3, 1, 3]  # the results that lie there are of other settings
