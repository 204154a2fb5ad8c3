"""What a corpus is made of, and how some of it is held out."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.common.errors import InputError
from experiments.speech_recognition.audio import Signal


class Segment(NamedTuple):
    """Where a label is spoken, in samples; known only of what was joined from clips."""

    start: int
    stop: int
    label: str


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One recording with its transcript.

    Attributes:
      name: unique in its corpus.
      speaker: whose voice it is.
      text: the transcript, words one space apart.
      wave: float32 `[N]`, at the corpus's rate.
      segments: where each character is, where that is known.
    """

    name: str
    speaker: str
    text: str
    wave: Signal
    segments: tuple[Segment, ...] = ()


class Splits(NamedTuple):
    """Utterances to learn from, to choose by, and to report on."""

    train: tuple[Utterance, ...]
    valid: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    note: str  # how they were made


def hold_out(
    utterances: Sequence[Utterance], count: int, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Hold out `count` utterances of speakers that are then not trained on.

    Speakers are drawn one by one until they have `count` utterances between them. What
    they have beyond that is left out of both parts, so that no speaker is in both.

    Args:
      utterances: the official training part.
      count: how many to hold out, >= 1.
      seed: of the draw.

    Returns:
      What is left to train on, and what was held out, in their order.

    Raises:
      InputError: nothing would be left to train on.
    """
    speakers = sorted({utterance.speaker for utterance in utterances})
    drawn: set[str] = set()
    held: list[Utterance] = []
    for i in np.random.default_rng(seed).permutation(len(speakers)):
        drawn.add(speakers[i])
        held = [utterance for utterance in utterances if utterance.speaker in drawn]
        if len(held) >= count:
            break
    train = [utterance for utterance in utterances if utterance.speaker not in drawn]
    if not train or len(held) < count:
        raise InputError(
            f"hold_out: {count} utterances of whole speakers leave none to train on, of "
            f"{len(utterances)} by {len(speakers)} speakers; hold out fewer"
        )
    return train, held[:count]
