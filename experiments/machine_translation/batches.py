"""Ragged pairs in batches of few shapes, as a pure function of the step.

Pairs are put into buckets by the longer of their two sides. All batches of a bucket have
the same shape, so that each bucket is compiled once; its bound is the longest pair in
it. The bounds are those that leave the least padding of all. An epoch visits every pair
once, in an order drawn from the seed and the epoch; the last batch of a bucket is filled
up with rows of length 0, which have no part in the loss.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.machine_translation.subwords import END, PAD, START, Encoded, Ids


class Batch(NamedTuple):
    """What one step reads, int32, padded with PAD: NumPy's arrays, or traced ones."""

    source: Any  # [S, B]
    source_lengths: Any  # [B]
    target: Any  # [T, B], START and the tokens
    labels: Any  # [T, B], the tokens and END: at each step what follows
    target_lengths: Any  # [B], labels that count


class Bucket(NamedTuple):
    """Pairs that are padded to one shape."""

    rows: NDArray[np.intp]  # which pairs
    source_length: int  # S
    target_length: int  # T, with END


def make_buckets(pairs: Encoded, number: int, batch_size: int) -> list[Bucket]:
    """Sort pairs into buckets of the least padding.

    Args:
      pairs: the pairs.
      number: how many buckets, at most.
      batch_size: B; the rows that fill a bucket's last batch up are padding, too.

    Returns:
      The buckets, the shortest first.
    """
    sources = np.array([len(ids) for ids in pairs.sources])
    targets = np.array([len(ids) + 1 for ids in pairs.targets])
    longest = np.maximum(sources, targets)
    bounds = best_bounds(longest, number, batch_size)
    of_pair = np.searchsorted(bounds, longest)
    rows = [np.flatnonzero(of_pair == i) for i in range(len(bounds))]
    return [Bucket(r, int(sources[r].max()), int(targets[r].max())) for r in rows]


def best_bounds(lengths: NDArray[np.integer], number: int, batch_size: int) -> list[int]:
    """Return the upper bounds of at most `number` buckets that cost the least steps x rows.

    By dynamic programming over the lengths that there are: the best `k + 1` buckets up
    to one length are the best k up to a shorter one, and a bucket from there.
    """
    present, counts = np.unique(lengths, return_counts=True)
    up_to = np.concatenate([[0], np.cumsum(counts)])

    def cost(first: int, last: int) -> int:
        """Of one bucket from length number `first` to number `last`, both in it."""
        batches = -(-(up_to[last + 1] - up_to[first]) // batch_size)
        return int(batches * batch_size * present[last])

    # best[j]: the cost and the bounds' numbers of all lengths up to number j
    best = [(cost(0, j), (j,)) for j in range(len(present))]
    for _ in range(number - 1):
        best = [
            min([best[j]] + [(best[i][0] + cost(i + 1, j), (*best[i][1], j)) for i in range(j)])
            for j in range(len(present))
        ]
    return [int(present[i]) for i in best[-1][1]]


def batches_per_epoch(buckets: Sequence[Bucket], batch_size: int) -> int:
    """Return how many steps visit every pair once."""
    return sum(-(-len(bucket.rows) // batch_size) for bucket in buckets)


def epoch_order(
    buckets: Sequence[Bucket], batch_size: int, seed: int, epoch: int
) -> list[tuple[int, NDArray[np.intp]]]:
    """Return an epoch's batches: for each its bucket's number and its pairs."""
    rng = np.random.default_rng((seed, epoch))
    batches = []
    for i, bucket in enumerate(buckets):
        rows = rng.permutation(bucket.rows)
        batches += [(i, rows[j : j + batch_size]) for j in range(0, len(rows), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def make_batch_at(
    pairs: Encoded, buckets: Sequence[Bucket], batch_size: int, seed: int
) -> Callable[[int], Batch]:
    """Return the function from a step, counted from 0, to what it reads."""
    order_of = lru_cache(maxsize=1)(
        lambda epoch: epoch_order(buckets, batch_size, seed, epoch)
    )  # of an epoch's steps all but the first find it there
    steps = batches_per_epoch(buckets, batch_size)

    def batch_at(step: int) -> Batch:
        epoch, place = divmod(step, steps)
        i, rows = order_of(epoch)[place]
        return pack(pairs, rows, buckets[i], batch_size)

    return batch_at


def pack(
    pairs: Encoded, rows: Sequence[int] | NDArray[np.intp], bucket: Bucket, size: int
) -> Batch:
    """Lay pairs out side by side.

    Args:
      pairs: all pairs.
      rows: which of them, at most `size`.
      bucket: whose shape to take.
      size: B; rows of length 0 fill up what is missing.
    """
    nothing = np.zeros(0, np.int32)
    missing = size - len(rows)
    sources = [pairs.sources[i] for i in rows] + [nothing] * missing
    targets = [pairs.targets[i] for i in rows] + [nothing] * missing
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
