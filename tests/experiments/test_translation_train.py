"""A whole run at a tiny size: its files, going on, translating and evaluating with it."""

import contextlib
import dataclasses
import gzip
import io
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.common.records import read_json, write_json
from experiments.common.settings import as_stored, config_from_dict, option
from experiments.common.training import load_trained
from experiments.machine_translation import data, findings, translate, use
from experiments.machine_translation.baselines import baselines_of
from experiments.machine_translation.config import Config
from experiments.machine_translation.configs.findings import SHORT
from experiments.machine_translation.evaluate import score_lines, score_of
from experiments.machine_translation.experiment import EXPERIMENT
from experiments.machine_translation.report import chosen_examples, describe, draw_attention
from experiments.machine_translation.subwords import vocabularies_of
from experiments.machine_translation.translate import (
    Alignment,
    align_line,
    translate_batch,
    translate_lines,
)
from experiments.machine_translation.use import readable
from tests.experiments.runs import records
from tests.experiments.translation_pairs import SENTENCES, write

# All that is translated is of one shape, and so compiled once.
TINY = shlex.split(
    "--source-pieces 60 --target-pieces 50 --cell elman --encoder-layers 1 --encoder-size 4 "
    "--decoder-layers 1 --decoder-size 8 --context-size 4 --embedding-size 6 --dropout 0.2 "
    "--ema-decay 0.5 --label-smoothing 0.1 --steps 6 --warmup-steps 1 "
    "--batch-size 16 --buckets 1 --log-interval 2 --eval-interval 3 --eval-batch-size 2 "
    "--eval-padding 32 --checkpoint-interval 2 --beam-size 2 --examples 2"
)

# One worker of pytest-xdist for the tests that share a run and its compiled programs.
pytestmark = pytest.mark.xdist_group("translation_train")


class Finished(NamedTuple):
    """A run that was never interrupted."""

    root: Path  # where it was started, with its data in `pairs`
    folder: Path
    said: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run by the command line, all paths relative."""
    root, said = tmp_path_factory.mktemp("own"), io.StringIO()
    write(root / "pairs", "train", [*SENTENCES, ("", "nichts"), ("nothing", "")])
    with contextlib.chdir(root), contextlib.redirect_stdout(said):
        command.main(EXPERIMENT, ["--data", "pairs:en-de", *TINY])
    return Finished(root, next((root / "runs" / "machine_translation").iterdir()), said.getvalue())


@pytest.fixture(scope="module")
def trained(finished) -> Trained:
    """Its model."""
    return load_trained(EXPERIMENT, finished.folder)


def test_a_run_leaves_its_files(finished):
    root, folder, said = finished
    assert {path.name for path in folder.iterdir()} == {
        *("checkpoints", "tensorboard", "metrics.jsonl", "run.json", "result.json"),
        *("source.model", "target.model", "learning_curve.png", "attention.png"),
        *("samples.txt", "translations.txt"),
    }
    result = read_json(folder / "result.json")
    assert folder.name.endswith("-pairs-en-de-elman")
    assert result["config"]["data"] == f"{(root / 'pairs').resolve()}:en-de"
    assert result["score"] == "bleu"
    assert set(result["baselines"]) == {"nearest neighbour", "word by word"}
    assert "sacrebleu" in result["environment"]["packages"]
    figures = [*result["test"].values(), *result["validation"].values()]
    assert np.isfinite(figures).all()
    curve = [r["validation_nats"] for r in records(folder) if "validation_nats" in r]
    assert len(curve) == 2
    assert result["validation"]["nats"] == pytest.approx(min(curve), rel=1e-6)
    lines = (folder / "translations.txt").read_text().splitlines()
    assert len(lines) == 4
    assert (folder / "samples.txt").read_text().count("reference") == 2
    for words in ("2 with an empty side", "shapes of batches: ", "steps are an epoch"):
        assert words in said
    for words in ("ours, beam of 2", "ours, greedy", f"{'ours':17}  {lines[0]}"):
        assert words in said
    assert result["signature"] in said


def test_what_a_run_holds_is_enough_to_use_it(finished, trained):
    vocabularies = vocabularies_of(read_json(finished.folder / "run.json")["facts"])
    for side in ("source", "target"):
        proto = (finished.folder / f"{side}.model").read_bytes()
        assert getattr(vocabularies, side).proto == proto
    run = read_json(finished.folder / "run.json")
    assert data.load(config_from_dict(Config, run["config"])).digest == run["data_sha256"]
    assert trained.model.source_size == len(vocabularies.source) == 60
    assert trained.model.target_size == len(vocabularies.target) == 50


def test_the_recurrent_weights_began_as_orthogonal_ones(trained):
    """Six steps change little; others are off by 0.5 and more."""
    encoder, decoder = trained.params.encoder.layers[-1], trained.params.decoder.rnn.layers[-1]
    for w_h in (encoder.cell.w_h[0], decoder.cell.w_h):  # the encoder's has two directions
        np.testing.assert_allclose(w_h.T @ w_h, np.eye(len(w_h)), atol=0.15)


def test_a_run_is_named_by_its_folder_of_pairs(finished, monkeypatch):
    root, folder, _ = finished
    monkeypatch.chdir(root / "pairs")
    words = ["--resume", "--workdir", str(folder)]
    assert command.parse(EXPERIMENT, ["--data", "../pairs:en-de", *words])[0].resume
    with pytest.raises(SystemExit, match="is none trained on"):
        command.main(EXPERIMENT, ["--data", "../pairs:de-en", *words])


def test_translating_a_users_sentences(finished, trained, capsys, monkeypatch):
    def with_what_is_compiled(model, greedy, *arguments):
        assert (model.config.beam_size, greedy) == (1, True)
        return translate_batch(trained.model, greedy, *arguments)

    monkeypatch.setattr(translate, "translate_batch", with_what_is_compiled)
    without_pictures = dataclasses.replace(EXPERIMENT, use=partial(use.use, pictures=0))
    lines = ["a dog runs here", "", "the ☃ sleeps"]
    words = ["--workdir", str(finished.folder), "--beam-size", "1", "--translate", *lines]
    command.main(without_pictures, words)
    out, err = capsys.readouterr()
    monkeypatch.undo()
    greedy = translate_lines(trained, lines, greedy=True)
    assert greedy[1] == ""
    assert out == "".join(f"{line}\n" for line in greedy)
    assert f"using {finished.folder}, trained on {finished.root}" in err
    assert "read as unknown: '☃'" in err


def test_translating_the_standard_input(finished, trained, capsys, monkeypatch):
    def give(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        use.use(use.Task(translate=("-",)), trained, pictures=1)

    give("\ufeff\r\na man eats\r\na girl sits \U0001f600".encode())
    out, err = capsys.readouterr()
    lines = translate_lines(trained, ["", "a man eats", "A  girl SITS \U0001f600"])
    assert out == "".join(f"{line}\n" for line in lines)
    picture = finished.folder / "attention-1.png"
    assert f"attention: {picture}\n" in err
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    for content, message in ((b"", "standard input is empty"), (b"caf\xe9", "not UTF-8")):
        with pytest.raises(InputError, match=message):
            give(content)


def test_pictures_of_some_lines_alone(trained):
    """Of those that can be read, and no more are looked at than are asked for."""
    lines = ["a man", "", "a dog sleeps in the snow", "a child"]
    looked_at = []

    def translations():
        for line in lines:
            looked_at.append(line)
            yield line

    pictures = readable(trained, lines, translations(), most_pieces=12)
    assert [next(pictures)[0], next(pictures)[0]] == ["a man\na man", "a child\na child"]
    pictures = readable(trained, lines, lines, most_pieces=100)
    assert [title.split("\n")[0] for title, _ in pictures] == [line for line in lines if line]
    del looked_at[:]
    next(readable(trained, lines, translations()))
    assert looked_at == lines[:1]


def test_a_line_as_long_as_a_book_is_refused(trained):
    with pytest.raises(InputError, match=r"line 2 has [\d,]+ pieces, a line may have 2,0"):
        translate_lines(trained, ["a", "xq " * 2_001], greedy=True)


def test_the_heat_map_shows_each_piece(trained):
    alignment = align_line(trained, "a man", "im")
    assert alignment is not None
    assert "".join(alignment.source).replace("▁", " ").strip() == "a man"
    assert "".join(alignment.target) == "▁im(end)"
    assert alignment.weights.shape == (len(alignment.target), len(alignment.source))
    assert align_line(trained, " ", "im") is None
    np.testing.assert_allclose(alignment.weights.sum(-1), 1.0, rtol=1e-5)
    config = trained.config
    turned = trained._replace(config=dataclasses.replace(config, reverse_source=True))
    other = align_line(turned, "a man", "im")
    assert other is not None
    assert other.source == alignment.source  # shown in the line's own order
    blind = trained._replace(config=dataclasses.replace(config, attention="none"))
    assert align_line(blind, "a man", "im") is None


def test_a_heat_map_of_signs_that_its_font_lacks(tmp_path):
    signs = Alignment(["\U0001f600", "$x", "^2$"], ["日", "(end)"], np.eye(2, 3))
    draw_attention(tmp_path / "map.png", signs, "$\\frac$ \U0001f600")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_evaluating_another_test_set_without_the_pairs(finished, tmp_path, monkeypatch, capsys):
    root, workdir, _ = finished
    (tmp_path / "new.in").write_bytes("\ufeffa dog runs here\r\n\r\na ☃ sits".encode())
    (tmp_path / "new.out.gz").write_bytes(gzip.compress(b"ein hund\n\nein kind sitzt\n"))
    monkeypatch.chdir(tmp_path)
    (root / "pairs").rename(root / "gone")
    try:
        words = ["--workdir", str(workdir), "--evaluate", "new.in", "new.out.gz"]
        command.main(EXPERIMENT, words)
        with pytest.raises(SystemExit, match="pairs:en-de, where there is no folder"):
            command.main(EXPERIMENT, ["--workdir", str(workdir), "--resume"])
    finally:
        (root / "gone").rename(root / "pairs")
    out, err = capsys.readouterr()
    path = workdir / "new.in.translations.txt"
    translations = path.read_text().split("\n")
    path.unlink()
    assert translations[1] == ""
    assert len(translations) == 4
    score = score_lines("own", translations[:3], ["ein hund", "", "ein kind sitzt"])
    assert out.startswith(f"BLEU {score.value:.2f}   3 lines of new.in\n")
    assert f"%: {score.details}\n({score.signature}; beam of 2)" in out
    assert "1 of 3 lines of" in err
    assert "'☃' (1 of 3 lines)" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluate": (Path("missing.en"), Path("missing.de"))}, "cannot read missing.en"),
        ({"evaluate": (Path("two"), Path("three"))}, "two has 2 lines and three 3"),
        ({"translate": ()}, "nothing to translate"),
        ({"translate": ("caf\udce9",)}, "is not UTF-8 text"),
    ],
    ids=["no file", "two and three lines", "nothing", "surrogate"],
)
def test_what_cannot_be_used_is_refused(trained, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two").write_text("a\nb\n")
    (tmp_path / "three").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match=message):
        use.use(use.Task(**options), trained)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("dropout", 1.0, r"in \[0, 1\), got 1.0"),
        ("label_smoothing", -1.0, "in "),
        ("beam_size", 0, ">= 1"),
        ("length_penalty", -1.0, ">= 0"),
    ],
)
def test_settings_out_of_range_are_refused(name, value, expected):
    with pytest.raises(InputError, match=f"{option(name)} must be {expected}"):
        Config(**{name: value})


def test_dates_are_compared_by_exact_matches():
    made = data.load(Config(), (200, 8, 8))
    assert describe(made).startswith("corpus dates: 200 training, 8 validation, 8 test pairs")
    assert [*baselines_of(made.corpus)] == ["nearest neighbour", "dateutil"]
    assert score_of("dates") == "exact"
    assert chosen_examples(8, 3) == [0, 3, 7]
    assert (chosen_examples(2, 6), chosen_examples(8, 0)) == ([0, 1], [])


def test_findings_compare_runs_that_differ_in_one_thing(tmp_path, capsys):
    """The command, on runs that are finished: those of a network right in every other line."""
    variants = dict([*findings.VARIANTS.items()][1:3])
    base, test = SHORT["dates"], data.load_corpus(Config()).test
    lines = [line if i % 2 else "?" for i, line in enumerate(test.targets)]
    for name, changes in variants.items():
        for seed in range(2):
            folder = tmp_path / "dates" / findings.run_name(name, seed)
            folder.mkdir(parents=True)
            (folder / "translations.txt").write_text("".join(f"{line}\n" for line in lines))
            (folder / "metrics.jsonl").write_text('{"step": 1, "validation_exact": 1.0}\n')
            result = {
                # of other settings it would not be taken
                "config": as_stored(dataclasses.replace(base, seed=seed, **changes)),
                "test": {"beam": 50.0 + 10 * seed, "nats": 0.5},
                "parameters": 1_000,
                "seconds": 1.0,
            }
            write_json(folder / "result.json", result)
    findings.main(["--workdir", str(tmp_path), "--seeds", "2"], variants)
    table = (tmp_path / "dates" / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]] == [*variants]
    order = sorted(range(len(test)), key=lambda i: len(test.sources[i].split()))
    half = 100 * np.mean([i % 2 for i in order[len(test) // 2 :]])
    assert table.count(f"| 55.00 ± 7.07 | {half:.2f} | 0.500 | 1,000 |") == len(variants)
    written = read_json(tmp_path / "dates" / "findings.json")
    assert written["config"] == as_stored(base)
    assert [row["name"] for row in written["rows"]] == [*variants]
    assert (tmp_path / "dates" / "validation.png").is_file()
    with pytest.raises(SystemExit, match="--seeds must be >= 1"):
        findings.main(["--seeds", "0"])
