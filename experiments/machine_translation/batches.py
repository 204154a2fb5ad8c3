"""Ragged pairs in batches of few shapes, as a pure function of the step.

Pairs are put into buckets by the longer of their two sides. All batches of a bucket have
the same shape, so that each bucket is compiled once; its bound is the longest pair in
it. The bounds are those that leave the least padding of all. An epoch visits every pair
once, in an order drawn from the seed and the epoch; the last batch of a bucket is filled
up with rows of length 0, which have no part in the loss.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.padding import best_bounds
from experiments.machine_translation.subwords import END, PAD, START, Encoded, Ids


class Batch(NamedTuple):
    """What one step reads, int32, padded with PAD: NumPy's arrays, or traced ones."""

    source: Any  # [S, B]
    source_lengths: Any  # [B]
    target: Any  # [T, B], START and the tokens
    labels: Any  # [T, B], the tokens and END: at each step what follows
    target_lengths: Any  # [B], labels that count

    @property
    def is_real(self) -> Any:
        """Tell which labels count, bool `[T, B]`."""
        return np.arange(self.labels.shape[0])[:, None] < self.target_lengths


class Bucket(NamedTuple):
    """Pairs that are padded to one shape."""

    rows: NDArray[np.intp]  # which pairs
    source_length: int  # S
    target_length: int  # T, with END


@dataclasses.dataclass(frozen=True, eq=False)
class Batches:
    """The pairs of a split in batches of few shapes."""

    pairs: Encoded
    buckets: list[Bucket]
    size: int  # B

    @property
    def per_epoch(self) -> int:
        """Return how many steps visit every pair once."""
        return sum(-(-len(bucket.rows) // self.size) for bucket in self.buckets)

    def in_order(self) -> Iterator[Batch]:
        """Yield batches that have every pair once, the shortest first."""
        for bucket in self.buckets:
            for batch in self.cut(bucket):
                yield pack(self.pairs, batch, self.size)

    def cut(self, bucket: Bucket) -> list[Bucket]:
        """Return a bucket's batches, each as one of its own."""
        starts = range(0, len(bucket.rows), self.size)
        return [bucket._replace(rows=bucket.rows[i : i + self.size]) for i in starts]


def batch_at(split: Batches, step: int, seed: int) -> Batch:
    """Return what a step, counted from 0, reads: a function of step and seed alone."""
    epoch, place = divmod(step, split.per_epoch)
    return pack(split.pairs, _drawn(split, epoch, seed)[place], split.size)


@lru_cache(maxsize=2)  # to draw takes 5 ms for Multi30k
def _drawn(split: Batches, epoch: int, seed: int) -> list[Bucket]:
    """Return an epoch's batches as they are read."""
    rng = np.random.default_rng((seed, epoch))
    shuffled = [bucket._replace(rows=rng.permutation(bucket.rows)) for bucket in split.buckets]
    cut = [batch for bucket in shuffled for batch in split.cut(bucket)]
    return [cut[i] for i in rng.permutation(len(cut))]


def make_batches(pairs: Encoded, number: int, batch_size: int) -> Batches:
    """Sort pairs, at least one, into at most `number` buckets of the least padding.

    The shortest come first. `batch_size` is B; the rows that fill up a last batch are padding, too.
    """
    sources = np.array([len(ids) for ids in pairs.sources])
    targets = np.array([len(ids) + 1 for ids in pairs.targets])
    longest = np.maximum(sources, targets)
    bounds = best_bounds(longest, number, batch_size)
    of_pair = np.searchsorted(bounds, longest)
    rows = [np.flatnonzero(of_pair == i) for i in range(len(bounds))]
    buckets = [Bucket(r, int(sources[r].max()), int(targets[r].max())) for r in rows]
    return Batches(pairs, buckets, batch_size)


def pack(pairs: Encoded, bucket: Bucket, size: int) -> Batch:
    """Lay the pairs of a bucket, at most `size`, B, side by side; rows of length 0 fill up."""
    rows = bucket.rows
    missing = [np.zeros(0, np.int32)] * (size - len(rows))
    sources, targets = ([side[i] for i in rows] + missing for side in pairs)
    lengths = np.array([len(ids) + 1 for ids in targets], np.int32)
    lengths[len(rows) :] = 0
    return Batch(
        source=pad(sources, bucket.source_length),
        source_lengths=np.array([len(ids) for ids in sources], np.int32),
        target=pad([np.concatenate([[START], ids]) for ids in targets], bucket.target_length),
        labels=pad([np.concatenate([ids, [END]]) for ids in targets], bucket.target_length),
        target_lengths=lengths,
    )


def pad(rows: Sequence[NDArray[np.integer]], length: int) -> Ids:
    """Return rows of ids as int32 `[length, B]`, with PAD behind each."""
    padded = np.full((length, len(rows)), PAD, np.int32)
    for i, ids in enumerate(rows):
        padded[: len(ids), i] = ids
    return padded
