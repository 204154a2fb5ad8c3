"""Splits, alphabets, joined digits and batches."""

import dataclasses
import hashlib
import itertools
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.corpora import Source
from experiments.common.errors import InputError
from experiments.common.manifests import fetch_all, read_manifest
from experiments.speech_recognition import audio, corpora, formants
from experiments.speech_recognition.alphabet import Alphabet
from experiments.speech_recognition.baselines import guess
from experiments.speech_recognition.batches import (
    Examples,
    batch_at,
    batches_per_epoch,
    in_order_of_length,
    pad,
)
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.data import load, prepare, steps_needed
from experiments.speech_recognition.digits import Clip, join_clips
from experiments.speech_recognition.features import LogMel
from experiments.speech_recognition.report import describe
from experiments.speech_recognition.utterances import Corpus, Utterance, part_off

DATA_DIR = os.environ.get("DEEPRNN_DATA")
needs_data = pytest.mark.skipif(not DATA_DIR, reason="DEEPRNN_DATA is not set")


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0.0, 0.1, samples).astype(np.float32)


def utterance(i, speaker, text="AB", seconds=0.3):
    return Utterance(f"u{i}", speaker, text, noise(round(8000 * seconds), i))


def test_speakers_are_parted_off_whole_until_there_is_enough():
    said = [utterance(i, f"s{i % 7}") for i in range(40)]

    def held_out(seed, count=9):
        return part_off(said, count, seed, lambda u: u.speaker)

    train, held = held_out(3)
    speakers = {u.speaker for u in held}
    assert [u.name for u in held] == [u.name for u in said if u.speaker in speakers]
    assert [u.name for u in train] == [u.name for u in said if u.speaker not in speakers]
    # 40 utterances by seven: a speaker has five or six, so that nine are two speakers'.
    assert len(held) >= 9
    assert len(speakers) == 2
    assert [u.name for u in held_out(3)[1]] == [u.name for u in held]
    assert {u.speaker for u in held_out(4)[1]} != speakers
    assert len(held_out(3, 40)[1]) == 40


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        ("<s> U M N Y H SIX </s> (an255-fash-b)", "an255-fash-b", "U M N Y H SIX"),
        ("RUBOUT G M E F THREE NINE (an406-fcaw-b)", "an406-fcaw-b", "RUBOUT G M E F THREE NINE"),
        ("<s> GO </s> (an253-fash-b) ", "an253-fash-b", "GO"),
    ],
)
def test_a_line_of_transcripts_is_name_and_text(line, name, text):
    assert corpora.parse_line(line) == (name, text)


def test_another_line_is_an_error():
    with pytest.raises(ValueError, match="not a line"):
        corpora.parse_line("GO an253-fash-b")


@needs_data
def test_an4_is_what_its_source_says(monkeypatch):
    heard = Counter()

    def read_audio(path, rate):  # of one utterance: to read all takes most of the time
        heard[path.suffix, rate] += 1
        return audio.read_audio(path, rate) if path.stem == "cen1-fash-b" else noise(9)

    monkeypatch.setattr(corpora, "read_audio", read_audio)
    splits = corpora.an4(DATA_DIR, seed=0)
    assert heard == {(".wav", 16_000): 948 + 130}
    waves = {u.name: u.wave for part in splits.parts for u in part}
    assert len(waves["cen1-fash-b"]) > 16_000
    assert (len(splits.valid), len(splits.test)) == (100, 130)
    assert 948 - 100 - 14 < len(splits.train) <= 848
    speakers = [{u.speaker for u in part} for part in splits.parts]
    assert sum(map(len, speakers)) == len(set().union(*speakers)) == 84
    assert sum(len(u.text.split()) for u in splits.test) == 773
    alphabet = Alphabet.of_texts(u.text for u in splits.train)
    assert alphabet.characters == " ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert all(u.text == " ".join(u.text.split()) for part in splits.parts for u in part)


@needs_data
def test_fsdd_uses_every_test_clip_once_and_no_other(monkeypatch):
    def read_some(*arguments, **options):  # all test and validation clips, a few to train on
        sources = read_manifest(*arguments, **options)
        return [x for x in sources if int(Path(x.path).stem.rpartition("_")[2]) < 11]

    monkeypatch.setattr(corpora, "read_manifest", read_some)
    splits = corpora.fsdd(DATA_DIR, seed=0)
    assert "".join(sorted("".join(u.text for u in splits.test))) == "".join(
        digit * 30 for digit in "0123456789"
    )
    assert {u.speaker for u in splits.test} == {u.speaker for u in splits.train}
    assert [sum(len(u.text) for u in part) for part in splits.parts] == [120, 300, 300]
    assert [corpora.part_of(take) for take in (0, 4, 5, 9, 10, 49)] == [
        *("test", "test", "valid", "valid", "train", "train")
    ]


def test_made_digits_differ_between_speakers_and_are_equal_for_equal_seeds():
    first, again = (formants.load(0, (2, 1, 1), takes=2) for _ in range(2))
    other = formants.load(1, (1, 1, 1), takes=1)
    np.testing.assert_array_equal(first.train[0].wave, again.train[0].wave)
    assert first.train[0].text != other.train[0].text or len(first.train[0].wave) != len(
        other.train[0].wave
    )
    speakers = [{u.speaker for u in part} for part in first.parts]
    assert [len(voices) for voices in speakers] == [2, 1, 1]
    assert len(set().union(*speakers)) == 4
    # Two rounds of two takes of ten digits by two voices; of the others, one take each.
    assert [sum(len(u.text) for u in part) for part in first.parts] == [80, 10, 10]
    assert all(np.abs(u.wave).max() < 1.0 for u in first.train)


def test_made_digits_are_described_and_guessed_by_their_spectra():
    made = load(Config(voices=(1, 1, 1), takes=2))
    assert describe(made).startswith("corpus formants: 8 training (0.2 min), 2 validation (")
    found = guess(made, 40)
    assert set(found) == {
        "most frequent transcript",
        "n-gram's best text of the right length",
        "nearest mean spectrum, frame by frame",
    }
    assert {len(texts) for texts in found.values()} == {len(made.test)}
    spectra = "".join(found["nearest mean spectrum, frame by frame"])
    assert spectra
    assert set(spectra) <= set("0123456789")


@given(st.integers(0, 2**32 - 1), st.integers(3, 30))
def test_every_clip_is_joined_once_and_lies_where_the_segment_says(seed, count):
    rng = np.random.default_rng(seed)
    clips = [Clip(str(i % 10), f"s{i % 2}", np.full(40 + i, 0.5, np.float32)) for i in range(count)]
    strings = join_clips(clips, "test", (90.0, 90.0), rng)
    # By length, which is each clip's own.
    found = sorted(s.stop - s.start for u in strings for s in u.segments)
    assert found == sorted(len(clip.wave) for clip in clips)
    for u in strings:
        assert u.text == "".join(segment.label for segment in u.segments)
        loud = np.zeros(len(u.wave), bool)
        for segment in u.segments:
            loud[segment.start : segment.stop] = True
        np.testing.assert_array_equal(np.abs(u.wave) > 0.25, loud)
        assert {clips[s.stop - s.start - 40].speaker for s in u.segments} == {u.speaker}


def test_a_text_comes_back_and_what_is_unknown_does_not():
    alphabet = Alphabet.of_texts(["ON TOP", "TIP"])
    assert alphabet.characters == " INOPT"
    assert alphabet.decode(alphabet.encode("TOP PIN")) == "TOP PIN"
    assert alphabet.decode(alphabet.encode("TOP QX PIN")) == "TOP PIN"
    assert alphabet.decode([0, 6, 0, 4, 5, 1, 1]) == "TOP"
    assert alphabet.encode("").dtype == np.int32


@given(st.lists(st.integers(1, 2), min_size=1, max_size=4))
def test_the_steps_a_text_needs_are_those_of_its_shortest_alignment(labels):
    def collapse(path):
        return [label for label, _ in itertools.groupby(path) if label != 0]

    length = next(
        n
        for n in range(9)
        if any(collapse(p) == labels for p in itertools.product(range(3), repeat=n))
    )
    assert steps_needed(np.array(labels, np.int32)) == length


def tiny_corpus(texts, seconds):
    said = tuple(
        utterance(i, f"s{i % 2}", text, length)
        for i, (text, length) in enumerate(zip(texts, seconds, strict=True))
    )
    return Corpus("tiny", "none", 8000, said, said[:1], said[:1], "")


def test_a_copy_too_fast_for_its_labels_is_never_drawn():
    # 28 frames, or 24 at speed 1.2: 10 steps of 3 frames, or 8.
    corpus = tiny_corpus(["ABABABABA", "AB", "BA"], [0.3, 0.3, 0.4])
    config = Config(speeds=(1.0, 1.2), num_bands=8, batch_size=2)
    data = prepare(corpus, config)
    np.testing.assert_array_equal(data.train.usable, [[1, 1, 1], [0, 1, 1]])
    assert data.num_too_short == 1
    for step in range(20):
        batch = batch_at(data.train, step, (60,), 3, seed=0)
        row = int(np.flatnonzero(batch.num_labels == 9)[0])
        assert batch.num_frames[row] == len(data.train.copies[0][0])


def test_an_utterance_too_short_at_every_speed_is_an_error():
    corpus = tiny_corpus(["ABABABABABABABABA", "AB"], [0.3, 0.3])
    with pytest.raises(InputError, match="u0 for one; lower --stack, now 3"):
        prepare(corpus, Config(num_bands=8))
    assert prepare(corpus, Config(num_bands=8, stack=1)).num_too_short == 0


def test_bands_that_would_hear_nothing_are_refused():
    assert LogMel(8000, 40).num_bands == 40
    with pytest.raises(InputError, match=r"of 200 bands are narrower .* at 8,000 Hz"):
        LogMel(8000, 200)


@pytest.mark.parametrize("normalization", ["utterance", "speaker", "global"])
def test_normalisation_is_over_what_the_option_names(normalization):
    corpus = tiny_corpus(["A"] * 4, [0.3, 0.5, 0.4, 0.6])
    train = prepare(corpus, Config(num_bands=8, normalization=normalization)).train.copies[0]
    groups = {
        "utterance": [[0], [1], [2], [3]],
        "speaker": [[0, 2], [1, 3]],
        "global": [[0, 1, 2, 3]],
    }
    for group in groups[normalization]:
        together = np.concatenate([train[i] for i in group])
        np.testing.assert_allclose(together.mean(axis=0), 0.0, atol=1e-4)
        np.testing.assert_allclose(together.std(axis=0), 1.0, atol=1e-3)


def test_the_digest_is_of_sound_and_text():
    corpus = tiny_corpus(["AB", "BA"], [0.3, 0.3])
    assert corpus.digest == tiny_corpus(["AB", "BA"], [0.3, 0.3]).digest
    assert corpus.digest != tiny_corpus(["AB", "BB"], [0.3, 0.3]).digest
    first, *rest = corpus.train
    louder = first._replace(wave=first.wave * np.float32(1.01))
    assert corpus.digest != dataclasses.replace(corpus, train=(louder, *rest)).digest
    moved = dataclasses.replace(corpus, train=rest, valid=(first, *corpus.valid))
    assert corpus.digest != moved.digest


def examples(lengths, copies=1, num_bands=2):
    rng = np.random.default_rng(0)
    return Examples(
        utterances=[utterance(i, "s") for i in range(len(lengths))],
        # The label tells the utterance.
        labels=tuple(np.array([i + 1], np.int32) for i in range(len(lengths))),
        copies=tuple(
            tuple(rng.normal(size=(n + c, num_bands)).astype(np.float32) for n in lengths)
            for c in range(copies)
        ),
        usable=np.ones((copies, len(lengths)), bool),
    )


def test_an_epoch_reads_every_utterance_once_and_each_differently():
    train = examples([5, 9, 12, 7, 30, 22, 8, 14], copies=3)
    assert batches_per_epoch(train, 2) == 4
    epochs = [
        [batch_at(train, 4 * epoch + i, (12, 33), 2, seed=1) for i in range(4)]
        for epoch in range(12)
    ]
    orders = []
    for epoch in epochs:
        read = [int(label) for batch in epoch for label in batch.labels[:, 0]]
        assert sorted(read) == list(range(1, 9))
        orders.append(tuple(read))
    assert len(set(orders)) > 1
    heard = {int(b.num_frames[r]) for e in epochs for b in e for r in (0, 1) if b.labels[r, 0] == 1}
    assert heard == {5, 6, 7}  # at every speed


def test_a_batch_is_a_function_of_the_step_alone():
    train = examples([5, 9, 12, 7, 30, 22, 8], copies=2)

    def batch(step, seed=1):
        return batch_at(train, step, (12, 33), 3, seed)

    for a, b in zip(batch(7), batch(7), strict=True):
        np.testing.assert_array_equal(a, b)
    for other in (batch(8), batch(7, seed=2)):
        assert (batch(7).num_frames.tolist(), batch(7).labels.tolist()) != (
            other.num_frames.tolist(),
            other.labels.tolist(),
        )
    # Seven utterances, three a batch: two are read twice.
    assert batches_per_epoch(train, 3) == 3


def test_padding_is_zero_and_goes_to_the_next_length():
    frames = [np.ones((n, 2), np.float32) for n in (4, 7)]
    labels = [np.array([1, 2], np.int32), np.array([3], np.int32)]
    batch = pad(frames, labels, (6, 9, 12), 4)
    assert batch.frames.shape == (9, 2, 2)
    np.testing.assert_array_equal(batch.frames[..., 0].sum(axis=0), [4, 7])
    np.testing.assert_array_equal(batch.num_frames, [4, 7])
    np.testing.assert_array_equal(batch.labels, [[1, 2, 0, 0], [3, 0, 0, 0]])
    np.testing.assert_array_equal(batch.num_labels, [2, 1])


def test_all_are_read_in_order_of_length_and_the_last_batch_is_filled():
    frames = examples([5, 9, 3, 7, 30]).copies[0]
    read = list(in_order_of_length(frames, (9, 30), 2))
    assert [rows for rows, _ in read] == [[2, 0], [3, 1], [4]]
    assert [batch.frames.shape[:2] for _, batch in read] == [(9, 2), (9, 2), (30, 2)]
    np.testing.assert_array_equal(read[-1][1].num_frames, [30, 0])


def test_a_damaged_recording_is_named_and_not_used(tmp_path):
    (tmp_path / "an4" / "wav").mkdir(parents=True)
    path = tmp_path / "an4" / "wav" / "a.wav"
    soundfile.write(path, noise(8000), 8000)
    manifest = tmp_path / "list.sha256"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(f"{sha256}  wav/a.wav\n")
    sources = read_manifest(manifest, name="an4", repository="o/n", commit="c", licence="free")
    assert sources == [Source("an4", "an4/wav/a.wav", "o/n", "c", "wav/a.wav", sha256, "free")]
    assert fetch_all(sources, str(tmp_path)) == [path]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"a\.wav has SHA-256 .*/o/n/c/wav/a\.wav"):
        fetch_all(sources, str(tmp_path))


def test_the_lists_of_files_are_whole():
    folder = Path(corpora.__file__).parent
    for name, count in (("an4", 948 + 130 + 4), ("fsdd", 3000)):
        lines = (folder / f"{name}.sha256").read_text().splitlines()
        assert len(lines) == len(set(lines)) == count
        assert all(len(line.split()) == 2 and len(line.split()[0]) == 64 for line in lines)
