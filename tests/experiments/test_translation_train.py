"""Whole runs at tiny sizes: files, going on, translating and evaluating with them."""

import dataclasses
import gzip
import io
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common import checkpoints
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.records import read_json
from experiments.machine_translation import __main__ as cli
from experiments.machine_translation import data, findings
from experiments.machine_translation.config import FREE_ON_RESUME, Config
from experiments.machine_translation.configs import PRESETS
from experiments.machine_translation.configs.findings import SHORT
from experiments.machine_translation.train import train
from experiments.machine_translation.trained import align_line, load_trained, translate_lines
from experiments.machine_translation.translate import GREEDY
from experiments.machine_translation.update import first_state

TINY = Config(
    source_pieces=60,
    encoder_size=4,
    decoder_size=8,
    context_size=4,
    embedding_size=6,
    dropout=0.2,
    ema_decay=0.5,
    label_smoothing=0.1,
    steps=6,
    warmup_steps=1,
    batch_size=16,
    buckets=1,
    log_interval=2,
    eval_interval=3,
    checkpoint_interval=2,
    eval_batch_size=8,
    beam_size=2,
    examples=2,
)

# One worker of pytest-xdist for the tests that share a run and its compiled programs.
pytestmark = pytest.mark.xdist_group("translation_train")


@pytest.fixture(autouse=True, scope="module")
def few_dates():
    """Make the generated corpus small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "DATE_SIZES", (200, 8, 8))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, few_dates):
    """A run that was never interrupted, and its result."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, train(TINY, workdir)


def arrays(workdir: Path, step: int) -> list[bytes]:
    """All of a checkpoint's arrays: parameters, optimiser, mean and key."""
    model = load_trained(workdir).model
    target = jax.eval_shape(lambda: first_state(TINY, model))
    state = checkpoints.restore(workdir / "checkpoints", step, target).state
    state = state._replace(key=jax.random.key_data(state.key))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def records(workdir: Path) -> list[dict[str, float]]:
    """The records without what depends on the clock."""
    clock = ("seconds", "steps_per_second")
    return [
        {name: value for name, value in record.items() if name not in clock}
        for record in read_metrics(workdir)
    ]


def test_a_run_leaves_its_files(finished):
    workdir, result = finished
    assert {path.name for path in workdir.iterdir()} == {
        *("checkpoints", "tensorboard", "metrics.jsonl", "run.json", "result.json"),
        *("source.model", "target.model", "learning_curve.png", "attention.png"),
        *("samples.txt", "translations.txt"),
    }
    stored = read_json(workdir / "result.json")
    assert stored["config"] == dataclasses.asdict(TINY)
    assert stored["score"] == "exact"
    assert set(stored["baselines"]) == {"nearest neighbour", "dateutil"}
    curve = [r["validation_nats"] for r in records(workdir) if "validation_nats" in r]
    assert len(curve) == 2
    assert result["validation"]["nats"] == pytest.approx(min(curve), rel=1e-6)
    assert len((workdir / "translations.txt").read_text().splitlines()) == 8
    assert (workdir / "samples.txt").read_text().count("reference") == 2


def test_going_on_gives_the_same_bits(finished, tmp_path, capsys):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    for step in (5, 6):
        shutil.rmtree(workdir / "checkpoints" / f"{step:08d}", ignore_errors=True)
    train(TINY, workdir, resume=True)
    assert "going on from step 4" in capsys.readouterr().out
    assert arrays(workdir, 6) == arrays(finished[0], 6)
    assert records(workdir) == records(finished[0])
    for name in ("translations.txt", "samples.txt", "source.model"):
        assert (workdir / name).read_bytes() == (finished[0] / name).read_bytes()


def test_going_on_with_other_settings_names_them(finished):
    with pytest.raises(InputError, match="context_size is 5, was 4"):
        train(dataclasses.replace(TINY, context_size=5, beam_size=9), finished[0], resume=True)
    with pytest.raises(InputError, match="already holds a run"):
        train(TINY, finished[0])


def test_translating_a_users_sentences(finished, capsys):
    workdir, _ = finished
    lines = ["3 march 1987", "", "the ☃ of May 2001"]
    cli.main(["--workdir", str(workdir), "--translate", *lines])
    out, err = capsys.readouterr()
    translations = out.split("\n")
    assert len(translations) == 4  # the last line's end
    assert translations[1] == ""
    trained = load_trained(workdir)
    config = trained.config
    assert config == TINY
    assert "read as unknown: '☃'" in err
    for number in (1, 2):
        assert (workdir / f"attention-{number}.png").read_bytes().startswith(b"\x89PNG")
        (workdir / f"attention-{number}.png").unlink()
    assert not (workdir / "attention-3.png").exists()
    greedy = translate_lines(trained, lines, GREEDY)
    cli.main(["--workdir", str(workdir), "--beam-size", "1", "--translate", lines[0]])
    assert capsys.readouterr().out == f"{greedy[0]}\n"


def test_translating_the_standard_input(finished, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n3 march 1987\r\n"))
    cli.main(["--workdir", str(finished[0]), "--translate", "-"])
    out = capsys.readouterr().out.split("\n")
    assert len(out) == 3
    assert out[0] == ""


def test_the_heat_map_shows_each_piece(finished):
    trained = load_trained(finished[0])
    alignment = align_line(trained, "3 march", "1987")
    assert alignment is not None
    assert "".join(alignment.source).replace("▁", " ").strip() == "3 march"
    assert alignment.target == ["▁", "1", "9", "8", "7", "(end)"]
    assert alignment.weights.shape == (6, len(alignment.source))
    np.testing.assert_allclose(alignment.weights.sum(-1), 1.0, rtol=1e-5)
    turned = trained._replace(config=dataclasses.replace(TINY, reverse_source=True))
    other = align_line(turned, "3 march", "1987")
    assert other is not None
    assert other.source == alignment.source  # shown in the line's own order


def test_evaluating_another_test_set(finished, tmp_path, capsys):
    workdir, _ = finished
    (tmp_path / "new.in").write_text("3 march 1987\n\n4 may 2001\n")
    (tmp_path / "new.out.gz").write_bytes(gzip.compress(b"1987-03-03\n\n2001-05-04\n"))
    files = [str(tmp_path / "new.in"), str(tmp_path / "new.out.gz")]
    cli.main(["--workdir", str(workdir), "--evaluate", *files])
    out, err = capsys.readouterr()
    assert "exact matches, % 33.33   3 lines of" in out  # of the empty line
    assert "1 of 3 lines" in err
    translations = (workdir / "new.in.translations.txt").read_text().split("\n")
    assert translations[1] == ""
    assert len(translations) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evaluate", "missing.en", "missing.de"], "cannot read missing.en"),
        (["--evaluate", "two", "three"], "two has 2 lines and three 3"),
        (["--translate", "x", "--workdir", "nowhere"], "no run in nowhere"),
        (["--translate", "x", "--workdir", "empty"], "holds no run"),
        (["--dropout", "1.0"], r"--dropout must be in [0, 1), got 1.0"),
        (["--label-smoothing", "-1"], "--label-smoothing must be in"),
        (["--data", "multi30k", "--data-dir", "nowhere"], "nowhere is not a folder"),
        (["--data", "multi30k", "--data-dir", "empty"], r"has no empty/multi30k/train.en.gz"),
        (["--source-pieces", "90000"], "no 90000 pieces can be made"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_bad_input_ends_in_one_line(finished, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two").write_text("a\nb\n")
    (tmp_path / "three").write_text("a\nb\nc\n")
    (tmp_path / "empty").mkdir()
    if "--evaluate" in arguments:
        arguments = [*arguments, "--workdir", str(finished[0])]
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert str(caught.value).startswith("error: ")
    assert message in str(caught.value)
    assert not any((tmp_path / "runs").rglob("run.json"))


def test_presets_and_options():
    assert cli.parse([])[1] == Config() == PRESETS["default"]
    config = cli.parse(["--preset", "multi30k", "--attention", "bahdanau"])[1]
    assert config == dataclasses.replace(PRESETS["multi30k"], attention="bahdanau")
    assert {field.name for field in dataclasses.fields(Config)} > FREE_ON_RESUME


def test_findings_compare_runs_that_differ_in_one_thing(tmp_path, monkeypatch, capsys):
    names = ["Luong's attention", "no attention, one direction, source reversed"]
    monkeypatch.setattr(findings, "VARIANTS", {name: findings.VARIANTS[name] for name in names})
    monkeypatch.setitem(SHORT, "dates", dataclasses.replace(TINY, steps=2, eval_interval=2))
    arguments = ["--workdir", str(tmp_path)]
    findings.main(arguments)
    first = (tmp_path / "dates.md").read_text()
    assert [line.split(" | ")[0].strip("| ") for line in first.splitlines()[2:]] == names
    rows = read_json(tmp_path / "dates.json")
    assert rows[0]["parameters"] > rows[1]["parameters"]
    # what is there is not trained again
    monkeypatch.setattr(findings, "train", None)
    findings.main(arguments)
    assert (tmp_path / "dates.md").read_text() == first
