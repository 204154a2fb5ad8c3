"""The command line: what it accepts, what it refuses, and the commands as a user's."""

import dataclasses
import sys
from pathlib import Path

import pytest

from experiments.common.errors import InputError
from experiments.common.records import newest_run, read_json
from experiments.common.settings import config_from_dict, differing_fields
from experiments.text_generation import __main__ as cli
from experiments.text_generation.config import FREE_ON_RESUME, Config
from experiments.text_generation.configs import PRESETS


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    """Run where no other runs are."""
    monkeypatch.chdir(tmp_path)


def test_no_arguments_are_the_default_run():
    task, config = cli.parse([])
    assert task == cli.Task()
    assert config == Config() == PRESETS["default"]


def test_every_option_is_taken_over():
    arguments = [
        *("--corpus=warandpeace", "--cell=gru", "--num-layers=3", "--hidden-size=128"),
        *("--dropout=0.2", "--schedule=reference", "--seed=7", "--top-k=5", "--tied-embeddings"),
        *("--level=word", "--min-count=5"),
    ]
    _, config = cli.parse(arguments)
    assert config == Config(
        corpus="warandpeace",
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


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_moves_the_defaults_and_options_win(preset):
    config = PRESETS[preset]
    assert cli.parse(["--preset", preset])[1] == config
    other = cli.parse(["--preset", preset, "--seed=9", "--clip-norm=2"])[1]
    assert other == dataclasses.replace(config, seed=9, clip_norm=2.0)


@pytest.mark.parametrize("name", ["--data", "--corpus"])
def test_a_corpus_brings_its_settings_unless_a_preset_is_asked_for(name):
    task, config = cli.parse([name, "ptb", "--seed=3"])
    assert (task.preset, config) == (
        "ptb-small",
        dataclasses.replace(PRESETS["ptb-small"], seed=3),
    )
    assert cli.parse([name, "ptb", "--preset=default"])[1] == Config(corpus="ptb")
    assert cli.parse([f"{name}=tale.txt"])[1] == Config(corpus="tale.txt")
    assert cli.parse([name, "pydoc"])[0].preset == "default"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hiden-size", "128"],
        ["--hidden-size", "many"],
        ["--cell", "transformer"],
        ["--schedule", "diagonal"],
        ["--preset", "largest"],
        ["stray"],
    ],
)
def test_what_is_not_known_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert arguments[0].strip("-") in capsys.readouterr().err


def test_help_documents_every_field(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    # tyro fills each option's box with its docstring; an undocumented one is empty.
    for field in dataclasses.fields(Config):
        assert "--" + field.name.replace("_", "-") in out
    source = Path(sys.modules[Config.__module__].__file__).read_text()
    for field in dataclasses.fields(Config):
        after = source.split(f"    {field.name}: ", 1)[1]
        assert after.split("\n", 1)[1].lstrip().startswith('"""'), field.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, "--num-layers must be >= 1, got 0"),
        ({"steps": -5}, "--steps must be >= 1, got -5"),
        ({"dropout": 1.0}, r"--dropout must be in \[0, 1\), got 1.0"),
        ({"weight_drop": -0.1}, r"--weight-drop must be in \[0, 1\)"),
        ({"learning_rate": 0.0}, "--learning-rate must be > 0 and finite"),
        ({"clip_norm": float("nan")}, "--clip-norm must be > 0 and finite"),
        ({"embedding_scale": 0.0}, "--embedding-scale must be > 0"),
        ({"seed": -1}, "--seed must be >= 0"),
        ({"warmup_steps": 1000}, "--warmup-steps must be below steps=1000"),
        ({"keep_checkpoints": 1}, "--keep-checkpoints must be >= 2"),
        ({"sample_prompt": ""}, "--sample-prompt must be one symbol or more"),
        ({"min_count": 0}, "--min-count must be >= 1"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]"),
        ({"temperature": -1.0}, "temperature must be finite and >= 0"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**{"steps": 1000} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "sgd", "weight_decay": 0.1}, "--weight-decay .* optimizer=sgd"),
        ({"optimizer": "sgd", "adam_b2": 0.9}, "--adam-b2 .* optimizer=sgd"),
        ({"rate_schedule": "steps", "warmup_steps": 50}, "--warmup-steps .* rate_schedule=steps"),
        ({"constant_steps": 5}, "--constant-steps .* rate_schedule=cosine"),
        ({"decay_factor": 0.1}, "--decay-factor .* rate_schedule=cosine"),
        ({"init_scale": 0.1, "embedding_scale": 0.2}, "--embedding-scale .* init_scale"),
        ({"min_count": 3}, "--min-count .* level=character"),
        ({"corpus": "ptb", "level": "word", "min_count": 3}, "--min-count .* corpus=ptb"),
    ],
    ids=str,
)
def test_what_would_have_no_effect_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


def test_a_rate_that_falls_in_steps_needs_no_word_on_the_warm_up():
    for warmup_steps in (Config().warmup_steps, 0):
        Config(rate_schedule="steps", warmup_steps=warmup_steps, steps=2)


def test_a_model_that_cannot_be_run_leaves_no_run(tmp_path):
    Path("tale.txt").write_text("once upon a time there was a sea " * 20)
    options = ["--schedule=wavefront", "--skip=dense", "--num-layers=3"]
    with pytest.raises(SystemExit) as caught:
        cli.main(["--corpus=tale.txt", *options, "--hidden-size=4", "--embedding-size=4"])
    assert str(caught.value).startswith("error: ")
    assert "schedule='wavefront' cannot run this network" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(cli.RUNS.iterdir())


def test_only_a_training_that_was_stopped_can_be_gone_on_with(monkeypatch, tmp_path):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", stop)
    with pytest.raises(SystemExit, match="stopped; go on with --resume"):
        cli.main([])
    monkeypatch.setattr(cli, "write", stop)
    with pytest.raises(SystemExit) as caught:
        cli.main(["--generate=The", f"--workdir={tmp_path}"])
    assert caught.value.code == "\nstopped"


def test_a_value_out_of_range_ends_without_a_traceback(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--dropout", "1.5"])
    text = str(caught.value) + capsys.readouterr().err
    assert "dropout must be in [0, 1), got 1.5" in text


@pytest.mark.parametrize("option", ["--resume", "--generate=The "])
def test_going_on_and_writing_need_a_run(option):
    with pytest.raises(SystemExit, match="no run in runs/text_generation; train one"):
        cli.main([option])


def test_configs_go_through_json():
    values = dataclasses.asdict(Config(top_k=3))
    assert config_from_dict(Config, values) == Config(top_k=3)
    values["speed"] = values.pop("steps")
    with pytest.raises(InputError, match="another version: speed, steps"):
        config_from_dict(Config, values)


def test_differing_fields_leave_out_the_free_ones():
    other = dataclasses.asdict(Config(seed=1, temperature=0.1, log_interval=7))
    assert differing_fields(Config(), other, FREE_ON_RESUME) == ["seed"]
    assert set(FREE_ON_RESUME) <= {field.name for field in dataclasses.fields(Config)}


SMALL = [
    *(
        "--cell=elman",
        "--num-layers=1",
        "--hidden-size=4",
        "--embedding-size=4",
        "--batch-size=2",
        "--chunk-length=8",
        "--steps=2",
    ),
    *("--warmup-steps=1", "--sample-length=8"),
]


def test_two_steps_on_what_comes_with_python_then_write_then_go_on(capsys):
    cli.main([*SMALL, "--sample-prompt=The"])
    out = capsys.readouterr().out
    run = newest_run(cli.RUNS)
    assert run is not None
    assert run.name.endswith("pydoc-elman")
    for told in ("corpus pydoc", str(run), "bits per character", "order 4"):
        assert told in out
    result = read_json(run / "result.json")
    assert result["best_step"] == 2
    assert result["baseline_nats"]["3"] < result["validation_nats"] < 6  # ln 100 is 4.6
    assert (run / "sample.txt").read_text().startswith("The")

    # The run's own settings are the defaults now: no --hidden-size is needed.
    cli.main(["--generate", "a sea", "--sample-length", "5", "--temperature", "0"])
    written = capsys.readouterr().out
    assert written.startswith("a sea")
    assert len(written.strip("\n")) in range(5, 11)

    with pytest.raises(SystemExit, match="has no 'Ж'"):
        cli.main(["--generate", "Ж"])
    with pytest.raises(SystemExit, match="--hidden-size, --sample-prompt would have no effect"):
        cli.main(["--generate=a", "--hidden-size=7", "--sample-prompt=b", "--top-k=2"])

    cli.main(["--resume"])
    assert "going on from step 2" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="hidden_size is 5, was 4"):
        cli.main(["--resume", "--hidden-size", "5"])
    assert read_json(run / "result.json")["config"]["hidden_size"] == 4
