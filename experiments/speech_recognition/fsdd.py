"""The Free Spoken Digit Dataset, its clips joined to strings of 3 to 7 digits.

3,000 clips: 6 speakers, 10 digits, 50 takes each, 8 kHz. The official test clips are
takes 0 to 4; takes 5 to 9 are for validation here. The same six speakers are in every
part, so a result says nothing about a new voice.

Every test clip is in exactly one test string, every training clip in one string a round.
"""

from pathlib import Path

import numpy as np

from experiments.common.manifests import fetch_all, read_manifest
from experiments.speech_recognition.audio import read_audio
from experiments.speech_recognition.digits import SAMPLE_RATE, Clip, Noise, join_clips
from experiments.speech_recognition.utterances import Splits

LICENCE = "CC BY-SA 4.0"
TEST_TAKES, VALID_TAKES = range(5), range(5, 10)
ROUNDS = 2
# Next to nothing: it only fills the pauses, which would else be digital silence.
NOISE = Noise(40.0, 50.0)


def load(data_dir: str | None, seed: int) -> Splits:
    """Return the corpus; `seed` draws which clips make a string.

    Raises:
      InputError: a file is missing or damaged.
    """
    sources = read_manifest(
        Path(__file__).with_name("fsdd.sha256"),
        name="fsdd",
        repository="Jakobovski/free-spoken-digit-dataset",
        commit="26eb9aaf76e81b692f806f9140c2d2777410d7a1",
        licence=LICENCE,
    )
    clips: dict[str, list[Clip]] = {"train": [], "valid": [], "test": []}
    for path in fetch_all(sources, data_dir):
        digit, speaker, take = path.stem.split("_")
        clips[part_of(int(take))].append(Clip(digit, speaker, read_audio(path, SAMPLE_RATE)))
    rng = np.random.default_rng(seed)
    train, valid, test = (
        tuple(join_clips(clips[part], ROUNDS if part == "train" else 1, NOISE, rng, part))
        for part in ("train", "valid", "test")
    )
    return Splits(train, valid, test, "the same 6 speakers in every part, other takes")


def part_of(take: int) -> str:
    """Return which part a take belongs to."""
    if take in TEST_TAKES:
        return "test"
    return "valid" if take in VALID_TAKES else "train"
