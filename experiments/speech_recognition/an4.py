"""AN4, or Census: people spelling names and addresses, saying numbers and dates.

948 utterances of 74 speakers to train on, 130 of 10 others to test on; 16 kHz, recorded
at Carnegie Mellon University in 1991. Transcripts are capital letters and spaces; a
spelled word is its letters one space apart: "P I T T S B U R G H".

There is no official validation part: 100 utterances of some of the training speakers
are held out. Test and validation speakers are never trained on.
"""

import re
from pathlib import Path

from experiments.common.manifests import fetch_all, read_manifest
from experiments.speech_recognition.audio import read_audio
from experiments.speech_recognition.utterances import Splits, Utterance, all_different, hold_out

SAMPLE_RATE = 16_000
LICENCE = "BSD-style, any purpose"
NUM_HELD_OUT = 100

# In training transcripts only: <s> ... </s> around the words. The name ends every line.
_LINE = re.compile(r"(?:<s> )?(?P<text>.*?)(?: </s>)? \((?P<name>[^()]+)\)")


def load(data_dir: str | None, seed: int) -> Splits:
    """Return the corpus; `seed` draws the speakers that are held out.

    Raises:
      InputError: a file is missing or damaged.
    """
    sources = read_manifest(
        Path(__file__).with_name("an4.sha256"),
        name="an4",
        repository="cmusphinx/an4",
        commit="b567d132f43304e70a2b2eca6077f22255311812",
        licence=LICENCE,
    )
    paths = fetch_all(sources, data_dir)
    file_of = {source.path: path for source, path in zip(sources, paths, strict=True)}
    train, valid = hold_out(_read(file_of, "train"), NUM_HELD_OUT, seed)
    test = _read(file_of, "test")
    return Splits(tuple(train), tuple(valid), tuple(test), all_different(train, valid, test))


def parse_line(line: str) -> tuple[str, str]:
    """Return name and text of a line of a transcription file."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError(f"parse_line: not a line of AN4's transcriptions: {line!r}")
    return match["name"], match["text"]


def _read(file_of: dict[str, Path], part: str) -> list[Utterance]:
    """Read the official training or test part."""
    names = file_of[f"etc/an4_{part}.fileids"].read_text(encoding="ascii").split()
    lines = file_of[f"etc/an4_{part}.transcription"].read_text(encoding="ascii").splitlines()
    utterances = []
    for name, line in zip(names, lines, strict=True):
        # A name is folder/speaker/utterance, and the line repeats the last.
        speaker, utterance = name.split("/")[1:]
        found, text = parse_line(line)
        if found != utterance:
            raise ValueError(f"an4: the transcript of {found} stands at {utterance}")
        wave = read_audio(file_of[f"wav/{name}.wav"], SAMPLE_RATE)
        utterances.append(Utterance(utterance, speaker, text, wave))
    return utterances
