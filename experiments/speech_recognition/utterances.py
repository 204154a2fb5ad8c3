"""What a corpus is made of, and how some of it is held out."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.common.records import digest_of
from experiments.speech_recognition.audio import Signal


class Segment(NamedTuple):
    """Where a label is spoken, in samples; known only of what was joined from clips."""

    start: int
    stop: int
    label: str


class Utterance(NamedTuple):
    """One recording with its transcript."""

    name: str  # unique in its corpus
    speaker: str  # whose voice it is
    text: str  # the transcript, words one space apart
    wave: Signal  # float32 [N], at the corpus's rate
    segments: tuple[Segment, ...] = ()  # where each character is, where that is known


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Utterances to learn from, to choose by, and to report on."""

    name: str
    licence: str  # what its source says about use
    sample_rate: int  # in Hz
    train: Sequence[Utterance]
    valid: Sequence[Utterance]
    test: Sequence[Utterance]
    note: str  # how the parts were made

    @property
    def parts(self) -> tuple[Sequence[Utterance], ...]:
        """Return training, validation and test part."""
        return self.train, self.valid, self.test

    @property
    def digest(self) -> str:
        """Return a SHA-256 of all signals and texts, part by part."""
        said = [[(u.speaker, u.text, u.wave) for u in part] for part in self.parts]
        return digest_of((self.sample_rate, [len(part) for part in said], said))


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
    left = [utterance for utterance in utterances if group(utterance) not in drawn]
    return left, [utterance for utterance in utterances if group(utterance) in drawn]


def num_speakers(utterances: Sequence[Utterance]) -> int:
    """Return by how many people utterances are spoken."""
    return len({utterance.speaker for utterance in utterances})


def all_different(*parts: Sequence[Utterance]) -> str:
    """Return the note on training, validation and test part that share no speaker."""
    train, valid, test = map(num_speakers, parts)
    return f"{train} training, {valid} validation and {test} test speakers, all different"
