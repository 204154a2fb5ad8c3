"""A user's own recordings: found, read, left out and split."""

import shutil
import tracemalloc

import numpy as np
import pytest
import soundfile

from experiments.common.errors import InputError
from experiments.common.left_out import LeftOut
from experiments.common.training import train
from experiments.speech_recognition import ngrams, own, words
from experiments.speech_recognition.alphabet import Alphabet, normalize_transcript
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.data import load
from experiments.speech_recognition.experiment import EXPERIMENT
from experiments.speech_recognition.recordings import find_recordings
from experiments.speech_recognition.utterances import Utterance


def record(path, text=None, rate=16_000, seconds=0.3, channels=1, seed=0):
    """Write noise, and its transcript beside it if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(seed).normal(0.0, 0.1, (round(rate * seconds), channels))
    soundfile.write(path, wave, rate)
    if text is not None:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    return path


def record_some(folder, count=12, **options):
    for i in range(count):
        record(folder / f"{i:02d}.wav", "yes, no" if i % 2 else "No.", seed=i, **options)
    return folder


def found_in(folder):
    left_out = LeftOut()
    return find_recordings(folder, left_out), left_out.names


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("“Don’t”, she said — 'twice'...", "DON'T SHE SAID TWICE"),
        ("  one\ttwo\r\nthree ", "ONE TWO THREE"),
        ("Straße, a\N{COMBINING DIAERESIS}hnlich; x\N{SOFT HYPHEN}y", "STRASSE ÄHNLICH XY"),
        ("नमस्ते, 3 раза!", "नमस्ते 3 РАЗА"),
        ("RUBOUT G M E F THREE NINE", "RUBOUT G M E F THREE NINE"),  # AN4's stay
        ("... ' -", ""),
    ],
)
def test_transcripts_become_like_those_of_an4(written, text):
    assert normalize_transcript(written) == text == normalize_transcript(text)


def test_metadata_is_read_as_ljspeech_has_it(tmp_path):
    for name in ("wavs/LJ-1.2.wav", "wavs/b.FLAC", "clips/c.ogg", "wavs/d.wav", "d.wav"):
        record(tmp_path / name)
    (tmp_path / "metadata.csv").write_bytes(
        '\ufeffLJ-1.2|Chapter 2|Chapter two\r\nb | only "one" |\n\nclips/c|third\n'
        "d.wav|below wavs\nd|again\nnone|not there\n".encode()
        + b"x" * 300
        + b"|a name that no file has\n"
    )
    found, left_out = found_in(tmp_path)
    assert [(r.name, r.transcript) for r in found] == [
        ("wavs/LJ-1.2.wav", "Chapter two"),
        ("wavs/b.FLAC", 'only "one"'),
        ("clips/c.ogg", "third"),
        ("wavs/d.wav", "below wavs"),
    ]
    assert [r.speaker for r in found] == ["wavs", "wavs", "clips", "wavs"]
    assert left_out == {"listed again": ["d"], "listed but not there": ["none", "x" * 60]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a|one\nb,two\n", r"metadata\.csv, line 2: expected `name\|transcript` or .*'b,two'"),
        (b"a|b|c|d\n", "line 1"),
        (b"|no name\n", "line 1"),
        (b"a|\xff\xfe\n", "cannot be read as UTF-8"),
    ],
)
def test_another_form_of_metadata_is_refused(tmp_path, content, message):
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        found_in(tmp_path)


def test_transcripts_lie_beside_recordings_in_any_folder(tmp_path):
    record(tmp_path / "ann" / "monday" / "1.5.wav", "one")
    record(tmp_path / "ann" / "2.flac", "two")
    record(tmp_path / "bob" / "1.WAV", "three")
    record(tmp_path / "4.wav", "four")
    record(tmp_path / "bob" / "2.wav")
    record(tmp_path / "bob" / "3.wav").with_suffix(".txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "bob" / "._1.WAV").write_bytes(b"of another system")
    (tmp_path / "README.txt").write_text("no recording")
    found, left_out = found_in(tmp_path)
    assert [(r.name, r.speaker, r.transcript) for r in found] == [
        ("4.wav", "", "four"),
        ("ann/2.flac", "ann", "two"),
        ("ann/monday/1.5.wav", "ann", "one"),
        ("bob/1.WAV", "bob", "three"),
    ]
    assert left_out == {
        "without a transcript": ["bob/2.wav"],
        "with a transcript that is not UTF-8 text": ["bob/3.wav"],
    }


def test_a_speaker_is_the_first_folder_that_differs(tmp_path):
    for name in ("ann", "bob"):
        record(tmp_path / "wav48" / name / "day" / "1.wav", "one")
    assert [r.speaker for r in found_in(tmp_path)[0]] == ["ann", "bob"]
    shutil.rmtree(tmp_path / "wav48" / "bob")
    record(tmp_path / "wav48" / "ann" / "day" / "2.wav", "two")
    assert [r.speaker for r in found_in(tmp_path)[0]] == ["", ""]


def test_of_a_recording_in_two_formats_one_is_taken(tmp_path):
    """So it is beside one transcript, and where a list has it twice."""
    for name in ("1.flac", "1.wav", "a/1.wav", "2.OGG", "2.5.wav"):
        record(tmp_path / name, "one")
    (tmp_path / "1.aac").write_bytes(b"what it was made from")
    (tmp_path / "2.m4a").write_bytes(b"what it was made from")
    found, left_out = found_in(tmp_path)
    assert [r.name for r in found] == ["1.wav", "2.5.wav", "2.OGG", "a/1.wav"]
    assert left_out == {"there in another format": ["1.aac", "1.flac", "2.m4a"]}
    for name in ("take.1", "take.2"):  # no extension: what is behind the dot is the name's
        (tmp_path / name).touch()
    (tmp_path / "metadata.csv").write_text("1.flac|I\n1|I\n2.5|II\ntake.1|x\ntake.2|y\n")
    found, left_out = found_in(tmp_path)
    assert [r.name for r in found] == ["1.wav", "2.5.wav", "take.1", "take.2"]
    assert left_out == {"there in another format": ["1.flac"]}


def test_a_sound_is_in_one_part_only(tmp_path):
    record_some(tmp_path, 10)
    for name in ("00 (1)", "more/copy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        for end in (".wav", ".txt"):
            shutil.copy(tmp_path / f"00{end}", tmp_path / f"{name}{end}")
    wave, rate = soundfile.read(tmp_path / "05.wav", dtype="int16")
    soundfile.write(tmp_path / "other name.flac", wave, rate)  # other bytes, the same samples
    (tmp_path / "other name.txt").write_text("noise")
    notes = []
    splits = own.load(str(tmp_path), 0, 3, notes.append)
    assert notes == [
        f"{tmp_path}: 3 of 13 recordings left out: 3 with the sound of another (00.wav, for one)"
    ]
    waves = [u.wave.tobytes() for part in splits.parts for u in part]
    assert len(waves) == len(set(waves)) == 10


def test_what_is_of_no_use_is_left_out_and_told_in_one_line(tmp_path):
    record_some(tmp_path, 10)
    record(tmp_path / "bare.wav")
    record(tmp_path / "mute.wav", " ... ")
    record(tmp_path / "fast.wav", "fifteen", seconds=0.2)  # 18 frames, 6 steps of 3
    record(tmp_path / "just.wav", "aab", seconds=0.125)  # 11 frames, 4 steps for a, blank, a, b
    record(tmp_path / "blip.wav", "a", seconds=0.01)
    record(tmp_path / "long.wav", "a", seconds=60.5)
    soundfile.write(tmp_path / "still.wav", np.zeros(8000), 16_000)
    (tmp_path / "still.txt").write_text("silence")
    (tmp_path / "phone.m4a").write_bytes(b"no format that can be read")
    (tmp_path / "phone.txt").write_text("phone")
    notes = []
    splits = own.load(str(tmp_path), 0, 3, notes.append)
    (line,) = notes
    assert line.startswith(f"{tmp_path}: 7 of 18 recordings left out: 1 without a transcript")
    for reason in (
        "1 without a transcript (bare.wav)",
        "1 with an empty transcript (mute.wav)",
        "2 too short for their transcripts at --stack 3 (blip.wav, for one)",
        "1 longer than 60 s, to be cut at pauses (long.wav)",
        f"2 unreadable, empty or silent ({tmp_path / 'phone.m4a'} is not a recording",
    ):
        assert reason in line
    assert "just.wav" in {u.name for part in splits.parts for u in part}
    # With shorter steps there are enough of them.
    notes.clear()
    own.load(str(tmp_path), 0, 1, notes.append)
    assert "1 too short for their transcripts at --stack 1 (blip.wav)" in notes[0]


def test_rates_and_channels_are_changed_with_one_line_each(tmp_path):
    record_some(tmp_path, 8)
    for i, rate in enumerate((8000, 44_100, 44_100)):
        record(tmp_path / f"x{i}.wav", "no", rate, channels=2, seed=100 + i)
    notes = []
    splits = own.load(str(tmp_path), 0, 3, notes.append)
    assert notes == [
        "3 of 11 recordings: 2 channels, averaged to one",
        "1 of 11 recordings: resampled from 8,000 to 16,000 Hz; above 4,000 Hz it has nothing",
        "2 of 11 recordings: resampled from 44,100 to 16,000 Hz",
    ]
    assert {len(u.wave) for part in splits.parts for u in part} == {4800}


def test_too_few_for_three_parts_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"has 0 recordings that can be used, and .* need 10"):
        own.load(str(tmp_path), 0, 3, print)
    record_some(tmp_path, 9)
    record(tmp_path / "bare.wav")
    with pytest.raises(InputError, match=r"has 9 .* \(left out: 1 without a transcript \(bare"):
        own.load(str(tmp_path), 0, 3, print)


def said(speakers):
    wave = np.zeros(1, np.float32)
    return [Utterance(f"u{i:03d}", name, "A", wave) for i, name in enumerate(speakers)]


@pytest.mark.parametrize(
    ("speakers", "by_speaker"),
    [
        ("a" * 30, False),
        ("abc" * 10, False),
        ("abcd" * 10, True),
        ("abcdefghijkl" * 3, True),
        ("a" * 11 + "bcdefghijklmnopqrstuvwxyz", False),  # too much is the first one's
    ],
)
def test_parts_have_nothing_in_common_and_no_speaker_if_there_are_many(speakers, by_speaker):
    utterances = said(speakers)
    corpus = own.split("mine", utterances, seed=0)
    names = [{u.name for u in part} for part in corpus.parts]
    assert sum(map(len, names)) == len(set().union(*names)) == len(utterances)
    voices = [{u.speaker for u in part} for part in corpus.parts]
    assert (sum(map(len, voices)) == len(set().union(*voices))) == by_speaker
    assert ("all different" in corpus.note) == by_speaker
    assert len(corpus.train) >= 0.3 * len(utterances)
    assert min(len(corpus.valid), len(corpus.test)) >= len(utterances) // 10
    if not by_speaker:
        assert len(corpus.valid) == len(corpus.test) == len(utterances) // 10
    assert own.split("mine", utterances, seed=0) == corpus
    others = [own.split("mine", utterances, seed) for seed in range(1, 5)]
    assert all(other.test == corpus.test for other in others)
    assert any(other.valid != corpus.valid for other in others)


def test_data_is_a_corpus_or_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "an4").mkdir()
    assert EXPERIMENT.data_at("an4") == "an4"
    assert EXPERIMENT.data_at("./an4") == str(tmp_path / "an4")
    assert Config(data="mine", ngram="word").ngram == "word"
    (tmp_path / "file.wav").touch()
    for name in ("theirs", "file.wav", str(tmp_path / "gone"), "x" * 300):
        with pytest.raises(
            InputError,
            match=r"there is no folder .*; --data must be formants, an4, fsdd, or a fold",
        ):
            load(Config(data=name))


LETTERS = [chr(0x4E00 + i) for i in range(1000)]


@pytest.mark.parametrize(
    ("make", "text", "message"),
    [
        (words.word_bigram, " ".join(LETTERS), r"1,000 different words need .* --ngram character$"),
        (
            lambda texts, alphabet, most: ngrams.character_ngram(texts, alphabet, 2, most),
            "".join(LETTERS),
            r"1,002 contexts or more of 1,001 labels each .* lower --ngram-order, now 2$",
        ),
    ],
    ids=["words", "characters"],
)
def test_a_language_model_that_is_too_large_is_refused_before_it_is_made(make, text, message):
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            make([text], Alphabet.of_texts([text]), 10**6)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6  # bytes; one table of a float64 from each to each has 8e6


@pytest.mark.parametrize("ngram", ["character", "word"])
def test_it_is_refused_before_the_training(tmp_path, ngram):
    folder = record_some(tmp_path / "mine")
    config = Config(data=str(folder), ngram=ngram, ngram_entries=50)
    with pytest.raises(InputError, match=rf"{ngram}_.*gram: .* --ngram"):
        train(EXPERIMENT, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
