"""What a corpus is made of, and how some of it is held out."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
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
    train, held = part_off(utterances, count, seed, lambda utterance: utterance.speaker)
    if not train or len(held) < count:
        raise InputError(
            f"hold_out: {count} utterances of whole speakers leave none to train on, of "
            f"{len(utterances)} by {num_speakers(utterances)} speakers; hold out fewer"
        )
    return train, held[:count]


def part_off(
    utterances: Sequence[Utterance], count: int, seed: int, group: Callable[[Utterance], str]
) -> tuple[list[Utterance], list[Utterance]]:
    """Part off whole groups, drawn one by one until they have `count` utterances.

    Args:
      utterances: of all groups.
      count: how many to part off at least, as far as there are so many.
      seed: of the draw.
      group: tells which group an utterance belongs to: its speaker's, for one.

    Returns:
      What is left, and what was parted off, in their order.
    """
    sizes = Counter(group(utterance) for utterance in utterances)
    groups, drawn = sorted(sizes), set[str]()
    for i in np.random.default_rng(seed).permutation(len(groups)):
        drawn.add(groups[i])
        if sum(sizes[name] for name in drawn) >= count:
            break
    left, parted = [], []
    for utterance in utterances:
        (parted if group(utterance) in drawn else left).append(utterance)
    return left, parted


def num_speakers(utterances: Sequence[Utterance]) -> int:
    """Return by how many people utterances are spoken."""
    return len({utterance.speaker for utterance in utterances})


def all_different(
    train: Sequence[Utterance], valid: Sequence[Utterance], test: Sequence[Utterance]
) -> str:
    """Return the note on parts that have no speaker in common."""
    return (
        f"{num_speakers(train)} training, {num_speakers(valid)} validation and "
        f"{num_speakers(test)} test speakers, all different"
    )
