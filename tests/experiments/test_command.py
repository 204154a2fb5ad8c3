"""The command line that all experiments share, and which run it means."""

import dataclasses
import importlib
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments import template
from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.experiment import Experiment
from experiments.common.own_data import located
from experiments.common.records import RUN_FILE, write_json
from experiments.common.settings import free_fields


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings."""

    data: str = "made"
    """The corpus."""
    size: int = 1
    """Units."""
    rate: float = 0.5
    """Of learning."""
    seed: int = 0
    """Seed."""


PRESETS = {
    "default": Config(),
    "small": Config("words", size=2),
    "large": Config("words", size=9, rate=0.1),
}


@pytest.fixture
def run_at(tmp_path):
    def make(name, config):
        folder = Path("runs/test") / name
        folder.mkdir(parents=True)
        write_json(folder / RUN_FILE, {"config": dataclasses.asdict(config)})
        return folder

    return make


def never(*arguments: Any) -> Any:
    raise AssertionError("nothing is loaded to read a command line")


EXPERIMENT = Experiment(
    name="test",
    about="A test.",
    presets=PRESETS,
    corpora=("made", "words"),
    load=never,
    build=never,
    problem=never,
    describe=never,
    measure=never,
)


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    """Run where no other runs are."""
    monkeypatch.chdir(tmp_path)


def parsed(tmp_path, *arguments):
    task, config = command.parse(EXPERIMENT, arguments)
    return task.workdir, config


def test_the_newest_run_is_meant_unless_a_corpus_or_a_preset_is_named(tmp_path, run_at):
    large = run_at("1", dataclasses.replace(PRESETS["large"], seed=7))
    small = run_at("2", dataclasses.replace(PRESETS["small"], rate=0.3))
    own = run_at("3", Config("own.txt", size=9, rate=0.1))
    plain = run_at("4", Config("words", seed=2))
    made = run_at("5", Config(seed=3))
    for words, expected in (
        ("", made),
        ("--data words", plain),
        ("--preset small", small),
        ("--preset large", large),
        ("--preset=large --data=words", large),
        ("--data own.txt", own),
        ("--data own.txt --preset large", own),
        ("--preset default", made),
        ("--preset default --data words", plain),
    ):
        assert parsed(tmp_path, "--resume", *words.split())[0] == expected, words
    # A preset means a run of it on other data too, where there is none on its own.
    shutil.rmtree(large)
    assert parsed(tmp_path, "--resume", "--preset", "large")[0] == own
    assert parsed(tmp_path, "--resume", "--preset", "large", "--workdir", str(own))[0] == own
    large = run_at("1", dataclasses.replace(PRESETS["large"], seed=7))
    # It brings its own settings, and options change them one by one.
    assert parsed(tmp_path, "--resume", "--preset", "large", "--seed", "8")[1] == Config(
        "words", 9, 0.1, 8
    )


def test_the_run_that_is_used_is_told_beside_the_product(tmp_path, run_at, capsys):
    folder = run_at("1", PRESETS["small"])
    parsed(tmp_path, "--resume", "--data", "words")
    assert capsys.readouterr() == ("", f"using {folder}, trained on words\n")
    parsed(tmp_path)
    assert capsys.readouterr() == ("", "")


def test_a_folder_in_which_no_run_was_begun_goes_again(tmp_path):
    def fail(workdir, *written):
        with command.run_folder_for(workdir, tmp_path / "runs", "words") as folder:
            for name in written:
                (folder / name).touch()
            raise InputError("a mistake")

    (tmp_path / "own").mkdir()
    for arguments in ((None,), (None, RUN_FILE), (tmp_path / "own",)):
        with pytest.raises(InputError, match="a mistake"):
            fail(*arguments)
    assert [[file.name for file in run.iterdir()] for run in (tmp_path / "runs").iterdir()] == [
        [RUN_FILE]
    ]
    assert (tmp_path / "own").is_dir()  # it was the user's before
    with pytest.raises(InputError), command.run_folder_for(None, Path("new/test"), "words"):
        raise InputError("a mistake")
    assert not Path("new").exists()


def test_a_path_may_be_written_in_another_way_but_a_corpus_wins(tmp_path, run_at, monkeypatch):
    (tmp_path / "words").mkdir()
    folder = str(tmp_path / "words")
    corpus = run_at("1", Config("words", size=2))
    own = run_at("2", Config(folder))
    run_at("3", Config())
    monkeypatch.chdir(tmp_path)
    for word in ("./words", "words/", folder):
        assert parsed(tmp_path, "--resume", "--data", word)[0] == own
    assert parsed(tmp_path, "--resume", "--data", "words")[0] == corpus
    with pytest.raises(InputError, match="no run trained on x"):
        parsed(tmp_path, "--resume", "--data", "x" * 300)  # too long for a path


def test_where_data_are():
    assert located("words", ("words",)) == "words"
    assert located("nowhere", ("words",)) == "nowhere"
    assert located("", ()) == ""
    assert located("~/nowhere", ()) == str(Path.home() / "nowhere")
    assert located("~nobody123/x", ()) == "~nobody123/x"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--preset large", "no run of --preset large in "),
        ("--data words", "no run trained on words in "),
        ("--preset small --data own.txt", "no run of --preset small trained on own.txt in "),
    ],
)
def test_no_other_run_takes_the_place_of_the_one_that_is_meant(tmp_path, run_at, words, message):
    folder = run_at("1", Config())
    with pytest.raises(InputError, match=message):
        parsed(tmp_path, "--resume", *words.split())
    with pytest.raises(InputError, match=r"it was trained on made; name another --workdir"):
        parsed(tmp_path, "--resume", "--workdir", str(folder), *words.split())


def test_a_preset_or_a_corpus_of_one_brings_the_settings_of_a_training(tmp_path):
    assert parsed(tmp_path) == (None, Config())
    assert parsed(tmp_path, "--data", "words") == (None, PRESETS["small"])
    assert parsed(tmp_path, "--data", "words", "--preset", "large") == (None, PRESETS["large"])
    assert parsed(tmp_path, "--data", "own.txt") == (None, Config("own.txt"))
    assert parsed(tmp_path, "--workdir", "there") == (Path("there"), Config())


@pytest.mark.parametrize(
    "arguments",
    [["--sise", "3"], ["--size", "many"], ["--preset", "largest"], ["stray"]],
)
def test_what_is_not_known_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(EXPERIMENT, arguments)
    assert caught.value.code == 2
    assert arguments[0].strip("-") in capsys.readouterr().err


NAMES = (
    "machine_translation",
    "music_generation",
    "speech_recognition",
    "stock_prediction",
    "text_generation",
)
EXPERIMENTS = [template.EXPERIMENT] + [
    importlib.import_module(f"experiments.{name}.experiment").EXPERIMENT for name in NAMES
]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_help_documents_every_option(experiment, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(experiment, ["--help"])
    assert caught.value.code == 0
    # A column is too narrow for whole sentences: their first words are looked for.
    shown = re.sub(r"[\s│╭╰─╮╯]+", "", capsys.readouterr().out)
    config, task = type(experiment.presets["default"]), experiment.task
    for kind in (config, task):
        for field in dataclasses.fields(kind):
            assert f"--{field.name.replace('_', '-')}" in shown
            words = "".join(documented(kind, field.name).split())
            assert words
            assert words in shown, field.name


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
@pytest.mark.parametrize("words", [["--cell", "transformer"], ["--schedule", "diagonal"]], ids=str)
def test_choices_are_checked(experiment, words, capsys):
    if not hasattr(experiment.presets["default"], words[0][2:]):
        pytest.skip("has no such option")
    with pytest.raises(SystemExit) as caught:
        command.main(experiment, words)
    assert caught.value.code == 2
    assert words[1] in capsys.readouterr().err


# All else shapes the parameters: what is marked free by mistake would change a run that goes on.
FREE = {
    "template": set(),
    "text_generation": {
        *("sample_prompt", "sample_length", "sample_seed", "temperature", "top_k", "top_p")
    },
    "music_generation": {"sample_frames", "temperature", "min_notes", "max_notes", "sample_seed"},
    "machine_translation": {
        *("eval_buckets", "eval_batch_size", "eval_padding"),
        *("beam_size", "length_penalty", "examples"),
    },
    "speech_recognition": {
        *("beam_size", "ngram", "ngram_order", "ngram_entries"),
        *("fusion_weights", "fusion_bonuses", "decode_batch"),
    },
    "stock_prediction": {"bootstrap_draws"},
}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_what_may_change_when_a_run_goes_on(experiment):
    of_all = {"data_dir", "log_interval", "checkpoint_interval", "keep_checkpoints"}
    assert free_fields(experiment.presets["default"]) == of_all | FREE[experiment.name]


def test_wishes_of_a_trained_model_go_together():
    def refused(task, message, **options):
        with pytest.raises(InputError, match=message):
            task(**options)

    music, translation = (EXPERIMENTS[1 + NAMES.index(n)].task for n in NAMES[1::-1])
    refused(
        music, "--seed-frames, --output goes with --generate", seed_frames=3, output=Path("x.mid")
    )
    refused(
        music, "--resume goes on with a training; .* --generate away", generate=True, resume=True
    )
    both = {"translate": ("a",), "evaluate": (Path("a"), Path("b"))}
    refused(translation, "one of --translate and --evaluate, got both", **both)
    assert translation(translate=("a",)).uses_trained
    assert not translation(resume=True).uses_trained


def documented(kind: type, name: str) -> str:
    """Return the first words of the docstring below a field, of the class or a base of it."""
    for base in kind.__mro__:
        if name in vars(base).get("__annotations__", {}):
            after = inspect.getsource(base).split(f"    {name}: ", 1)[1].split("\n", 1)[1].lstrip()
            if after.startswith('"""'):
                return " ".join(after[3:].split('"""')[0].split()[:3])
    return ""


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_presets_move_the_defaults_and_options_win(experiment):
    config = experiment.presets["default"]
    assert config == type(config)()
    task, parsed = command.parse(experiment, [])
    assert (dataclasses.asdict(task), parsed) == (dataclasses.asdict(experiment.task()), config)
    assert not task.uses_trained
    for preset, config in experiment.presets.items():
        for words in (["--preset", preset], [f"--preset={preset}"]):
            assert command.parse(experiment, words)[1] == config
        changed = command.parse(experiment, ["--preset", preset, "--seed=9", "--clip-norm=2"])[1]
        assert changed == dataclasses.replace(config, seed=9, clip_norm=2.0)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_a_data_file_that_is_not_there_leaves_nothing(experiment, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: [^\n]+$"):
        command.main(experiment, ["--data", "nowhere/at-all"])
    assert not list(tmp_path.iterdir())


def test_only_a_training_that_was_stopped_can_be_gone_on_with(tmp_path):
    def stop(*arguments):
        raise KeyboardInterrupt

    stopped = dataclasses.replace(template.EXPERIMENT, load=stop, use=stop)
    with pytest.raises(SystemExit, match="stopped; go on with --resume"):
        command.main(stopped, [])
    command.main(template.EXPERIMENT, SMALL)
    with pytest.raises(SystemExit) as caught:
        command.main(stopped, ["--classify=series.csv"])
    assert caught.value.code == "\nstopped"


SMALL = ["--cell=elman", "--num-layers=1", "--hidden-size=2", "--steps=2"]


def test_the_template_trains_is_gone_on_with_and_used(tmp_path, capsys):
    """As `--help` and CONTRIBUTING tell: a new experiment has all of this."""
    command.main(template.EXPERIMENT, SMALL)
    assert "always the most frequent kind       0.2500" in capsys.readouterr().out
    (run,) = Path("runs/template").iterdir()
    assert run.name.endswith("waves-elman")
    command.main(template.EXPERIMENT, ["--resume", "--log-interval=1"])
    assert "going on from step 2" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"error: .*hidden_size is 3, was 2"):
        command.main(template.EXPERIMENT, ["--resume", "--hidden-size=3"])
    Path("series.csv").write_text("0,1,0\n1,0,1\n" * 5)
    capsys.readouterr()
    command.main(template.EXPERIMENT, ["--classify", "series.csv"])
    assert re.fullmatch(r"(slow|fast|both|neither) \(\d+ %\)\n", capsys.readouterr().out)
    with pytest.raises(SystemExit, match=r"error: .* trained with another --hidden-size"):
        command.main(template.EXPERIMENT, ["--classify", "series.csv", "--hidden-size=3"])
    Path("series.csv").write_text("0,1\n")
    with pytest.raises(SystemExit, match=r"error: use: series.csv is no series"):
        command.main(template.EXPERIMENT, ["--classify", "series.csv"])
    with pytest.raises(SystemExit, match="no run trained on elsewhere"):
        command.main(template.EXPERIMENT, ["--classify", "series.csv", "--data=elsewhere"])


@pytest.mark.parametrize("option", ["--resume", "--classify=series.csv"])
def test_going_on_and_using_need_a_run(option):
    with pytest.raises(SystemExit, match="no run in runs/template; train one"):
        command.main(template.EXPERIMENT, [option])


def test_a_config_is_the_same_wherever_it_is_made(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    here = Config("here")
    monkeypatch.chdir(tmp_path / "here")
    assert Config("here") == here == Config("here")
    monkeypatch.chdir(tmp_path)
    # The command line's is the path in full, to be gone on with from anywhere.
    assert parsed(tmp_path, "--data", "here")[1] == Config(str(tmp_path / "here"))
