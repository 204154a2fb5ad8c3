"""A whole run at a tiny size: its files, going on, translating and evaluating with it."""

import contextlib
import dataclasses
import gzip
import io
import shlex
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.common.records import read_json, write_json
from experiments.common.settings import as_stored, config_from_dict, free_fields
from experiments.common.training import load_trained
from experiments.machine_translation import data, findings
from experiments.machine_translation.baselines import baselines_of
from experiments.machine_translation.config import Config
from experiments.machine_translation.configs import PRESETS
from experiments.machine_translation.configs.findings import SHORT
from experiments.machine_translation.evaluate import score_lines, score_of
from experiments.machine_translation.experiment import EXPERIMENT
from experiments.machine_translation.report import chosen_examples, describe, draw_attention
from experiments.machine_translation.subwords import vocabularies_of
from experiments.machine_translation.translate import Alignment, align_line, translate_lines
from experiments.machine_translation.use import readable
from tests.experiments.runs import bits, records
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
    assert trained.model.source_size == len(vocabularies.source) == 60
    assert trained.model.target_size == len(vocabularies.target) == 50


def test_the_first_recurrent_weights_are_orthogonal(trained):
    def recurrent(key):
        params = trained.model.init(key)
        encoder, decoder = params.encoder.layers[-1].cell, params.decoder.rnn.layers[-1].cell
        return encoder.w_h[0], decoder.w_h  # the encoder's has two directions

    for w_h in jax.jit(recurrent)(jax.random.key(0)):
        np.testing.assert_allclose(w_h.T @ w_h, np.eye(len(w_h)), atol=1e-5)


def test_going_on_from_elsewhere_gives_the_same_bits(finished, tmp_path, monkeypatch, capsys):
    _, folder, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    for step in (5, 6):
        shutil.rmtree(tmp_path / "copy" / "checkpoints" / f"{step:08d}", ignore_errors=True)
    monkeypatch.chdir(tmp_path)
    command.main(EXPERIMENT, ["--workdir", "copy", "--resume"])
    assert "going on from step 4" in capsys.readouterr().out
    assert bits(tmp_path / "copy", 6) == bits(folder, 6)
    assert records(tmp_path / "copy") == records(folder)
    for name in ("translations.txt", "samples.txt", "source.model"):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()


def test_a_run_is_named_by_its_folder_of_pairs(finished, monkeypatch):
    root, folder, _ = finished
    monkeypatch.chdir(root / "pairs")
    words = ["--resume", "--workdir", str(folder)]
    assert command.parse(EXPERIMENT, ["--data", "../pairs:en-de", *words])[0].resume
    with pytest.raises(SystemExit, match="is none trained on"):
        command.main(EXPERIMENT, ["--data", "../pairs:de-en", *words])


def test_translating_a_users_sentences(finished, trained, capsys):
    workdir = finished.folder
    lines = ["a dog runs here", "", "the ☃ sleeps"]
    command.main(EXPERIMENT, ["--workdir", str(workdir), "--translate", *lines])
    out, err = capsys.readouterr()
    translations = out.split("\n")
    assert len(translations) == 4  # the last line's end
    assert translations[1] == ""
    assert f"using {workdir}, trained on {finished.root}" in err
    assert "read as unknown: '☃'" in err
    for number in (1, 2):
        assert (workdir / f"attention-{number}.png").read_bytes().startswith(b"\x89PNG")
        (workdir / f"attention-{number}.png").unlink()
    assert not (workdir / "attention-3.png").exists()
    greedy = translate_lines(trained, lines, greedy=True)
    words = ["--beam-size", "1", "--translate", lines[2], lines[0]]
    command.main(EXPERIMENT, ["--workdir", str(workdir), *words])
    assert capsys.readouterr().out == f"{greedy[2]}\n{greedy[0]}\n"


def test_translating_the_standard_input(finished, capsys, monkeypatch):
    def give(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    words = ["--workdir", str(finished.folder), "--translate"]
    give("\ufeffa man eats\r\n\r\na girl sits \U0001f600".encode())
    command.main(EXPERIMENT, [*words, "-"])
    out = capsys.readouterr().out
    command.main(EXPERIMENT, [*words, "a man eats", "", "A  girl SITS \U0001f600"])
    assert out == capsys.readouterr().out
    assert out.count("\n") == 3
    for content, message in ((b"", "standard input is empty"), (b"caf\xe9", "not UTF-8")):
        give(content)
        with pytest.raises(SystemExit, match=message):
            command.main(EXPERIMENT, [*words, "-"])


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
    ("arguments", "message"),
    [
        (["--evaluate", "missing.en", "missing.de"], "cannot read missing.en"),
        (["--evaluate", "two", "three"], "two has 2 lines and three 3"),
        (["--translate"], "nothing to translate"),
        (["--translate", "caf\udce9"], "is not UTF-8 text"),
        (["--translate", "x", "--evaluate", "two", "two"], "one of --translate and --evaluate"),
        (["--translate", "x", "--workdir", "nowhere"], "no run in nowhere"),
        (["--translate", "x", "--workdir", "empty"], "holds no run"),
        (["--dropout", "1.0"], r"--dropout must be in [0, 1), got 1.0"),
        (["--label-smoothing", "-1"], "--label-smoothing must be in"),
        (["--beam-size", "0"], "--beam-size must be >= 1"),
        (["--length-penalty", "-1"], "--length-penalty must be >= 0"),
        (["--data", "multi30k", "--data-dir", "nowhere"], "nowhere is not a folder"),
        (["--data", "multi30k", "--data-dir", "empty"], r"has no empty/multi30k/train.en.gz"),
        (["--source-pieces", "90000", "--train-pairs", "99"], "no 90000 pieces can be made"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_bad_input_ends_in_one_line(finished, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two").write_text("a\nb\n")
    (tmp_path / "three").write_text("a\nb\nc\n")
    (tmp_path / "empty").mkdir()
    if arguments[0] in ("--evaluate", "--translate") and "--workdir" not in arguments:
        arguments = [*arguments, "--workdir", str(finished.folder)]
    with pytest.raises(SystemExit) as caught:
        command.main(EXPERIMENT, arguments)
    assert str(caught.value).startswith("error: ")
    assert message in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_presets_and_options():
    def config_of(*words):
        return command.parse(EXPERIMENT, words)[1]

    assert config_of() == Config() == PRESETS["default"]
    config = config_of("--preset", "multi30k", "--attention", "luong")
    assert config == dataclasses.replace(PRESETS["multi30k"], attention="luong")
    assert {"beam_size", "length_penalty", "examples", "eval_buckets"} < free_fields(config)
    assert "embedding_size" not in free_fields(config)
    assert config_from_dict(Config, as_stored(config)) == config


def test_dates_are_compared_by_exact_matches():
    made = data.load_data(Config(), date_sizes=(200, 8, 8))
    assert describe(made).startswith("corpus dates: 200 training, 8 validation, 8 test pairs")
    assert [*baselines_of(made.corpus)] == ["nearest neighbour", "dateutil"]
    assert score_of("dates") == "exact"
    assert chosen_examples(8, 3) == [0, 3, 7]
    assert (chosen_examples(2, 6), chosen_examples(8, 0)) == ([0, 1], [])


def test_findings_compare_runs_that_differ_in_one_thing(tmp_path, capsys):
    """The command, on runs that are finished: those of a network right in every other line."""
    base, test = SHORT["dates"], data.load_corpus("dates").test
    lines = [line if i % 2 else "?" for i, line in enumerate(test.targets)]
    for name, changes in findings.VARIANTS.items():
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
    findings.main(["--workdir", str(tmp_path), "--seeds", "2"])
    table = (tmp_path / "dates" / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]] == [
        *findings.VARIANTS
    ]
    order = sorted(range(len(test)), key=lambda i: len(test.sources[i].split()))
    half = 100 * np.mean([i % 2 for i in order[len(test) // 2 :]])
    assert table.count(f"| 55.00 ± 7.07 | {half:.2f} | 0.500 | 1,000 |") == len(findings.VARIANTS)
    written = read_json(tmp_path / "dates" / "findings.json")
    assert written["config"] == as_stored(base)
    assert [row["name"] for row in written["rows"]] == [*findings.VARIANTS]
    assert (tmp_path / "dates" / "validation.png").is_file()
    with pytest.raises(SystemExit, match="--seeds must be >= 1"):
        findings.main(["--seeds", "0"])
