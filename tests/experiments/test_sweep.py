"""Runs in a table: what the three commands that compare runs share."""

from pathlib import Path

import pytest

from experiments import template
from experiments.common import sweep
from experiments.common.records import read_json
from experiments.machine_translation import findings
from experiments.music_generation import compare
from experiments.speech_recognition import depth_sweep

RESULTS = Path(__file__).parents[2] / "experiments" / "results"


@pytest.fixture
def trained(monkeypatch):
    """The folders of the runs that are trained, with their configs; nothing is."""
    runs = []

    def finished_or_trained(experiment, config, folder):
        runs.append((folder.name, config))
        if config == "stop":
            raise KeyboardInterrupt
        folder.mkdir()
        return {"value": config}

    monkeypatch.setattr(sweep, "finished_or_trained", finished_or_trained)
    return runs


def sweep_of(rows):
    return sweep.Sweep(
        experiment=template.EXPERIMENT,
        rows=rows,
        figures=lambda name, results: {
            "name": name,
            "folders": [folder.name for folder in results],
            "mean": sum(result["value"] for result in results.values()) / len(results),
        },
        head=lambda result: {"first": result["value"]},
        table=lambda content: sweep.markdown(
            ["name", "mean"], *([row["name"], row["mean"]] for row in content["rows"])
        ),
        draw=lambda path, content, folders: path.write_text(
            "".join(f"{name} {folder.name}\n" for name, folder in folders.items())
        ),
        files=("table.md", "runs.json", "picture.txt"),
    )


def test_rows_are_made_of_runs_and_told(trained, tmp_path, capsys):
    content = sweep.run(sweep_of({"a": {"a-0": 1.0, "a-1": 2.0}, "b": {"b-0": 4.0}}), tmp_path)
    assert trained == [("a-0", 1.0), ("a-1", 2.0), ("b-0", 4.0)]
    table = (tmp_path / "table.md").read_text()
    assert table == "| name | mean |\n|---|---|\n| a | 1.5 |\n| b | 4.0 |\n"
    assert table in capsys.readouterr().out
    assert read_json(tmp_path / "runs.json") == content
    assert (content["first"], content["environment"]["backend"]) == (1.0, "cpu")
    assert [row["folders"] for row in content["rows"]] == [["a-0", "a-1"], ["b-0"]]
    assert (tmp_path / "picture.txt").read_text() == "a a-0\nb b-0\n"


def test_who_stops_early_has_the_rows_until_then(trained, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        sweep.run(sweep_of({"a": {"a-0": 1.0}, "b": {"b-0": 4.0, "b-1": "stop"}}), tmp_path)
    assert [row["name"] for row in read_json(tmp_path / "runs.json")["rows"]] == ["a"]
    assert (tmp_path / "table.md").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("command", "file", "markdown"),
    [
        (compare, "music_generation/compare-jsb/comparison.json", "table.md"),
        (compare, "music_generation/compare-nottingham/comparison.json", "table.md"),
        (findings, "machine_translation/findings-multi30k/findings.json", "table.md"),
        (depth_sweep, "speech_recognition/depth/depth.json", "depth.md"),
        (depth_sweep, "speech_recognition/depth-no-skip/depth.json", "depth.md"),
    ],
    ids=str,
)
def test_the_published_tables_are_made_of_the_published_figures(command, file, markdown):
    content = read_json(RESULTS / file)
    assert command.table(content) + "\n" == (RESULTS / file).with_name(markdown).read_text()


def test_a_table_of_cells_and_depths_grows():
    content = read_json(RESULTS / "music_generation/compare-jsb/comparison.json")
    begun = content | {"rows": content["rows"][:4]}  # of three cells with three depths
    rnn, lstm = (line.split(" | ") for line in compare.table(begun).splitlines()[4:6])
    assert (rnn.count("-"), lstm.count("-")) == (0, 2)
    assert lstm[-1] == "8.45 |"
