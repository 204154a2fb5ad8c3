"""The text experiment's own options, and its commands as a user's."""

import dataclasses

import pytest

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.records import newest_run, read_json
from experiments.text_generation.config import Config
from experiments.text_generation.configs import PRESETS
from experiments.text_generation.experiment import EXPERIMENT


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    """Run where no other runs are."""
    monkeypatch.chdir(tmp_path)


def test_every_option_is_taken_over():
    arguments = [
        *("--data=warandpeace", "--cell=gru", "--num-layers=3", "--hidden-size=128"),
        *("--dropout=0.2", "--schedule=reference", "--seed=7", "--top-k=5", "--tied-embeddings"),
        *("--level=word", "--min-count=5"),
    ]
    _, config = command.parse(EXPERIMENT, arguments)
    assert config == Config(
        data="warandpeace",
        cell="gru",
        num_layers=3,
        hidden_size=128,
        dropout=0.2,
        schedule="reference",
        seed=7,
        top_k=5,
        tied_embeddings=True,
        level="word",
        min_count=5,
    )


def test_a_corpus_brings_its_settings_unless_a_preset_is_asked_for():
    task, config = command.parse(EXPERIMENT, ["--data", "ptb", "--seed=3"])
    assert (task.preset, config) == (
        "ptb-small",
        dataclasses.replace(PRESETS["ptb-small"], seed=3),
    )
    ptb = ["--data", "ptb", "--preset=default"]
    assert command.parse(EXPERIMENT, ptb)[1] == Config(data="ptb")
    assert command.parse(EXPERIMENT, ["--data=tale.txt"])[1] == Config(data="tale.txt")
    assert command.parse(EXPERIMENT, ["--data", "pydoc"])[0].preset == "default"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_scale": 0.0}, "--embedding-scale must be > 0"),
        ({"sample_prompt": ""}, "--sample-prompt must be one symbol or more"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]"),
        ({"temperature": -1.0}, "temperature must be finite and >= 0"),
        ({"optimizer": "sgd", "weight_decay": 0.1}, "--weight-decay .* optimizer=sgd"),
        ({"optimizer": "sgd", "adam_b2": 0.9}, "--adam-b2 .* optimizer=sgd"),
        ({"rate_schedule": "steps", "warmup_steps": 50}, "--warmup-steps .* rate_schedule=steps"),
        ({"constant_steps": 5}, "--constant-steps .* rate_schedule=cosine"),
        ({"decay_factor": 0.1}, "--decay-factor .* rate_schedule=cosine"),
        ({"init_scale": 0.1, "embedding_scale": 0.2}, "--embedding-scale .* init_scale"),
        ({"min_count": 3}, "--min-count .* level=character"),
        ({"data": "ptb", "level": "word", "min_count": 3}, "--min-count .* data=ptb"),
    ],
    ids=str,
)
def test_what_cannot_be_or_has_no_effect_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


def test_a_rate_that_falls_in_steps_needs_no_word_on_the_warm_up():
    for warmup_steps in (Config().warmup_steps, 0):
        Config(rate_schedule="steps", warmup_steps=warmup_steps, steps=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size=1000"], "lower one of them or give more text"),
        (["--sample-prompt=Once"], "has no 'O'"),
        (["--level=word", "--batch-size=45"], "has 144 symbols"),
    ],
    ids=str,
)
def test_what_cannot_work_leaves_no_run(tmp_path, options, message):
    (tmp_path / "tale.txt").write_text("once upon a time there was a sea " * 20)
    with pytest.raises(SystemExit, match=message):
        command.main(EXPERIMENT, ["--data=tale.txt", *options])
    assert [path.name for path in tmp_path.iterdir()] == ["tale.txt"]


SMALL = [
    *("--cell=elman", "--num-layers=1", "--hidden-size=4", "--embedding-size=4"),
    *("--batch-size=2", "--chunk-length=8", "--steps=2", "--warmup-steps=1", "--sample-length=8"),
]


def test_two_steps_on_what_comes_with_python_then_write(capsys):
    command.main(EXPERIMENT, [*SMALL, "--sample-prompt=The"])
    out = capsys.readouterr().out
    run = newest_run(EXPERIMENT.runs)
    assert run is not None
    assert run.name.endswith("pydoc-elman")
    for told in ("corpus pydoc", str(run), "bits per character", "order 4"):
        assert told in out
    result = read_json(run / "result.json")
    assert result["best_step"] == 2
    baselines = result["validation_baseline_nats"]
    assert set(baselines) == {"3", "4", "5"}
    assert baselines["3"] < result["validation_nats"] < 6  # ln 100 is 4.6
    assert result["test_nats"] is result["test_baseline_nats"] is None
    assert (run / "learning_curve.png").stat().st_size > 5000
    sample = (run / "sample.txt").read_text()
    assert sample.startswith("The")
    assert len(sample) == len("The") + 8

    # The run's own settings are the defaults now: no --hidden-size is needed.
    command.main(EXPERIMENT, ["--generate", "a sea", "--sample-length", "5", "--temperature", "0"])
    written = capsys.readouterr().out
    assert written.startswith("a sea")
    assert len(written.removesuffix("\n")) == len("a sea") + 5

    with pytest.raises(SystemExit, match="has no 'Ж'"):
        command.main(EXPERIMENT, ["--generate", "Ж"])
    with pytest.raises(SystemExit, match="was trained with another --hidden-size"):
        command.main(EXPERIMENT, ["--generate=a", "--hidden-size=7", "--top-k=2"])
