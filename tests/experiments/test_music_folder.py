"""The user's own music: what a folder's files become, and a run on them from end to end."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.common.errors import InputError
from experiments.common.records import read_json
from experiments.common.settings import as_stored, differing_fields
from experiments.music_generation import __main__ as cli
from experiments.music_generation.config import Config
from experiments.music_generation.data import load_corpus
from experiments.music_generation.folder import read_folder
from experiments.music_generation.midi import read_midi, write_midi
from experiments.music_generation.report import describe
from experiments.music_generation.train import train
from tests.experiments.test_music_data import random_pieces
from tests.experiments.test_music_midi import add_tempos, user_file
from tests.experiments.test_music_train import TINY, bits, shares_a_run

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
    corpus = load_corpus(str(folder))
    splits = (corpus.train, corpus.valid, corpus.test)
    assert tuple(map(len, splits)) == (6, 1, 1)
    assert contents(roll for split in splits for roll in split) == contents(pieces)
    assert (corpus.frame_beats, corpus.notes) == (0.5, ())
    assert describe(corpus).endswith("notes; licence: your own files")


def test_the_splits_are_of_the_notes_and_not_of_the_names(folder, pieces, tmp_path):
    renamed = write_pieces(tmp_path / "again", [f"{i}.mid" for i in range(8)], pieces[::-1])
    assert load_corpus(str(renamed)).digest == load_corpus(str(folder)).digest
    more = write_pieces(tmp_path / "more", [f"{i}.mid" for i in range(30)], random_pieces([9] * 30))
    assert [len(split) for split in read_folder(more, 0.5)[:3]] == [24, 3, 3]


def test_what_is_left_out_is_told_in_a_line(folder, pieces):
    for i in range(4):
        shutil.copy(folder / "a.mid", folder / "deep" / f"copy {i}.mid")
    (folder / "damaged.mid").write_bytes((folder / "a.mid").read_bytes()[:40])
    user_file(folder / "drums.mid", [(36, 0.0, 8.0, 9)])
    write_midi(folder / "short.mid", pieces[0][:7], 0.5)
    partly = [(60, 0.0, 4.0, 0), (36, 0.0, 4.0, 9), (110, 0.0, 1.0, 0)]
    user_file(folder / "partly.mid", partly)
    corpus = load_corpus(str(folder))
    splits = (corpus.train, corpus.valid, corpus.test)
    rolls = [roll for split in splits for roll in split]
    assert len(rolls) == len(contents(rolls)) == 9  # no piece twice, in whatever split
    assert contents(rolls) == contents([*pieces, read_midi(folder / "partly.mid", 0.5).roll])
    assert corpus.notes == (
        "left out 7 of 16 files: 2 that cannot be read or have no notes (damaged.mid, for one); "
        "4 with the notes of another file (deep/copy 0.mid, for one); "
        "1 shorter than 8 frames (short.mid)",
        "not all notes are read of 1 pieces: drums, keys outside of the piano's 88 or notes "
        "between the frames are left out",
    )
    assert describe(corpus).endswith("\n".join(corpus.notes))


def test_a_tempo_is_no_note_that_is_left_out(folder):
    """A roll knows no tempo, so of these pieces all is learned from."""
    path = user_file(folder / "slower.mid", [(60, 0.0, 8.0, 0)])
    before = load_corpus(str(folder))
    add_tempos(path, [(0, 300_000), (3, 400_000)])
    assert read_midi(path, 0.5).left_out
    corpus = load_corpus(str(folder))
    assert (corpus.notes, corpus.digest) == ((), before.digest)


def test_folders_that_cannot_be_learned_from(tmp_path, pieces):
    with pytest.raises(InputError, match=r"no \.mid or \.midi file in .*; 3 are the least"):
        load_corpus(str(tmp_path))
    write_pieces(tmp_path, ("a.mid", "b.mid", "c.mid"), [pieces[0], pieces[1], pieces[0]])
    message = r"expected 3 or more, got 2 \(left out 1 of 3 files: .*c\.mid\)\); add MIDI files"
    with pytest.raises(InputError, match=message):
        load_corpus(str(tmp_path))
    with pytest.raises(InputError, match=r"a folder of MIDI files, got .*a\.mid', which is neit"):
        load_corpus(str(tmp_path / "a.mid"))
    write_pieces(tmp_path, ["d.mid"], pieces[2:3])
    assert [len(split) for split in read_folder(tmp_path, 0.5)[:3]] == [1, 1, 1]


def test_a_corpus_wins_over_a_folder_of_its_name(tmp_path, monkeypatch, pieces):
    monkeypatch.chdir(tmp_path)
    write_pieces(tmp_path / "chorales", NAMES, pieces)
    assert load_corpus("chorales").licence == "generated"
    assert load_corpus("./chorales").licence == "your own files"


def test_no_name_at_all_is_refused():
    with pytest.raises(InputError, match="--data must be a corpus's name or a folder"):
        Config(data="")


@shares_a_run
def test_a_run_on_own_music(folder, tmp_path, monkeypatch, capsys):
    """Train, go on, and compose, the last from elsewhere and without the folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"error: .*'no music', which is neither"):
        cli.main(["--data", "no music", "--workdir", "none"])
    tiny = dataclasses.replace(TINY, data=folder.name)
    names = differing_fields(tiny, as_stored(Config()), ())
    options = [f"--{name.replace('_', '-')}={getattr(tiny, name)}" for name in names]
    cli.main([*options, "--workdir", "run"])
    out = capsys.readouterr().out
    assert f"reading 8 MIDI files in {folder}" in out
    assert "Markov chain a note" in out
    assert "Bai et al." not in out
    result = read_json(tmp_path / "run" / "result.json")
    assert (result["data"], result["test_oracle_nll"]) == (str(folder), None)
    assert result["test_frames"] == len(load_corpus(str(folder)).test[0]) - 1
    assert np.isfinite([result["test_nll"], *result["test_baselines"].values()]).all()

    whole = bits(Path("run"), 8, tiny)
    for step in (6, 8):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / f"{step:08d}")
    cli.main(["--resume", "--workdir", "run", "--data", "own music"])
    assert bits(Path("run"), 8, tiny) == whole

    write_pieces(folder, ["new.mid"], random_pieces([20], seed=1))
    with pytest.raises(InputError, match="data are not those"):
        train(tiny, "run", resume=True)
    seed = folder.rename(tmp_path / "gone") / "a.mid"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    options = ["--workdir", str(tmp_path / "run"), "--output", "more.mid"]
    cli.main(["--generate", *options, "--seed-midi", str(seed)])
    assert "12 frames given and 6 composed" in capsys.readouterr().out
    read = read_midi(elsewhere / "more.mid", 0.5).roll
    np.testing.assert_array_equal(read[:12], read_midi(seed, 0.5).roll)
    with pytest.raises(SystemExit, match="own music', which is neither"):
        cli.main(["--resume", "--workdir", str(tmp_path / "run")])
