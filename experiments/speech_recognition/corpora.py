"""The recorded corpora, downloaded and checked file by file.

AN4, or Census: people spelling names and addresses, saying numbers and dates. 948
utterances of 74 speakers to train on, 130 of 10 others to test on; 16 kHz, recorded at
Carnegie Mellon University in 1991. Transcripts are capital letters and spaces; a spelled
word is its letters one space apart: "P I T T S B U R G H". There is no official validation
part: 100 utterances of some of the training speakers are held out. Test and validation
speakers are never trained on.

FSDD, the Free Spoken Digit Dataset: 3,000 clips of 6 speakers, 10 digits, 50 takes each,
8 kHz, joined to strings of 3 to 7 digits. The official test clips are takes 0 to 4; takes 5
to 9 are for validation here. The same six speakers are in every part, so a result says
nothing about a new voice. Every test clip is in exactly one test string, every training
clip in one string a round.
"""

import re
from pathlib import Path

import numpy as np

from experiments.common.manifests import fetch_all, read_manifest
from experiments.speech_recognition import digits
from experiments.speech_recognition.audio import read_audio
from experiments.speech_recognition.digits import Clip, join_clips
from experiments.speech_recognition.utterances import Corpus, Utterance, all_different, part_off

_AN4_RATE, _NUM_HELD_OUT = 16_000, 100
# In training transcripts only: <s> ... </s> around the words. The name ends every line.
_LINE = re.compile(r"(?:<s> )?(?P<text>.*?)(?: </s>)? \((?P<name>[^()]+)\)")
# Next to nothing: it only fills the pauses, which would else be digital silence.
_NOISE_DB = (40.0, 50.0)


def an4(data_dir: str | None, seed: int) -> Corpus:
    """Return AN4; `seed` draws the speakers that are held out.

    What they say beyond 100 utterances is left out, so that no speaker is in two parts.

    Raises:
      InputError: a file is missing or damaged.
    """
    commit, licence = "b567d132f43304e70a2b2eca6077f22255311812", "BSD-style, any purpose"
    file_of = _files("an4", "cmusphinx/an4", commit, licence, data_dir)
    rest, test = (_an4_part(file_of, part) for part in ("train", "test"))
    train, held = part_off(rest, _NUM_HELD_OUT, seed, lambda utterance: utterance.speaker)
    valid = held[:_NUM_HELD_OUT]
    note = all_different(train, valid, test)
    return Corpus("an4", licence, _AN4_RATE, train, valid, test, note)


def _an4_part(file_of: dict[str, Path], part: str) -> list[Utterance]:
    """Read the official training or test part."""
    names, lines = (
        file_of[f"etc/an4_{part}.{kind}"].read_text(encoding="ascii").splitlines()
        for kind in ("fileids", "transcription")
    )
    utterances = []
    for name, line in zip(names, lines, strict=True):
        # A name is folder/speaker/utterance, and the line repeats the last.
        speaker, utterance = name.split("/")[1:]
        found, text = parse_line(line)
        if found != utterance:
            raise ValueError(f"an4: the transcript of {found} stands at {utterance}")
        wave = read_audio(file_of[f"wav/{name}.wav"], _AN4_RATE)
        utterances.append(Utterance(utterance, speaker, text, wave))
    return utterances


def parse_line(line: str) -> tuple[str, str]:
    """Return name and text of a line of AN4's transcription files."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError(f"parse_line: not a line of AN4's transcriptions: {line!r}")
    return match["name"], match["text"]


def fsdd(data_dir: str | None, seed: int) -> Corpus:
    """Return FSDD's strings; `seed` draws which clips make one.

    Raises:
      InputError: a file is missing or damaged.
    """
    commit, licence = "26eb9aaf76e81b692f806f9140c2d2777410d7a1", "CC BY-SA 4.0"
    repository = "Jakobovski/free-spoken-digit-dataset"
    clips: dict[str, list[Clip]] = {part: [] for part in digits.ROUNDS}
    for path in _files("fsdd", repository, commit, licence, data_dir).values():
        digit, speaker, take = path.stem.split("_")
        wave = read_audio(path, digits.SAMPLE_RATE)
        clips[part_of(int(take))].append(Clip(digit, speaker, wave))
    rng, note = np.random.default_rng(seed), "the same 6 speakers in every part, other takes"
    train, valid, test = (join_clips(clips[part], part, _NOISE_DB, rng) for part in clips)
    return Corpus("fsdd", licence, digits.SAMPLE_RATE, train, valid, test, note)


def part_of(take: int) -> str:
    """Return which part a take of FSDD belongs to."""
    return "test" if take < 5 else "valid" if take < 10 else "train"


def _files(
    name: str, repository: str, commit: str, licence: str, data_dir: str | None
) -> dict[str, Path]:
    """Return the checked files of a corpus by their path in its repository."""
    manifest = Path(__file__).with_name(f"{name}.sha256")
    sources = read_manifest(
        manifest, name=name, repository=repository, commit=commit, licence=licence
    )
    return dict(zip([x.path for x in sources], fetch_all(sources, data_dir), strict=True))
