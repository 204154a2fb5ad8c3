"""A user's own recordings, read from a folder and split; its form is in recordings.py.

Every recording becomes mono at 16 kHz, the rate of AN4; what that changes is said in one
line for each kind of change. Transcripts are normalised as AN4's are, by
`alphabet.normalize_transcript`. All is held in memory, about 0.35 GB an hour.

Left out, counted and named in one line: recordings without a transcript, or with one in
which nothing is left to say; files that cannot be read, are empty or silent; recordings
too short for their transcripts (CTC needs a step a label and one between two equal ones)
or longer than a minute, to which a whole batch would be padded; and what is there twice,
in another format or with sample for sample the sound of another recording, for else it
could be both trained on and tested with.

Test and validation part are about a tenth of the utterances each. Where nobody has said
more than a quarter of them all, so that there are four speakers or more, whole speakers
are held out until there are enough, and the three parts have none in common. Else single
utterances are. The test part is the same for every seed, as an official one would be;
the validation part is drawn by the seed, as AN4's is.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.common.errors import InputError
from experiments.common.left_out import LeftOut
from experiments.speech_recognition.alphabet import Alphabet, normalize_transcript, steps_needed
from experiments.speech_recognition.audio import TooLongError, read_audio
from experiments.speech_recognition.features import LogMel
from experiments.speech_recognition.recordings import METADATA, Recording, find_recordings
from experiments.speech_recognition.utterances import (
    Corpus,
    Utterance,
    all_different,
    num_speakers,
    part_off,
)

SAMPLE_RATE = 16_000
LONGEST_S = 60
FEWEST = 10  # a tenth of which is one
# More of one speaker, held out by chance, would leave too little to train on.
LARGEST_SHARE = 1 / 4
_TEST_SEED = 0


def load(folder: str, seed: int, stack: int, note: Callable[[str], None] = print) -> Corpus:
    """Return the recordings of a folder in three parts.

    Args:
      folder: its path.
      seed: draws the validation part.
      stack: frames of 10 ms a step, by which a recording is too short or not.
      note: is given a line for each kind of change to recordings, and one on what is
        left out.

    Raises:
      InputError: no such folder, a malformed metadata.csv, or fewer than `FEWEST`
        recordings that can be used.
    """
    left_out = LeftOut()
    utterances = _read(find_recordings(Path(folder), left_out), stack, left_out, note)
    if left_out:
        total = len(utterances) + len(left_out)
        note(f"{folder}: {len(left_out)} of {total} recordings left out: {left_out}")
    if len(utterances) < FEWEST:
        reasons = f" (left out: {left_out})" if left_out else ""
        raise InputError(
            f"own: {folder} has {len(utterances)} recordings that can be used{reasons}, and "
            f"training, validation and test part need {FEWEST} between them; add more, "
            f"each with NAME.txt beside it or a line in {METADATA}"
        )
    return split(Path(folder).name or "own", utterances, seed)


def _read(
    found: Sequence[Recording], stack: int, left_out: LeftOut, note: Callable[[str], None]
) -> list[Utterance]:
    """Return the recordings that can be used."""
    utterances, changes, heard = [], Counter[str](), set[bytes]()
    for recording in found:
        notes: list[str] = []
        text = normalize_transcript(recording.transcript)
        if not text:
            left_out.add("with an empty transcript", recording.name)
            continue
        try:
            wave = read_audio(recording.path, SAMPLE_RATE, notes.append, longest=LONGEST_S)
        except TooLongError:
            left_out.add(f"longer than {LONGEST_S} s, to be cut at pauses", recording.name)
            continue
        except InputError as error:
            left_out.add("unreadable, empty or silent", str(error).removeprefix("read_audio: "))
            continue
        sound = hashlib.sha256(wave.tobytes()).digest()
        steps = -(-LogMel(SAMPLE_RATE).num_frames(len(wave)) // stack)
        if steps < steps_needed(Alphabet.of_texts([text]).encode(text)):
            left_out.add(f"too short for their transcripts at --stack {stack}", recording.name)
        elif sound in heard:
            left_out.add("with the sound of another", recording.name)
        else:
            heard.add(sound)
            utterances.append(Utterance(recording.name, recording.speaker, text, wave))
            changes.update(line.removeprefix(f"{recording.path}: ") for line in notes)
    for change, count in changes.items():
        note(f"{count} of {len(utterances)} recordings: {change}")
    return utterances


def split(name: str, utterances: Sequence[Utterance], seed: int) -> Corpus:
    """Hold out test part and, drawn by `seed`, validation part of at least `FEWEST` utterances."""
    count = len(utterances) // 10
    most = max(Counter(utterance.speaker for utterance in utterances).values())
    by_speaker = most <= LARGEST_SHARE * len(utterances)

    def group(utterance: Utterance) -> str:
        return utterance.speaker if by_speaker else utterance.name

    rest, test = part_off(utterances, count, _TEST_SEED, group)
    train, valid = part_off(rest, count, seed, group)
    voices = num_speakers(utterances)
    note = f"held out by utterance, not by speaker ({voices} in all): no measure of a new voice"
    if by_speaker:
        note = all_different(train, valid, test)
    return Corpus(name, "your own recordings", SAMPLE_RATE, train, valid, test, note)
