"""A user's own pairs: what is read, held out and refused, and a whole run on them."""

import contextlib
import dataclasses
import gzip
import itertools
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.common.errors import InputError
from experiments.common.records import read_json
from experiments.machine_translation import __main__ as cli
from experiments.machine_translation import baselines, own_pairs, translate
from experiments.machine_translation.config import Config
from experiments.machine_translation.configs import PRESETS, presets_on
from experiments.machine_translation.data import Corpus, load_corpus
from experiments.machine_translation.lines import Pairs
from experiments.machine_translation.own_pairs import located
from experiments.machine_translation.subwords import learn_vocabularies, train_subwords
from experiments.machine_translation.train import train
from experiments.machine_translation.trained import load_trained
from experiments.machine_translation.update import state_shapes
from tests.experiments.test_translation_train import arrays

# One worker of pytest-xdist for the tests that share a run and its compiled programs.
pytestmark = pytest.mark.xdist_group("translation_own_pairs")

WHO = ("a man:ein mann", "a dog:ein hund", "a child:ein kind", "a girl:ein mädchen")
DOES = ("runs:läuft", "sleeps:schläft", "eats:isst", "laughs:lacht", "sits:sitzt")
WHERE = ("here:hier", "outside:draußen", "in the snow:im schnee", "at home:daheim")
SENTENCES = [
    tuple(" ".join(side) for side in zip(*(part.split(":") for part in parts), strict=True))
    for parts in itertools.product(WHO, DOES, WHERE)
]  # 80 pairs


def write(folder: Path, split: str, pairs, languages=("en", "de")) -> Path:
    """Write a split's two files and return their folder."""
    folder.mkdir(exist_ok=True)
    for i, language in enumerate(languages):
        lines = "".join(f"{pair[i]}\n" for pair in pairs)
        (folder / f"{split}.{language}").write_text(lines, encoding="utf-8")
    return folder


def splits_of(corpus: Corpus) -> list[set[tuple[str, str]]]:
    """Return the pairs of training, validation and test."""
    return [
        set(zip(pairs.sources, pairs.targets, strict=True))
        for pairs in (corpus.train, corpus.valid, corpus.test)
    ]


def test_a_share_is_held_out_and_no_source_line_is_in_two_splits(tmp_path):
    # every sentence again: spelled otherwise with the same translation, and with another one
    again = [(f" {source.upper()}  ", target) for source, target in SENTENCES]
    other = [(source, f"{target}!") for source, target in SENTENCES]
    pairs = [*SENTENCES, *again, *other]
    name = f"{write(tmp_path / 'pairs', 'train', pairs)}:en-de"
    corpus = load_corpus(name)
    splits = splits_of(corpus)
    assert [len(split) for split in splits] == [240 - 2 * 12, 12, 12]
    assert set.union(*splits) == set(pairs)
    spelled = [{" ".join(source.lower().split()) for source, _ in split} for split in splits]
    assert sum(map(len, spelled)) == len(set.union(*spelled)) == len(SENTENCES)
    # training keeps the files' order, which has no part in what is held out
    assert sorted(splits[0], key=pairs.index) == list(
        zip(corpus.train.sources, corpus.train.targets, strict=True)
    )
    write(tmp_path / "pairs", "train", pairs[::-1])
    assert splits_of(load_corpus(name)) == splits
    assert "pairs held out of training: 12 for test and 12 for valid" in corpus.notes
    assert len(load_corpus(name, train_pairs=7).train) == 7


def test_held_out_splits_stay_small(tmp_path, monkeypatch):
    """A line with many translations, or a large corpus, does not fill them."""
    monkeypatch.setattr(own_pairs, "MOST_HELD_OUT", 3)
    often = [(SENTENCES[0][0], str(i)) for i in range(60)]
    corpus = load_corpus(f"{write(tmp_path / 'a', 'train', SENTENCES + often)}:en-de")
    assert [len(corpus.valid), len(corpus.test)] == [3, 3]
    assert corpus.train.sources.count(SENTENCES[0][0]) == 61


def translated(*counts: int) -> list[tuple[str, str]]:
    """Return pairs of as many source lines as there are counts, each with so many translations."""
    return [(SENTENCES[n][0], str(i)) for n, count in enumerate(counts) for i in range(count)]


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [
        ([2] * 19, [34, 2, 2]),  # room for one pair
        ([5] * 18, [80, 5, 5]),  # for four
        ([2] * 50, [92, 4, 4]),  # for five: what does not fit test does for validation
        ([9, 7, 8], [9, 8, 7]),  # the fewest first: test, then validation
        ([1, 60, 1], [60, 1, 1]),  # test has room for both of the small ones, but takes one
    ],
    ids=["two each", "five each", "one too many", "a line a split", "one line leaves none"],
)
def test_source_lines_with_many_translations_are_held_out_whole(tmp_path, counts, sizes):
    pairs = translated(*counts)
    splits = splits_of(load_corpus(f"{write(tmp_path / 'a', 'train', pairs)}:en-de"))
    assert [len(split) for split in splits] == sizes
    assert set.union(*splits) == set(pairs)
    sources = [{source for source, _ in split} for split in splits]
    assert sum(map(len, sources)) == len(counts)
    write(tmp_path / "a", "train", pairs[::-1])
    assert splits_of(load_corpus(f"{tmp_path / 'a'}:en-de")) == splits


def test_files_of_splits_are_taken_and_training_shares_no_line_with_them(tmp_path):
    folder = write(tmp_path / "pairs", "train", SENTENCES)
    write(folder, "test", [*SENTENCES[:4], ("a cat", "eine katze")])
    corpus = load_corpus(f"{folder}:en-de")
    assert splits_of(corpus)[2] == {*SENTENCES[:4], ("a cat", "eine katze")}
    assert [len(corpus.train), len(corpus.valid)] == [73, 3]
    assert corpus.notes == (
        "pairs left out: 4 with a source line of another split (train, line 1, for one)",
        "pairs held out of training: 3 for valid",
    )
    write(folder, "valid", [SENTENCES[3], SENTENCES[9]])
    corpus = load_corpus(f"{folder}:en-de")
    assert splits_of(corpus)[1] == {SENTENCES[9]}
    assert len(corpus.train) == 75
    assert len(set.union(*splits_of(corpus))) == 75 + 1 + 5
    assert corpus.notes == (
        "pairs left out: 6 with a source line of another split (valid, line 1, for one)",
    )


def test_empty_and_very_long_sides_are_left_out_and_counted(tmp_path):
    # the last three: signs of which sentencepiece reads nothing
    odd = [("", "x"), ("x", " \t"), ("", ""), ("\u200b", "x"), ("y", "\ufeff"), ("▁", "z")]
    long = [("word " * 300, "x"), ("x", "ﷺ" * 100)]  # the ligature is read as 18 letters
    folder = write(tmp_path / "pairs", "train", SENTENCES + odd + long)
    corpus = load_corpus(f"{folder}:en-de")
    assert set.union(*splits_of(corpus)) == set(SENTENCES)
    assert corpus.notes[0] == (
        "pairs left out: 6 with an empty side (train, line 81, for one); "
        "2 with more than 1,000 characters (train, line 87, for one)"
    )
    config = Config(data=str(folder), source_pieces=2_000, target_pieces=0)
    encoded = learn_vocabularies(corpus.train, config).encode(corpus.train, False)
    assert min(len(ids) for side in encoded for ids in side) > 0


def test_the_endings_tell_the_languages_or_the_user_does(tmp_path):
    folder = write(tmp_path / "pairs", "train", SENTENCES, ("lc.en", "zh-cn"))
    for ending in ("lc.en", "zh-cn"):
        plain = folder / f"train.{ending}"
        (folder / f"train.{ending}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    one = load_corpus(f"{folder}:lc.en-zh-cn")
    other = load_corpus(f"{folder}:zh-cn-lc.en")
    assert SENTENCES[0] in set.union(*splits_of(one))
    assert SENTENCES[0][::-1] in set.union(*splits_of(other))
    with pytest.raises(InputError, match=r"say which is the source: --data .*:lc.en-zh-cn"):
        load_corpus(str(folder))
    write(folder, "train", SENTENCES, ("tgt", "src"))
    write(folder, "train", SENTENCES[::-1], ("fr", "en"))
    assert SENTENCES[0][::-1] in set.union(*splits_of(load_corpus(str(folder))))


def make_odd_folders(root: Path) -> None:
    write(root / "pairs", "train", SENTENCES)
    write(root / "uneven", "train", SENTENCES)
    (root / "uneven" / "train.de").write_text("eins\nzwei\n")
    write(root / "single", "train", SENTENCES, ("en",))
    write(root / "twice", "train", SENTENCES)
    (root / "twice" / "train.en.gz").write_bytes(gzip.compress(b"a\n"))
    write(write(root / "half", "train", SENTENCES), "test", SENTENCES[:2], ("en",))
    write(root / "blank", "train", [("", "x")] * 5)
    write(root / "two", "train", translated(20, 20))
    write(write(root / "one", "train", translated(20)), "test", SENTENCES[5:7])
    write(write(root / "same", "train", SENTENCES), "test", SENTENCES)
    write(root / "latin", "train", SENTENCES)
    (root / "latin" / "train.de").write_bytes(b"caf\xe9\n" * len(SENTENCES))
    (root / "empty").mkdir()


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("datse", ["dates or multi30k", "a folder", "got datse"]),
        ("pairs/train.en", ["got pairs/train.en, where there is no folder"]),
        ("nowhere:en-de", ["got nowhere:en-de, where there is no folder"]),
        ("", ["--data must be a name or a folder, got none"]),
        ("pairs", ["train.de, train.en; say which is the source: --data", "pairs:de-en"]),
        ("pairs:en-fr", ["must have the files of en-fr, got train.de, train.en"]),
        ("pairs:en", ["must have the files of en, got train.de, train.en"]),
        ("empty", ["got no train.*; put train.SRC and train.TGT there"]),
        ("single:en-de", ["got train.en; put train.SRC and train.TGT there"]),
        ("uneven:en-de", ["train.en has 80 lines and", "train.de 2"]),
        ("twice:en-de", ["got both", "train.en.gz; keep one of them"]),
        ("half:en-de", ["must have test.en and test.de, got test.en alone"]),
        ("blank:en-de", ["none of the 5 pairs of", "a side is empty"]),
        ("same:en-de", ["none of the 80 pairs of", "in another split"]),
        ("two:en-de", ["40 training pairs of 2 source lines, too few", "3 are needed"]),
        ("two:en-de", ["with all of its translations", "files test.* and valid.*"]),
        ("one:en-de", ["of 1 source lines, too few", "2 are needed", "files valid.*"]),
        ("latin:en-de", ["train.de is not UTF-8 text"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_ends_in_one_line(tmp_path, monkeypatch, name, messages):
    make_odd_folders(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main(["--workdir", "run", "--data", name])
    assert str(caught.value).startswith("error: ")
    for message in messages:
        assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_own_text_has_as_many_pieces_as_it_has():
    train = Pairs(*map(list, zip(*SENTENCES, strict=True)))
    for shared in (False, True):
        config = Config(data="own", source_pieces=5_000, target_pieces=30, shared_pieces=shared)
        sizes = [len(side) for side in vars(learn_vocabularies(train, config)).values()]
        assert 40 < sizes[0] < 500
        assert sizes[1] == (sizes[0] if shared else 30)
        with pytest.raises(InputError, match="no 5000 pieces"):
            learn_vocabularies(train, dataclasses.replace(config, data="dates"))
    assert train_subwords(train.sources, 40, at_most=True).processor.get_piece_size() == 40
    with pytest.raises(InputError, match=r"no 10 pieces .*change --source-pieces or --target"):
        train_subwords(train.sources, 10, at_most=True)


def test_settings_for_own_pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs").mkdir()
    (tmp_path / "dates").mkdir()
    there = f"{(tmp_path / 'pairs').resolve()}:en-de"
    for words in (["--data", "pairs:en-de"], ["--data=./dates/../pairs/:en-de"]):
        config = cli.parse([*words, "--steps", "60"])[1]
        assert config == dataclasses.replace(presets_on(there)["default"], steps=60)
        assert (config.source_pieces, config.target_pieces) == (2_000, 2_000)
    config = cli.parse(["--preset", "multi30k", "--data", "pairs:en-de"])[1]
    assert config == dataclasses.replace(PRESETS["multi30k"], data=there)
    assert cli.parse(["--data", "dates"])[1] == PRESETS["default"]  # the corpus, not the folder
    assert located("./dates") == str((tmp_path / "dates").resolve())
    assert [located(name) for name in ("dates", "datse", "x:y")] == ["dates", "datse", "x:y"]


def test_word_by_word_of_a_large_text_reads_its_first_lines(monkeypatch):
    train = Pairs(["a b", "c", "a b"], ["x y", "z", "v w"])
    assert baselines.word_by_word(train, ["c"]) == ["z"]
    monkeypatch.setattr(baselines, "MOST_LINKS", 4)
    assert baselines.word_by_word(train, ["c"]) == ["c"]


TINY = shlex.split(
    "--cell elman --source-pieces 80 --target-pieces 90 --encoder-layers 1 --encoder-size 4 "
    "--decoder-layers 1 --decoder-size 8 --context-size 4 --embedding-size 6 --steps 4 "
    "--warmup-steps 1 --batch-size 32 --buckets 1 --log-interval 2 --eval-interval 2 "
    "--eval-buckets 1 --eval-batch-size 4 --checkpoint-interval 2 --beam-size 1 --examples 1"
)
WITH_EMPTY = [*SENTENCES, ("", "nichts"), ("nothing", "")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run by the command line, all paths relative, and the folder that they start from."""
    root = tmp_path_factory.mktemp("own")
    write(root / "pairs", "train", WITH_EMPTY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translate, "_LENGTH_STEP", 48)
        with contextlib.chdir(root):
            cli.main(["--data", "pairs:en-de", *TINY])
        yield root, next((root / "runs" / "machine_translation").iterdir())


def test_a_run_on_own_pairs_is_measured_in_bleu(finished):
    root, run = finished
    assert run.name.endswith("-pairs-en-de-bahdanau")
    result = read_json(run / "result.json")
    assert result["score"] == "bleu"
    assert result["config"]["data"] == f"{(root / 'pairs').resolve()}:en-de"
    assert set(result["baselines"]) == {"nearest neighbour", "word by word"}
    figures = [*result["test"].values(), *result["validation"].values()]
    assert np.isfinite(figures).all()
    assert len((run / "translations.txt").read_text().splitlines()) == 4


def test_going_on_with_own_pairs_from_elsewhere(finished, tmp_path, monkeypatch, capsys):
    root, run = finished
    shutil.copytree(run, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "checkpoints" / "00000004")
    monkeypatch.chdir(tmp_path)
    cli.main(["--workdir", "copy", "--resume"])
    out = capsys.readouterr().out
    assert "pairs left out: 2 with an empty side" in out
    assert "going on from step 2" in out
    target = state_shapes(cli.parse(TINY)[1], load_trained(run).model)
    assert arrays(tmp_path / "copy", 4, target) == arrays(run, 4, target)
    for name in ("translations.txt", "samples.txt"):
        assert (tmp_path / "copy" / name).read_bytes() == (run / name).read_bytes()
    # by the folder's name, too, as it was given or in another way
    monkeypatch.chdir(root / "pairs")
    assert cli.parse(["--data", "../pairs:en-de", "--resume", "--workdir", str(run)])[0].resume
    with pytest.raises(SystemExit, match="is none trained on"):
        cli.main(["--data", "../pairs:de-en", "--resume", "--workdir", str(run)])
    monkeypatch.chdir(tmp_path)
    write(root / "pairs", "train", SENTENCES[:-1])
    with pytest.raises(InputError, match="the data are not those"):
        train(Config(**read_json(run / "run.json")["config"]), run, resume=True)
    write(root / "pairs", "train", WITH_EMPTY)


def test_translating_and_evaluating_without_the_folder(finished, tmp_path, monkeypatch, capsys):
    root, run = finished
    (root / "pairs").rename(root / "gone")
    monkeypatch.chdir(tmp_path)
    cli.main(["--workdir", str(run), "--translate", "a dog runs here", ""])
    assert capsys.readouterr().out.count("\n") == 2
    write(tmp_path, "new", [*SENTENCES[:2], ("", "leer")])
    cli.main(["--workdir", str(run), "--evaluate", "new.en", "new.de"])
    out = capsys.readouterr().out
    assert out.startswith("BLEU ")
    assert "3 lines of new.en" in out
    with pytest.raises(SystemExit, match="pairs:en-de, where there is no folder"):
        cli.main(["--workdir", str(run), "--resume"])
    (root / "gone").rename(root / "pairs")
