"""A whole run at tiny sizes on a user's own recordings, and others through what it has trained."""

import contextlib
import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.records import read_json
from experiments.common.settings import as_stored
from experiments.common.training import load_trained, train
from experiments.speech_recognition import depth_sweep
from experiments.speech_recognition.alphabet import BLANK, Alphabet
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.configs import PRESETS
from experiments.speech_recognition.data import load
from experiments.speech_recognition.decode import BeamSearch, Fusion, Outputs
from experiments.speech_recognition.experiment import EXPERIMENT
from experiments.speech_recognition.use import (
    DEFAULT_FUSION,
    features_of,
    fusion_of,
    make_decoder,
    transcribe,
)
from tests.experiments.test_speech_own import record_some

# With few layers and the cheapest cell: what takes long is to compile.
TINY = Config(
    cell="elman",
    bidirectional=False,
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
    fusion_weights=(0.3, 0.6),
    fusion_bonuses=(0.0,),
    decode_batch=4,
    log_interval=1,
    eval_interval=1,
    checkpoint_interval=1,
)

# One worker of pytest-xdist for the tests that share a run and its compiled programs.
pytestmark = pytest.mark.xdist_group("speech_train")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = record_some(tmp_path_factory.mktemp("data") / "mine", seconds=0.8)
    return dataclasses.replace(TINY, data=str(folder))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, config):
    """A run of two steps that was never interrupted, its result and what it printed."""
    workdir, printed = tmp_path_factory.mktemp("runs") / "whole", io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = train(EXPERIMENT, config, workdir)
    return workdir, result, printed.getvalue()


@pytest.fixture(scope="module")
def trained(finished):
    return load_trained(EXPERIMENT, finished[0])


def test_two_steps_leave_a_whole_run(finished, config):
    workdir, result, printed = finished
    assert {path.name for path in workdir.iterdir()} == {
        *("checkpoints", "learning_curve.png", "metrics.jsonl", "posteriors.png"),
        *("result.json", "run.json", "tensorboard", "transcripts.txt"),
    }
    assert read_json(workdir / "result.json") == result
    assert set(result["decoders"]) == {"greedy", "beam", "ngram"}
    assert set(result["baselines"]) == {
        "most frequent transcript",
        "n-gram's best text of the right length",
    }
    assert result["data"] == config.data
    curve = [record["validation_cer"] for record in read_metrics(workdir)]
    assert result["validation_cer"] == min(curve)
    # The checkpoint of the best validation is the one that was decoded with.
    assert result["decoders"]["greedy"]["validation"]["cer"] == min(curve)
    assert (workdir / "transcripts.txt").read_text().count("  reference ") >= 1
    assert "corpus mine: 10 training (0.1 min), 1 validation" in printed
    assert "; licence: your own recordings\ncharacters: ' ENOSY'\n" in printed
    rates = {name: 100 * found["test"]["cer"] for name, found in result["decoders"].items()}
    for name, start in (("greedy", "best path"), ("beam", "prefix beam of 4"), ("ngram", "and 3-")):
        (line,) = re.findall(rf"^{start}.*? [\d.]+ +[\d.]+ +([\d.]+) +[\d.]+$", printed, re.M)
        assert line == f"{rates[name]:.2f}"
    for name, found in result["baselines"].items():
        assert re.search(rf"^{re.escape(name)} +{100 * found['cer']:.2f} ", printed, re.M)
    assert "reference   " in printed


def decoder_of(trained, name) -> Any:
    """What `make_decoder` returns, to look into."""
    return make_decoder(trained, name)


def test_another_ngram_model_is_decoded_with_when_it_is_asked_for(finished, trained, config):
    workdir, result, _ = finished
    other = dataclasses.replace(config, ngram_order=2)
    found = load_trained(EXPERIMENT, workdir, other)
    # To measure, and to transcribe.
    sizes = [len(load(one).language_model.log_probs) for one in (config, other)]
    models = [decoder_of(one, "ngram").func.language_model for one in (trained, found)]
    assert [len(model.log_probs) for model in models] == sizes
    assert sizes[1] < sizes[0]
    # A weight that was chosen for one model is not used for another.
    assert fusion_of(trained)._asdict() == result["fusion"]
    assert fusion_of(found) == DEFAULT_FUSION


def own_recording(path, rate=22_050, seconds=1.3, channels=2, level=0.3):
    """A user's file: a voice of this test's, at another rate, in stereo."""
    rng = np.random.default_rng(5)
    t = np.arange(round(rate * seconds)) / rate
    wave = np.sin(2 * np.pi * 150 * t) * np.sin(2 * np.pi * 3 * t) + rng.normal(0, 0.05, len(t))
    wave *= level / np.abs(wave).max()
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate)
    return path


def test_a_users_stereo_file_of_another_rate_is_written_down(trained, tmp_path):
    path, notes = own_recording(tmp_path / "own.wav"), []
    text = transcribe(trained, path, make_decoder(trained, "ngram"), notes.append)
    assert set(text) <= set(" ENOSY")
    assert [re.sub(r".*: ", "", note) for note in notes] == [
        "2 channels, averaged to one",
        "resampled from 22,050 to 16,000 Hz",
        *([] if text else ["no speech found"]),
    ]


def test_the_language_model_has_a_say_with_ngram_only(trained):
    greedy, alone, fused = (decoder_of(trained, name) for name in ("greedy", "beam", "ngram"))
    assert "fusion" not in greedy.keywords
    # As `measure` decodes: the bonus, too, is for the search with the model alone.
    assert isinstance(alone, BeamSearch)
    assert (alone.beam_size, alone.language_model) == (4, None)
    assert fused.func._replace(language_model=None) == alone
    assert fused.func.language_model is not None
    assert fused.keywords == {"fusion": fusion_of(trained)}
    assert fusion_of(trained) != Fusion(0.0, 0.0)


def test_the_beam_of_a_run_reads_what_is_clear(trained):
    """Without a language model, in the shape that the run has compiled it for."""
    alphabet, text = Alphabet(trained.facts["characters"]), "SOON NO"
    logits = np.zeros((load(trained.config).padded[-1] // trained.config.stack, 1, 7), np.float32)
    for i, label in enumerate(alphabet.encode(text)):  # a blank after each character
        logits[2 * i, 0, label] = logits[2 * i + 1, 0, BLANK] = 9.0
    outputs = Outputs(logits, np.array([2 * len(text)], np.int32))
    search = decoder_of(trained, "beam")
    assert search(outputs) == [text]
    assert search(outputs, Fusion(0.0, -20.0)) == [""]


def test_a_file_gives_the_features_that_training_would(trained, tmp_path):
    """The signal of a test utterance, written to a file, is normalised as that one was."""
    data = load(trained.config)
    u, x = data.corpus.test[0], data.test.as_spoken[0]
    soundfile.write(tmp_path / "u.wav", u.wave, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(features_of(trained, tmp_path / "u.wav"), x)
    facts = trained.facts
    of_all = dataclasses.replace(trained.config, normalization="global")
    one, two = (
        features_of(
            trained._replace(config=of_all, facts={**facts, "mean": mean}), tmp_path / "u.wav"
        )
        for mean in (facts["mean"], [value + 1.0 for value in facts["mean"]])
    )
    expected = (1.0 / np.array(facts["deviation"]))[None] * np.ones_like(one)
    np.testing.assert_allclose(one - two, expected, rtol=1e-3)


def test_the_level_of_a_recording_hardly_matters(trained, tmp_path):
    loud, soft = (
        features_of(trained, own_recording(tmp_path / f"{level}.wav", level=level), print)
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
def test_a_recording_that_is_no_use_is_refused(trained, tmp_path, options, message):
    path = tmp_path / "odd.wav"
    if options.get("seconds") == 0.0:
        soundfile.write(path, np.zeros((0, 2)), 8000)
    else:
        own_recording(path, **options)
    with pytest.raises(InputError, match=message):
        features_of(trained, path, longest_s=8.0)


def test_a_recording_much_longer_than_training_is_said_so(trained, tmp_path):
    notes = []
    path = own_recording(tmp_path / "long.wav", rate=16_000, channels=1, seconds=12.0)
    features_of(trained, path, notes.append)
    assert len(notes) == 1
    assert "12.0 s, and the model was trained on at most" in notes[0]


def test_a_recording_that_was_too_loud_is_said_so(trained, tmp_path):
    wave = np.random.default_rng(0).laplace(size=8000)  # with rare peaks, as speech has
    wave /= np.abs(wave).max()
    for level, told in ((0.9, 0), (1.0, 0), (3.0, 1)):
        soundfile.write(tmp_path / "loud.wav", np.clip(level * wave, -1, 1), 16_000)
        notes = []
        features_of(trained, tmp_path / "loud.wav", notes.append)
        assert sum("seems to be clipped" in note for note in notes) == told == len(notes)


def test_the_command_writes_recordings_down_from_anywhere(
    finished, config, tmp_path, monkeypatch, capsys
):
    workdir, folder = finished[0], Path(config.data)
    paths = [own_recording(tmp_path / f"{i}.wav", rate=16_000, channels=1) for i in range(2)]
    common = ["--workdir", str(workdir), "--decoder", "greedy", "--transcribe"]
    monkeypatch.chdir(folder)
    for name in (".", "../mine/"):  # however it is named
        assert command.parse(EXPERIMENT, ["--data", name])[1].data == config.data
    monkeypatch.chdir(tmp_path)
    away = folder.rename(folder.with_name("away"))  # what was learned from is not needed
    command.main(EXPERIMENT, [*common, "0.wav"])
    out, err = capsys.readouterr()
    (one,) = out.splitlines()
    assert re.fullmatch(r"[ENOSY ]*", one)
    assert f"using {workdir}, trained on {folder}\nit knows ' ENOSY'\n" in err
    # One that cannot be read does not cost those after it.
    with pytest.raises(SystemExit) as caught:
        command.main(
            EXPERIMENT, [*common, str(paths[0]), str(tmp_path / "none.wav"), str(paths[1])]
        )
    assert caught.value.code == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{path}: {one}" for path in paths]
    assert re.search(r"^error: .* there is no file .*none\.wav", err, re.MULTILINE)
    with pytest.raises(SystemExit, match=r"error: .* names no recording"):  # nor is there a run
        command.main(EXPERIMENT, ["--workdir", str(tmp_path / "no run"), "--transcribe"])
    with pytest.raises(SystemExit, match="there is no folder"):
        command.main(EXPERIMENT, ["--resume", "--workdir", str(workdir)])
    away.rename(folder)


def test_the_commands_options_reach_the_search(finished, config):
    arguments = ["--workdir", str(finished[0]), "--transcribe", "a.wav", "--beam-size", "2"]
    task, parsed = command.parse(EXPERIMENT, arguments)
    assert (task.uses_trained, parsed) == (True, dataclasses.replace(config, beam_size=2))
    found = load_trained(EXPERIMENT, task.workdir, parsed)
    assert decoder_of(found, "beam").beam_size == 2
    assert decoder_of(found, task.decoder).func.beam_size == 2


def test_a_corpus_brings_its_settings_and_options_win():
    both = ["--data=fsdd", "--steps", "200"]
    expected = dataclasses.replace(PRESETS["fsdd"], steps=200)
    assert command.parse(EXPERIMENT, both)[1] == expected != PRESETS["fsdd"]
    assert {config.data for config in PRESETS.values()} == set(EXPERIMENT.corpora)
    with pytest.raises(InputError, match="--decoder goes with --transcribe"):
        EXPERIMENT.task(decoder="greedy")


def test_the_sweep_over_depth_compares_runs_that_differ_in_it(finished, config, tmp_path):
    workdir, result, _ = finished
    depths = depth_sweep.depths_of(config, (1, 3))
    layers = {f"layers-{n}": dataclasses.replace(config, num_layers=n) for n in (1, 3)}
    names = ["1 layer", "3 layers"]
    assert dict(zip(names, ({n: c} for n, c in layers.items()), strict=True)) == depths.rows
    deep = {name: as_stored(one) for name, one in zip(names, layers.values(), strict=True)}
    rows = [
        depths.figures(name, {workdir: result | {"config": deep[name], "parameters": n}})
        for name, n in zip(names, (10, 3000), strict=True)
    ]
    cer = result["decoders"]["greedy"]["test"]["cer"]
    found = [(row["layers"], row["parameters"], row["test_cer"]) for row in rows]
    assert found == [(1, 10, cer), (3, 3000, cer)]
    content = depths.head(result) | {"rows": rows}
    assert "num_layers" not in content["config"]
    table = depths.table(content)
    assert "2 steps of 4 utterances" in table
    assert table.count("\n| ") == 3  # head and two depths
    assert "\n| 3 | 3,000 | " in table
    depths.draw(tmp_path / "depth.png", content, dict.fromkeys(names, workdir))
    assert (tmp_path / "depth.png").stat().st_size > 5000
