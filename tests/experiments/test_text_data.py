"""Corpora to ids, and ids to the chunks of a step."""

import os
import zipfile
from pathlib import Path
from pydoc_data import topics

import numpy as np
import pytest

from experiments.common.corpora import DATA_DIR_VARIABLE
from experiments.common.errors import InputError
from experiments.text_generation.batches import batch_at, chunks_per_epoch
from experiments.text_generation.config import Config
from experiments.text_generation.configs import ptb_medium, ptb_small, ptb_tied
from experiments.text_generation.data import Vocabulary, load, penn_treebank, split_text


@pytest.fixture
def text_file(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("abcde" * 20, encoding="utf-8")
    return str(file)


def test_a_file_is_cut_at_ninety_percent(text_file):
    data = load(Config(data=text_file))
    assert data.vocabulary == Vocabulary(tuple("abcde"), "character")
    assert (len(data.train), len(data.valid), data.test) == (90, 10, None)
    assert data.vocabulary.decode(data.valid) == "abcdeabcde"
    assert data.train.dtype == np.int32


def test_pydoc_is_all_there_and_in_order():
    data = load(Config(data="pydoc"))
    whole = np.concatenate([data.train, data.valid])
    text = data.vocabulary.decode(whole)
    assert text.startswith(topics.topics[min(topics.topics)])
    assert text.endswith(topics.topics[max(topics.topics)])
    assert len(data.train) == int(0.9 * len(text))


def test_another_text_has_another_digest(text_file):
    first = load(Config(data=text_file))
    assert first.digest == load(Config(data=text_file)).digest
    Path(text_file).write_text("abcde" * 19 + "abced")
    assert first.digest != load(Config(data=text_file)).digest


@pytest.mark.parametrize(
    ("content", "message"), [("a", "leaves none for the training"), ("", "is empty")]
)
def test_a_text_too_short_to_split_is_refused(tmp_path, content, message):
    file = tmp_path / "short.txt"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        load(Config(data=str(file)))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"tinyshakespear: .*one of: ptb, tinyshakespeare"):
        load(Config(data="tinyshakespear"))


def test_unknown_characters_are_refused_by_name():
    with pytest.raises(InputError, match="has no 'x' 'z'; use only the 3 characters"):
        Vocabulary(("a", "b", "c"), "character").encode("abzxcx")


def test_words_end_lines_and_unknown_ones_are_counted():
    vocabulary = Vocabulary(("<eos>", "<unk>", "a", "cat"), "word")
    ids, unknown = vocabulary.encode(split_text(" a cat \n a dog \n", "word"))
    assert ids.tolist() == [2, 3, 0, 2, 1, 0]
    assert unknown == 1
    assert vocabulary.decode(ids) == "a cat \na <unk> \n"


def test_a_file_can_be_read_as_words(tmp_path):
    """20 words, 18 of them to train on, with `once` once among them and `b` five times."""
    file = tmp_path / "text.txt"
    file.write_text("once\n" + "a  b\n" * 5 + "a b zz")
    data = load(Config(data=str(file), level="word"))
    assert data.vocabulary == Vocabulary(("<eos>", "<unk>", "a", "b"), "word")
    assert data.train.tolist() == [1, 0, *([2, 3, 0] * 5), 2]
    assert data.valid.tolist() == [3, 1]
    assert data.num_unknown == 2
    all_of_them = load(Config(data=str(file), level="word", min_count=1))
    assert all_of_them.vocabulary.symbols == ("<eos>", "<unk>", "a", "b", "once")
    assert all_of_them.num_unknown == 1  # zz is in the validation split alone
    assert load(Config(data=str(file), level="word", min_count=6)).vocabulary.symbols[2:] == ("a",)
    file.write_text("word")
    with pytest.raises(InputError, match="has 1 words, which leaves none for the training"):
        load(Config(data=str(file), level="word"))


def test_characters_go_there_and_back():
    vocabulary = Vocabulary(("\n", "a", "é"), "character")
    ids, unknown = vocabulary.encode("é\naa")
    assert (vocabulary.decode(ids), unknown) == ("é\naa", 0)
    assert vocabulary.encode("")[0].dtype == np.int32


def test_the_treebank_is_words_and_keeps_its_own_splits(tmp_path):
    file = tmp_path / "ptb.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ptb.train.txt", " a cat <unk> \n a mouse \n")
        archive.writestr("ptb.valid.txt", " a dog \n")
        archive.writestr("ptb.test.txt", " cat a horse \n")
    data = penn_treebank(file, "made here")
    assert data.vocabulary.symbols == ("<eos>", "<unk>", "a", "cat", "mouse")
    assert data.train.tolist() == [2, 3, 1, 0, 2, 4, 0]
    assert data.valid.tolist() == [2, 1, 0]
    assert data.test.tolist() == [3, 2, 1, 0]
    assert data.num_unknown == 2


PTB_TRAIN_WORDS = 929_589


@pytest.mark.parametrize("preset", [ptb_small, ptb_medium, ptb_tied])
def test_the_presets_epochs_are_those_of_the_treebank(preset):
    config = preset.CONFIG
    steps = chunks_per_epoch(PTB_TRAIN_WORDS, config.batch_size, config.chunk_length)
    assert steps == preset.STEPS_PER_EPOCH == config.eval_interval
    assert config.steps % steps == config.decay_interval % steps == 0


needs_files = pytest.mark.skipif(
    not os.environ.get(DATA_DIR_VARIABLE),
    reason=f"{DATA_DIR_VARIABLE} is not set: the real files are downloaded only",
)


@needs_files
@pytest.mark.parametrize(
    ("name", "sizes", "vocab_size"),
    [
        ("tinyshakespeare", (1_003_854, 111_540, None), 65),
        ("warandpeace", (2_556_971, 319_621, 319_622), 82),
        ("ptb", (PTB_TRAIN_WORDS, 73_760, 82_430), 10_000),
    ],
)
def test_sizes_of_the_real_corpora(name, sizes, vocab_size):
    data = load(Config(data=name))
    splits = (data.train, data.valid, data.test)
    assert tuple(None if ids is None else len(ids) for ids in splits) == sizes
    assert len(data.vocabulary) == vocab_size
    assert "\r" not in data.vocabulary.symbols


B, T, SEED = 3, 4, 5


def test_a_chunk_continues_the_one_before():
    ids = np.arange(100)
    chunks = chunks_per_epoch(100, B, T)
    assert chunks == 8
    for step in range(3 * chunks):
        batch = batch_at(ids, step, B, T, SEED)
        assert batch.x.shape == batch.labels.shape == (T, B)
        assert batch.x.dtype == np.int32
        np.testing.assert_array_equal(batch.labels, batch.x + 1)
        assert batch.fresh == (step % chunks == 0)
        if not batch.fresh:
            before = batch_at(ids, step - 1, B, T, SEED)
            np.testing.assert_array_equal(batch.x[0], before.labels[-1])


def test_an_epoch_reads_no_symbol_twice():
    epoch = [batch_at(np.arange(100), step, B, T, SEED).labels for step in range(8)]
    labels = np.stack(epoch).ravel()
    assert len(set(labels.tolist())) == 8 * B * T == 96


def test_epochs_start_at_offsets_of_their_own():
    first = {int(batch_at(np.arange(400), 33 * e, B, T, SEED).x[0, 0]) for e in range(20)}
    assert first == {0, 1, 2, 3}


@pytest.mark.parametrize("length", [16, 17, 40, 41, 99])
def test_no_read_leaves_the_text(length):
    chunks = chunks_per_epoch(length, B, T)
    last = [batch_at(np.arange(length), chunks * (e + 1) - 1, B, T, SEED) for e in range(30)]
    assert max(batch.labels.max() for batch in last) <= length - 1


def test_a_text_of_less_than_one_step_is_refused():
    assert chunks_per_epoch((B + 1) * T, B, T) == 1
    with pytest.raises(InputError, match=r"has 15 symbols, but one step .* needs 16"):
        chunks_per_epoch((B + 1) * T - 1, B, T)
