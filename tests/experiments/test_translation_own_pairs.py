"""A user's own pairs: what is read, held out and refused."""

import dataclasses
import gzip
from pathlib import Path

import pytest

from experiments.common import command
from experiments.common.errors import InputError
from experiments.machine_translation import baselines
from experiments.machine_translation.config import Config
from experiments.machine_translation.configs import PRESETS, on_own_data
from experiments.machine_translation.data import Corpus, load_corpus
from experiments.machine_translation.experiment import EXPERIMENT
from experiments.machine_translation.lines import Pairs
from experiments.machine_translation.own_pairs import located, read_own
from experiments.machine_translation.subwords import learn_vocabularies, train_subwords
from tests.experiments.translation_pairs import SENTENCES, write


def corpus_of(name: str, **options) -> Corpus:
    """Return the pairs that `--data` names."""
    return load_corpus(Config(data=name, **options))


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
    corpus = corpus_of(name)
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
    assert splits_of(corpus_of(name)) == splits
    assert "pairs held out of training: 12 for test and 12 for valid" in corpus.notes
    assert len(corpus_of(name, train_pairs=7).train) == 7


def test_held_out_splits_stay_small(tmp_path):
    """A line with many translations, or a large corpus, does not fill them."""
    often = [(SENTENCES[0][0], str(i)) for i in range(60)]
    name = f"{write(tmp_path / 'a', 'train', SENTENCES + often)}:en-de"
    train, valid, test, _ = read_own(name, most_held_out=3)
    assert [len(valid), len(test)] == [3, 3]
    assert train.sources.count(SENTENCES[0][0]) == 61


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
    splits = splits_of(corpus_of(f"{write(tmp_path / 'a', 'train', pairs)}:en-de"))
    assert [len(split) for split in splits] == sizes
    assert set.union(*splits) == set(pairs)
    sources = [{source for source, _ in split} for split in splits]
    assert sum(map(len, sources)) == len(counts)
    write(tmp_path / "a", "train", pairs[::-1])
    assert splits_of(corpus_of(f"{tmp_path / 'a'}:en-de")) == splits


def test_files_of_splits_are_taken_and_training_shares_no_line_with_them(tmp_path):
    folder = write(tmp_path / "pairs", "train", SENTENCES)
    write(folder, "test", [*SENTENCES[:4], ("a cat", "eine katze")])
    corpus = corpus_of(f"{folder}:en-de")
    assert splits_of(corpus)[2] == {*SENTENCES[:4], ("a cat", "eine katze")}
    assert [len(corpus.train), len(corpus.valid)] == [73, 3]
    assert corpus.notes == (
        "pairs left out: 4 with a source line of another split (train, line 1, for one)",
        "pairs held out of training: 3 for valid",
    )
    write(folder, "valid", [SENTENCES[3], SENTENCES[9]])
    corpus = corpus_of(f"{folder}:en-de")
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
    corpus = corpus_of(f"{folder}:en-de")
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
    one = corpus_of(f"{folder}:lc.en-zh-cn")
    other = corpus_of(f"{folder}:zh-cn-lc.en")
    assert SENTENCES[0] in set.union(*splits_of(one))
    assert SENTENCES[0][::-1] in set.union(*splits_of(other))
    with pytest.raises(InputError, match=r"say which is the source: --data .*:lc.en-zh-cn"):
        corpus_of(str(folder))
    write(folder, "train", SENTENCES, ("tgt", "src"))
    write(folder, "train", SENTENCES[::-1], ("fr", "en"))
    assert SENTENCES[0][::-1] in set.union(*splits_of(corpus_of(str(folder))))


@pytest.fixture(scope="module")
def odd_folders(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("odd")
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
    return root


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("datse", ["dates or multi30k", "a folder", "got datse"]),
        ("pairs/train.en", ["got pairs/train.en, where there is no folder"]),
        ("nowhere:en-de", ["got nowhere:en-de, where there is no folder"]),
        ("", ["--data must be a name or a path, got none"]),
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
def test_odd_folders_are_refused(odd_folders, monkeypatch, name, messages):
    monkeypatch.chdir(odd_folders)
    with pytest.raises(InputError) as caught:
        corpus_of(name)
    for message in messages:
        assert message in str(caught.value)


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
        config = command.parse(EXPERIMENT, [*words, "--steps", "60"])[1]
        assert config == dataclasses.replace(on_own_data(Config()), data=there, steps=60)
        assert (config.source_pieces, config.target_pieces) == (2_000, 2_000)
    config = command.parse(EXPERIMENT, ["--preset", "multi30k", "--data", "pairs:en-de"])[1]
    assert config == dataclasses.replace(PRESETS["multi30k"], data=there)
    assert (
        command.parse(EXPERIMENT, ["--data", "dates"])[1] == PRESETS["default"]
    )  # the corpus, not the folder
    assert located("./dates") == str((tmp_path / "dates").resolve())
    assert [located(name) for name in ("dates", "datse", "x:y")] == ["dates", "datse", "x:y"]


def test_word_by_word_of_a_large_text_reads_its_first_lines():
    train = Pairs(["a b", "c", "a b"], ["x y", "z", "v w"])
    assert baselines.word_by_word(train, ["c"]) == ["z"]
    assert baselines.word_by_word(train, ["c"], most_links=4) == ["c"]
