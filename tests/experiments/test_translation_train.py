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
from experiments.common.records import read_json, write_json
from experiments.common.settings import as_stored
from experiments.common.updates import TrainState
from experiments.machine_translation import __main__ as cli
from experiments.machine_translation import data, findings, predict, translate
from experiments.machine_translation.config import FREE_ON_RESUME, Config
from experiments.machine_translation.configs import PRESETS
from experiments.machine_translation.configs.findings import SHORT
from experiments.machine_translation.heat_map import draw_attention
from experiments.machine_translation.train import train
from experiments.machine_translation.trained import (
    Alignment,
    align_line,
    load_trained,
    translate_lines,
)
from experiments.machine_translation.translate import GREEDY
from experiments.machine_translation.update import first_state, state_shapes

TINY = Config(
    source_pieces=60,
    encoder_layers=1,
    encoder_size=4,
    decoder_layers=1,
    decoder_size=8,
    context_size=4,
    embedding_size=6,
    dropout=0.2,
    embedding_dropout=0.1,
    ema_decay=0.5,
    label_smoothing=0.1,
    steps=6,
    warmup_steps=1,
    batch_size=16,
    buckets=1,
    log_interval=2,
    eval_interval=3,
    checkpoint_interval=2,
    eval_batch_size=2,
    beam_size=2,
    examples=2,
)

# One worker of pytest-xdist for the tests that share a run and its compiled programs.
pytestmark = pytest.mark.xdist_group("translation_train")


@pytest.fixture(autouse=True, scope="module")
def few_dates():
    """Make the generated corpus small, and all that is translated of one shape."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "DATE_SIZES", (200, 8, 8))
        patch.setattr(translate, "_LENGTH_STEP", 48)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, few_dates):
    """A run that was never interrupted, and its result."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, train(TINY, workdir)


def arrays(workdir: Path, step: int, target: TrainState) -> list[bytes]:
    """All of a checkpoint's arrays: parameters, optimiser, mean and key."""
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


def test_the_first_recurrent_weights_are_orthogonal(finished):
    params = first_state(TINY, load_trained(finished[0]).model).params
    encoder, decoder = params.encoder.layers[-1].cell, params.decoder.rnn.layers[-1].cell
    for w_h in (encoder.w_h[0], decoder.w_h):  # the encoder's has two directions
        for gate in np.split(np.asarray(w_h), 3, axis=-1):
            np.testing.assert_allclose(gate.T @ gate, np.eye(len(w_h)), atol=1e-5)


def test_going_on_gives_the_same_bits(finished, tmp_path, capsys):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    for step in (5, 6):
        shutil.rmtree(workdir / "checkpoints" / f"{step:08d}", ignore_errors=True)
    train(TINY, workdir, resume=True)
    assert "going on from step 4" in capsys.readouterr().out
    target = state_shapes(TINY, load_trained(workdir).model)
    assert arrays(workdir, 6, target) == arrays(finished[0], 6, target)
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
    assert f"using {workdir}, trained on dates" in err
    assert "read as unknown: '☃'" in err
    for number in (1, 2):
        assert (workdir / f"attention-{number}.png").read_bytes().startswith(b"\x89PNG")
        (workdir / f"attention-{number}.png").unlink()
    assert not (workdir / "attention-3.png").exists()
    greedy = translate_lines(trained, lines, GREEDY)
    cli.main(["--workdir", str(workdir), "--beam-size", "1", "--translate", lines[2], lines[0]])
    assert capsys.readouterr().out == f"{greedy[2]}\n{greedy[0]}\n"


def test_translating_the_standard_input(finished, capsys, monkeypatch):
    def give(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    command = ["--workdir", str(finished[0]), "--translate"]
    give("\ufeff3 march 1987\r\n\r\nmay 4, 2001 \U0001f600".encode())
    cli.main([*command, "-"])
    out = capsys.readouterr().out
    cli.main([*command, "3 march 1987", "", "MAY  4, 2001 \U0001f600"])
    assert out == capsys.readouterr().out
    assert out.count("\n") == 3
    for content, message in ((b"", "standard input is empty"), (b"caf\xe9", "not UTF-8")):
        give(content)
        with pytest.raises(SystemExit, match=message):
            cli.main([*command, "-"])


def test_pictures_of_some_lines_alone(finished, tmp_path, monkeypatch):
    """Of those that can be read, and of no more than are kept."""
    looked_at = []

    def look(trained, line, translation):
        looked_at.append(line)
        size = 3 if len(line) < 100 else 151
        return Alignment(["a"] * size, ["b", "c"], np.zeros((2, size)))

    monkeypatch.setattr(predict, "align_line", look)
    monkeypatch.setattr(predict, "draw_attention", lambda path, *_: path.touch())
    lines = ["x" * 100, *map(str, range(30))]
    paths = predict._draw(load_trained(finished[0]), tmp_path, lines, lines)
    assert looked_at == lines[:11]
    assert [path.name for path in paths] == [f"attention-{i}.png" for i in range(1, 11)]


def test_a_line_as_long_as_a_book_is_refused(finished):
    with pytest.raises(InputError, match=r"line 2 has [\d,]+ pieces, a line may have 2,000"):
        translate_lines(load_trained(finished[0]), ["a", "march " * 2_001], GREEDY)


def test_the_heat_map_shows_each_piece(finished):
    trained = load_trained(finished[0])
    alignment = align_line(trained, "3 march", "1987")
    assert alignment is not None
    assert "".join(alignment.source).replace("▁", " ").strip() == "3 march"
    assert alignment.target == ["▁", "1", "9", "8", "7", "(end)"]
    assert alignment.weights.shape == (6, len(alignment.source))
    assert align_line(trained, " ", "1987") is None
    np.testing.assert_allclose(alignment.weights.sum(-1), 1.0, rtol=1e-5)
    turned = trained._replace(config=dataclasses.replace(TINY, reverse_source=True))
    other = align_line(turned, "3 march", "1987")
    assert other is not None
    assert other.source == alignment.source  # shown in the line's own order
    blind = trained._replace(config=dataclasses.replace(TINY, attention="none"))
    assert align_line(blind, "3 march", "1987") is None


def test_a_heat_map_of_signs_that_its_font_lacks(tmp_path):
    signs = Alignment(["\U0001f600", "$x", "^2$"], ["日", "(end)"], np.eye(2, 3))
    draw_attention(tmp_path / "map.png", signs, "$\\frac$ \U0001f600")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_evaluating_another_test_set(finished, tmp_path, capsys):
    workdir, _ = finished
    (tmp_path / "new.in").write_bytes("\ufeff3 march 1987\r\n\r\n4 ☃ 2001".encode())
    (tmp_path / "new.out.gz").write_bytes(gzip.compress(b"1987-03-03\n\n2001-05-04\n"))
    files = [str(tmp_path / "new.in"), str(tmp_path / "new.out.gz")]
    cli.main(["--workdir", str(workdir), "--evaluate", *files])
    out, err = capsys.readouterr()
    assert "exact matches, % 33.33   3 lines of" in out  # of the empty line
    assert "1 of 3 lines of" in err
    assert "'☃' (1 of 3 lines)" in err
    translations = (workdir / "new.in.translations.txt").read_text().split("\n")
    assert translations[1] == ""
    assert len(translations) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evaluate", "missing.en", "missing.de"], "cannot read missing.en"),
        (["--evaluate", "two", "three"], "two has 2 lines and three 3"),
        (["--translate"], "nothing to translate"),
        (["--translate", "caf\udce9"], "is not UTF-8 text"),
        (["--translate", "x", "--evaluate", "two", "two"], "--translate or --evaluate"),
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
    if arguments[0] in ("--evaluate", "--translate") and "--workdir" not in arguments:
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
    trained = []

    def fake_train(config, folder, *, resume):
        """What a run of a network that is right in every other line leaves."""
        assert resume  # where there is nothing yet, from the first step
        trained.append(config)
        test = data.load_corpus("dates").test
        lines = [line if i % 2 else "?" for i, line in enumerate(test.targets)]
        folder.mkdir(parents=True)
        (folder / "translations.txt").write_text("".join(f"{line}\n" for line in lines))
        result = {
            "config": as_stored(config),
            "test": {"beam": 50.0 + 10 * config.seed, "nats": 0.5},
            "parameters": 1_000,
            "seconds": 1.0,
        }
        write_json(folder / "result.json", result)
        (folder / "metrics.jsonl").write_text('{"step": 1, "validation_exact": 1.0}\n')
        return result

    monkeypatch.setattr(findings, "train", fake_train)
    arguments = ["--workdir", str(tmp_path), "--seeds", "2"]
    findings.main(arguments)
    first = (tmp_path / "dates" / "table.md").read_text()
    assert [line.split(" | ")[0].strip("| ") for line in first.splitlines()[2:]] == [
        *findings.VARIANTS
    ]
    test = data.load_corpus("dates").test
    order = sorted(range(len(test)), key=lambda i: len(test.sources[i].split()))
    half = 100 * np.mean([i % 2 for i in order[len(test) // 2 :]])
    assert f"| 55.00 ± 7.07 | {half:.2f} | 0.500 | 1,000 |" in first
    for config in trained:
        changed = findings.VARIANTS[[*findings.VARIANTS][trained.index(config) // 2]]
        assert config == dataclasses.replace(SHORT["dates"], seed=config.seed, **changed)
    written = read_json(tmp_path / "dates" / "findings.json")
    assert written["config"] == as_stored(SHORT["dates"])
    assert [row["name"] for row in written["rows"]] == [*findings.VARIANTS]
    assert (tmp_path / "dates" / "validation.png").is_file()
    # what is there is not trained again
    monkeypatch.setattr(findings, "train", None)
    findings.main(arguments)
    assert (tmp_path / "dates" / "table.md").read_text() == first
    with pytest.raises(SystemExit, match="--seeds must be >= 1"):
        findings.main(["--seeds", "0"])
