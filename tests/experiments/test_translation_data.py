"""From files and dates to pieces and batches."""

import datetime
import gzip
import json
import os

import numpy as np
import pytest
from dateutil import parser as dateutil_parser

from experiments.common.errors import InputError
from experiments.machine_translation import batches, dates
from experiments.machine_translation.config import Config
from experiments.machine_translation.data import load, load_corpus
from experiments.machine_translation.lines import Pairs, normalise, read_lines, read_pairs
from experiments.machine_translation.subwords import (
    END,
    PAD,
    START,
    UNKNOWN,
    Encoded,
    Subwords,
    Vocabularies,
    train_subwords,
    vocabularies_of,
)

LINES = ["two dogs run", "a dog runs in the snow", "a man runs", "two men in the snow"] * 5

# What dateutil reads by itself, with all four digits of the year and the month first.
READABLE = [0, 1, 2, 5, 7, 12, 13]


def test_spellings_mean_the_day_they_are_made_of():
    for days in range(0, 36_525, 397):
        date = dates.FIRST + datetime.timedelta(days=days)
        for i in READABLE:
            text = dates.SPELLINGS[i](date)
            assert dateutil_parser.parse(text).date() == date, text


def test_dates_in_words_by_hand():
    date = datetime.date(1987, 3, 3)
    assert [spell(date) for spell in dates.SPELLINGS[-3:]] == [
        "the third of march, nineteen eighty-seven",
        "march the third, nineteen eighty-seven",
        "tuesday the third of march 1987",
    ]
    assert [dates.ordinal(n) for n in (1, 2, 5, 8, 9, 12, 20, 21, 30, 31)] == [
        *("first", "second", "fifth", "eighth", "ninth", "twelfth", "twentieth"),
        *("twenty-first", "thirtieth", "thirty-first"),
    ]
    assert [dates.year_in_words(n) for n in (1950, 2000, 2007, 2010, 2049)] == [
        *("nineteen fifty", "two thousand", "two thousand seven", "twenty ten"),
        "twenty forty-nine",
    ]
    assert dates.SPELLINGS[11](date) == "3.iii.1987"
    assert dates.SPELLINGS[2](datetime.date(2011, 11, 12)) == "saturday, november 12th, 2011"


def test_no_two_splits_of_dates_share_a_day():
    splits = dates.make_dates((3000, 300, 300), seed=0)
    assert [len(pairs) for pairs in splits] == [3000, 300, 300]
    days = [set(pairs.targets) for pairs in splits]
    assert sum(map(len, days)) == len(set.union(*days))
    assert splits == dates.make_dates((3000, 300, 300), seed=0)
    assert splits != dates.make_dates((3000, 300, 300), seed=1)


def test_lines_of_plain_and_compressed_files(tmp_path):
    content = "Ein Hund.\r\n\n zwei  Hunde\u2028hier \n".encode()
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + content)
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    for name in ("a.txt", "a.gz"):
        lines = read_lines(tmp_path / name)
        assert lines == ["Ein Hund.", "", " zwei  Hunde\u2028hier "]
        assert [normalise(line) for line in lines] == ["ein hund.", "", "zwei hunde hier"]
    (tmp_path / "mac.txt").write_bytes(b"a\r\rb\r")
    assert read_lines(tmp_path / "mac.txt") == ["a", "", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        (b"", "is empty"),
        (b"caf\xe9\n", "not UTF-8"),
        (gzip.compress(b"a line\n")[:-6], "damaged gzip"),
        (gzip.compress(b"a line\n" * 50)[:20] + b"\0" * 20, "damaged gzip"),
    ],
    ids=["missing", "empty", "latin-1", "short", "overwritten"],
)
def test_files_that_cannot_be_read(tmp_path, content, message):
    path = tmp_path / "lines"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_lines(path)
    assert str(path) in str(caught.value)


def test_sides_of_different_lengths_are_refused(tmp_path):
    (tmp_path / "en").write_text("a\nb\n")
    (tmp_path / "de").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match=r"en has 2 lines and .*de 3"):
        read_pairs(tmp_path / "en", tmp_path / "de")


@pytest.mark.skipif("DEEPRNN_DATA" not in os.environ, reason="DEEPRNN_DATA is not set")
def test_multi30k_has_its_published_sizes():
    corpus = load_corpus(Config(data="multi30k"))
    assert [len(p) for p in (corpus.train, corpus.valid, corpus.test)] == [29_000, 1_014, 1_000]
    assert corpus.test.targets[0] == "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt."
    assert len(load_corpus(Config(data="multi30k", train_pairs=7)).train) == 7


def test_a_damaged_file_of_multi30k_is_refused(tmp_path):
    (tmp_path / "multi30k").mkdir()
    (tmp_path / "multi30k" / "train.en.gz").write_bytes(gzip.compress(b"a\n"))
    with pytest.raises(InputError, match=r"train\.en\.gz has SHA-256 .* not .*raw.github"):
        load_corpus(Config(data="multi30k", data_dir=str(tmp_path)))


@pytest.mark.parametrize("size", [40, 0], ids=["pieces", "characters"])
def test_subwords_give_their_lines_back(size):
    subwords = train_subwords(LINES, size)
    assert subwords.proto == train_subwords(LINES, size).proto
    for line in LINES[:4]:
        ids = subwords.encode(f"  {line.upper()} ")
        assert ids.dtype == np.int32
        assert subwords.decode(ids) == line
        assert "".join(subwords.pieces(ids)).replace("▁", " ").strip() == line
        assert not set(ids.tolist()) & {PAD, UNKNOWN, START, END}
        assert len(ids) == len(line) + 1 if size == 0 else len(ids) < len(line)
    assert len(subwords.encode("")) == 0
    assert subwords.decode(np.zeros(0, np.int32)) == ""


def test_characters_never_seen_are_unknown_and_named():
    subwords = train_subwords(LINES, 0)
    assert subwords.unseen("two ☃ dogs ß☃") == ["☃", "ß☃"]
    assert UNKNOWN in subwords.encode("☃")
    assert subwords.unseen("TWO  dogs") == []


def test_more_pieces_than_there_can_be_are_refused():
    with pytest.raises(InputError, match=r"no 5000 pieces can be made of 20 lines: .*too high"):
        train_subwords(LINES, 5000)


def test_vocabularies_come_back_from_what_a_run_holds():
    both = Vocabularies(train_subwords(LINES, 0), train_subwords(LINES, 40))
    assert vocabularies_of(json.loads(json.dumps(both.facts))) == both


def test_the_digest_tells_lines_and_pieces():
    digests = [load(Config(source_pieces=n), (40, 4, 4)).digest for n in (60, 60, 61)]
    digests.append(load(Config(source_pieces=60), (40, 4, 5)).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_reversing_turns_the_source_alone():
    both = Vocabularies(train_subwords(LINES, 0), Subwords(train_subwords(LINES, 40).proto))
    pairs = Pairs(["a dog"], ["two dogs"])
    plain, turned = both.encode(pairs, False), both.encode(pairs, True)
    assert plain.sources[0].tolist() == turned.sources[0].tolist()[::-1]
    assert plain.targets[0].tolist() == turned.targets[0].tolist()


def make_pairs(number: int = 203) -> Encoded:
    """Pairs whose every id tells which pair it belongs to."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 15, (number, 2))
    lengths[0], lengths[1, 0] = (30, 2), 0
    return Encoded(
        [np.full(n, 10 + i, np.int32) for i, (n, _) in enumerate(lengths)],
        [np.full(n, 10 + i, np.int32) for i, (_, n) in enumerate(lengths)],
    )


def test_an_epoch_visits_every_pair_once():
    pairs, size = make_pairs(), 16
    made = batches.make_batches(pairs, 4, size)
    steps = made.per_epoch
    shapes = set()
    for epoch in range(2):
        seen = []
        for step in range(epoch * steps, (epoch + 1) * steps):
            batch = batches.batch_at(made, step, seed=3)
            shapes.add((batch.source.shape, batch.target.shape))
            for row in range(size):
                n, m = batch.source_lengths[row], batch.target_lengths[row]
                if m == 0:
                    assert n == 0
                    continue
                pair = batch.target[1, row] - 10
                seen.append(pair)
                np.testing.assert_array_equal(batch.source[:n, row], pairs.sources[pair])
                np.testing.assert_array_equal(batch.target[1:m, row], pairs.targets[pair])
                np.testing.assert_array_equal(batch.labels[: m - 1, row], pairs.targets[pair])
                assert batch.target[0, row] == START
                assert batch.labels[m - 1, row] == END
                assert (batch.source[n:, row] == PAD).all()
                assert (batch.labels[m:, row] == PAD).all()
        assert sorted(seen) == list(range(len(pairs.sources)))
    assert len(shapes) <= 4


def test_a_batch_is_a_function_of_the_step_alone():
    one, other = (batches.make_batches(make_pairs(), 3, 16) for _ in range(2))
    steps = [5, 40, 0, 5]
    for step in steps:
        for a, b in zip(*(batches.batch_at(made, step, 3) for made in (one, other)), strict=True):
            np.testing.assert_array_equal(a, b)
    first = [batches.batch_at(one, step, 3).target for step in range(3)]
    for seed, later in ((3, one.per_epoch), (4, 0)):
        assert not all(
            np.array_equal(a, batches.batch_at(one, step + later, seed).target)
            for step, a in enumerate(first)
        )
