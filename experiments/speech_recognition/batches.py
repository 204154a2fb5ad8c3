"""The batch that each training step reads, as a pure function of the step.

An epoch reads every utterance once, at a speed drawn for it. Utterances of about one
length are put together, in an order that is drawn: sorted by length, with some noise so
that the batches are never the same, cut into batches, and these shuffled.

A batch is padded to the next of a few lengths, for every new shape is compiled anew.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.speech_recognition.alphabet import Labels
from experiments.speech_recognition.data import Examples
from experiments.speech_recognition.features import Frames

# Sorting is by length times 1 ± this.
_LENGTH_NOISE = 0.1


class Batch(NamedTuple):
    """What one step reads; padding is 0."""

    frames: Frames  # float32 [T, B, F]
    num_frames: NDArray[np.int32]  # [B]
    labels: Labels  # int32 [B, N]
    num_labels: NDArray[np.int32]  # [B]


def choose_lengths(lengths: NDArray[np.integer], count: int, multiple: int) -> tuple[int, ...]:
    """Return the lengths to pad to that leave the least padding, by dynamic programming.

    Args:
      lengths: of all utterances.
      count: how many lengths to choose, at most; the longest one is among them.
      multiple: what they are multiples of.
    """
    rounded = -(-np.ravel(lengths) // multiple) * multiple
    values, counts = np.unique(rounded, return_counts=True)
    # The frames of a batch whose length ends at values[j], of utterances from i on.
    below = np.concatenate([[0], np.cumsum(counts)])
    waste = np.triu((below[None, 1:] - below[:-1, None]) * values).astype(float)
    waste[np.tril_indices(len(values), -1)] = np.inf
    best, choices = waste[0], []
    for _ in range(min(count, len(values)) - 1):
        # total[i, j]: the best of all before i, and the rest up to j at one length.
        total = np.concatenate([[np.inf], best[:-1]])[:, None] + waste
        choices.append(total.argmin(axis=0))
        best = total.min(axis=0)
    last = len(values) - 1
    chosen = [int(values[last])]
    for choice in reversed(choices):
        last = choice[last] - 1
        chosen.append(int(values[last]))
    return tuple(reversed(chosen))


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


class Batches:
    """The training batches of a run.

    Attributes:
      per_epoch: how many there are in an epoch.
    """

    def __init__(
        self, examples: Examples, padded: Sequence[int], batch_size: int, seed: int
    ) -> None:
        """Prepare to give batches.

        Args:
          examples: what to read.
          padded: the lengths to pad to; the last is that of the longest copy or more.
          batch_size: B, the same for all; utterances drawn at random fill the last one.
          seed: of order and speeds.
        """
        self._examples, self._padded = examples, tuple(padded)
        self._batch_size, self._seed = batch_size, seed
        self._num_labels = max(len(y) for y in examples.labels)
        self._lengths = examples.lengths
        self.per_epoch = -(-len(examples) // batch_size)
        self._plan = lru_cache(maxsize=2)(self._draw_plan)

    def at(self, step: int) -> Batch:
        """Return the batch of step `step`, counted from 0."""
        epoch, place = divmod(step, self.per_epoch)
        speeds, rows = self._plan(epoch)
        chosen = rows[place]
        examples = self._examples
        return pad(
            [examples.copies[speeds[i]][i] for i in chosen],
            [examples.labels[i] for i in chosen],
            self._padded,
            self._num_labels,
        )

    def _draw_plan(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the speed of each utterance `[N]` and those of each batch `[steps, B]`."""
        rng = np.random.default_rng((self._seed, epoch))
        usable = self._examples.usable
        # The largest of random numbers, over those that may be: an even draw.
        speeds = np.where(usable, rng.random(usable.shape), -1.0).argmax(axis=0)
        count = len(self._examples)
        missing = self.per_epoch * self._batch_size - count
        drawn = np.concatenate([np.arange(count), rng.integers(count, size=missing)])
        noise = rng.uniform(1.0 - _LENGTH_NOISE, 1.0 + _LENGTH_NOISE, len(drawn))
        order = drawn[np.argsort(self._lengths[speeds[drawn], drawn] * noise, kind="stable")]
        rows = order.reshape(self.per_epoch, self._batch_size)
        return speeds, rng.permutation(rows)


def in_order_of_length(
    frames: Sequence[Frames], padded: Sequence[int], batch_size: int
) -> Iterator[tuple[list[int], Batch]]:
    """Yield all utterances, the short ones first: whose rows these are, and the batch.

    The last batch is filled with rows of no frames, so that it has the others' shape.

    Args:
      frames: N of `[T, F]`.
      padded: lengths to choose from.
      batch_size: B.
    """
    order = sorted(range(len(frames)), key=lambda i: len(frames[i]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        xs = [frames[i] for i in rows]
        xs += [xs[0][:0]] * (batch_size - len(rows))
        yield rows, pad(xs, [np.zeros(0, np.int32)] * len(xs), padded, 0)
