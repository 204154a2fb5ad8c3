"""The batch that each training step reads, as a pure function of the step.

An epoch reads every utterance once, at a speed drawn for it. Utterances of about one
length are put together, in an order that is drawn: sorted by length, with some noise so
that the batches are never the same, cut into batches, and these shuffled.

A batch is padded to the next of a few lengths, for every new shape is compiled anew.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.speech_recognition.alphabet import Labels
from experiments.speech_recognition.features import Frames
from experiments.speech_recognition.utterances import Utterance

_LENGTH_NOISE = 0.1  # sorting is by length times 1 ± this


@dataclasses.dataclass(frozen=True)
class Examples:
    """N utterances as a network reads them."""

    utterances: Sequence[Utterance]
    labels: Sequence[Labels]  # each int32 [L]
    copies: Sequence[Sequence[Frames]]  # for each speed, N normalised spectrograms [T, F]
    usable: NDArray[np.bool_]  # [speeds, N], whether a copy has enough steps for its labels
    speed_1: int = 0  # which of the copies is at speed 1

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def texts(self) -> list[str]:
        """Return the references."""
        return [utterance.text for utterance in self.utterances]

    @property
    def as_spoken(self) -> Sequence[Frames]:
        """Return the copies at speed 1."""
        return self.copies[self.speed_1]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Return the frames of each copy, `[speeds, N]`."""
        return np.array([[len(frames) for frames in copy] for copy in self.copies])


class Batch(NamedTuple):
    """What one step reads; padding is 0."""

    frames: Frames  # float32 [T, B, F]
    num_frames: NDArray[np.int32]  # [B]
    labels: Labels  # int32 [B, N]
    num_labels: NDArray[np.int32]  # [B]


def pad(
    frames: Sequence[Frames], labels: Sequence[Labels], padded: Sequence[int], num_labels: int
) -> Batch:
    """Put utterances side by side.

    Args:
      frames: B of `[T, F]`.
      labels: B of `[N]`.
      padded: lengths to choose from; the smallest that the longest utterance fits in.
      num_labels: what labels are padded to.
    """
    longest = max(len(x) for x in frames)
    size = min(length for length in padded if length >= longest)
    batch = Batch(
        frames=np.zeros((size, len(frames), frames[0].shape[-1]), np.float32),
        num_frames=np.array([len(x) for x in frames], np.int32),
        labels=np.zeros((len(frames), num_labels), np.int32),
        num_labels=np.array([len(y) for y in labels], np.int32),
    )
    for row, (x, y) in enumerate(zip(frames, labels, strict=True)):
        batch.frames[: len(x), row] = x
        batch.labels[row, : len(y)] = y
    return batch


def batches_per_epoch(examples: Examples, batch_size: int) -> int:
    """Return how many batches read every utterance; drawn ones fill the last."""
    return -(-len(examples) // batch_size)


def batch_at(
    examples: Examples, step: int, padded: Sequence[int], batch_size: int, seed: int
) -> Batch:
    """Return the batch of a step.

    Args:
      examples: what to read.
      step: counted from 0.
      padded: the lengths to pad to; the last is that of the longest copy or more.
      batch_size: B, the same for all.
      seed: of order and speeds.
    """
    per_epoch = batches_per_epoch(examples, batch_size)
    epoch, place = divmod(step, per_epoch)
    rng, usable = np.random.default_rng((seed, epoch)), examples.usable
    # The largest of random numbers, over those that may be: an even draw.
    speeds = np.where(usable, rng.random(usable.shape), -1.0).argmax(axis=0)
    count = len(examples)
    missing = per_epoch * batch_size - count
    drawn = np.concatenate([np.arange(count), rng.integers(count, size=missing)])
    noise = rng.uniform(1.0 - _LENGTH_NOISE, 1.0 + _LENGTH_NOISE, len(drawn))
    order = drawn[np.argsort(examples.lengths[speeds[drawn], drawn] * noise, kind="stable")]
    chosen = rng.permutation(order.reshape(per_epoch, batch_size))[place]
    return pad(
        [examples.copies[speeds[i]][i] for i in chosen],
        [examples.labels[i] for i in chosen],
        padded,
        max(len(labels) for labels in examples.labels),
    )


def in_order_of_length(
    frames: Sequence[Frames], padded: Sequence[int], batch_size: int
) -> Iterator[tuple[list[int], Batch]]:
    """Yield all utterances, the short ones first: whose rows these are, and the batch.

    The frames are N of `[T, F]`, the lengths to pad to are chosen from `padded`. The last batch
    is filled with rows of no frames, so that it has the others' shape, B rows.
    """
    order = sorted(range(len(frames)), key=lambda i: len(frames[i]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        xs = [frames[i] for i in rows]
        xs += [xs[0][:0]] * (batch_size - len(rows))
        yield rows, pad(xs, [np.zeros(0, np.int32)] * len(xs), padded, 0)
