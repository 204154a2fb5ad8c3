"""Which run a command line means: the newest, of the corpus and the preset that it names."""

import dataclasses
from functools import partial
from pathlib import Path

import pytest

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.own_data import located
from experiments.common.records import RUN_FILE, write_json


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
        folder = tmp_path / name
        folder.mkdir()
        write_json(folder / RUN_FILE, {"config": dataclasses.asdict(config)})
        return folder

    return make


def parsed(tmp_path, *arguments):
    task, config = command.parse(
        arguments,
        name="test",
        about="A test.",
        task=command.Task,
        presets=PRESETS,
        runs=tmp_path,
        located=partial(located, corpora=("made", "words")),
    )
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
