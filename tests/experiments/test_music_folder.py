"""The user's own music: what a folder's files become."""

import shutil

import pytest

from experiments.common.errors import InputError
from experiments.music_generation.config import Config
from experiments.music_generation.data import load
from experiments.music_generation.folder import read_folder
from experiments.music_generation.midi import read_midi, write_midi
from experiments.music_generation.report import describe
from tests.experiments.test_music_data import random_pieces
from tests.experiments.test_music_midi import add_tempos, user_file

NAMES = ("a.mid", "b.MID", "c.midi", "deep/d.mid", "deep/down/e.Midi", *(f"{i}.mid" for i in "fgh"))


def write_pieces(folder, names, pieces):
    for name, piece in zip(names, pieces, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_midi(folder / name, piece, 0.5)
    return folder


def contents(rolls):
    return {roll.tobytes() for roll in rolls}


@pytest.fixture
def pieces():
    return random_pieces(range(12, 12 + len(NAMES)))


@pytest.fixture
def folder(tmp_path, pieces):
    return write_pieces(tmp_path / "own music", NAMES, pieces)


def test_every_file_is_one_piece_of_one_split(folder, pieces):
    (folder / "readme.txt").write_text("no music")
    (folder / "album.mid").mkdir()
    data = load(Config(data=str(folder)))
    splits = (data.train, data.valid, data.test)
    assert tuple(map(len, splits)) == (6, 1, 1)
    assert contents(roll for split in splits for roll in split) == contents(pieces)
    assert (data.frame_beats, data.notes) == (0.5, ())
    assert describe(data).endswith("notes; licence: your own files")


def test_the_splits_are_of_the_notes_and_not_of_the_names(folder, pieces, tmp_path):
    renamed = write_pieces(tmp_path / "again", [f"{i}.mid" for i in range(8)], pieces[::-1])
    assert load(Config(data=str(renamed))).digest == load(Config(data=str(folder))).digest
    more = write_pieces(tmp_path / "more", [f"{i}.mid" for i in range(30)], random_pieces([9] * 30))
    assert list(map(len, read_folder(more, 0.5)[0])) == [24, 3, 3]


def test_what_is_left_out_is_told_in_a_line(folder, pieces):
    for i in range(4):
        shutil.copy(folder / "a.mid", folder / "deep" / f"copy {i}.mid")
    (folder / "damaged.mid").write_bytes((folder / "a.mid").read_bytes()[:40])
    user_file(folder / "drums.mid", [(36, 0.0, 8.0, 9)])
    write_midi(folder / "short.mid", pieces[0][:7], 0.5)
    partly = [(60, 0.0, 4.0, 0), (36, 0.0, 4.0, 9), (110, 0.0, 1.0, 0)]
    user_file(folder / "partly.mid", partly)
    data = load(Config(data=str(folder)))
    splits = (data.train, data.valid, data.test)
    rolls = [roll for split in splits for roll in split]
    assert len(rolls) == len(contents(rolls)) == 9  # no piece twice, in whatever split
    assert contents(rolls) == contents([*pieces, read_midi(folder / "partly.mid", 0.5).roll])
    assert data.notes == (
        "left out 7 of 16 files: 2 that cannot be read or have no notes (damaged.mid, for one); "
        "4 with the notes of another file (deep/copy 0.mid, for one); "
        "1 shorter than 8 frames (short.mid)",
        "not all notes are read of 1 pieces: drums, keys outside of the piano's 88 or notes "
        "between the frames are left out",
    )
    assert describe(data).endswith("\n".join(data.notes))


def test_a_tempo_is_no_note_that_is_left_out(folder):
    """A roll knows no tempo, so of these pieces all is learned from."""
    path = user_file(folder / "slower.mid", [(60, 0.0, 8.0, 0)])
    before = load(Config(data=str(folder)))
    add_tempos(path, [(0, 300_000), (3, 400_000)])
    assert read_midi(path, 0.5).left_out
    data = load(Config(data=str(folder)))
    assert (data.notes, data.digest) == ((), before.digest)


def test_folders_that_cannot_be_learned_from(tmp_path, pieces):
    with pytest.raises(InputError, match=r"no \.mid or \.midi file in .*; 3 are the least"):
        load(Config(data=str(tmp_path)))
    write_pieces(tmp_path, ("a.mid", "b.mid", "c.mid"), [pieces[0], pieces[1], pieces[0]])
    message = r"expected 3 or more, got 2 \(left out 1 of 3 files: .*c\.mid\)\); add MIDI files"
    with pytest.raises(InputError, match=message):
        load(Config(data=str(tmp_path)))
    with pytest.raises(InputError, match=r"a folder of MIDI files, got .*a\.mid', which is neit"):
        load(Config(data=str(tmp_path / "a.mid")))
    write_pieces(tmp_path, ["d.mid"], pieces[2:3])
    assert list(map(len, read_folder(tmp_path, 0.5)[0])) == [1, 1, 1]


def test_a_corpus_wins_over_a_folder_of_its_name(tmp_path, monkeypatch, pieces):
    monkeypatch.chdir(tmp_path)
    write_pieces(tmp_path / "jsb", NAMES, pieces)
    with pytest.raises(InputError, match=r"no .*JSB_Chorales\.mat; get it from"):
        load(Config(data="jsb", data_dir=str(tmp_path)))
    assert load(Config(data="./jsb")).licence == "your own files"
