"""The windows of the pieces that each training step reads, as a pure function of the step.

A piece of at most `crop_frames` frames is one window. A longer one is cut into as few
windows as will do, of equal length; where they begin is drawn anew each epoch, so that
the cuts do not always fall on the same frames. Every window starts from the network's
initial state: a model that is to remember more than `crop_frames` frames needs a larger
setting. (Evaluation and composing carry the state through whole pieces.)

Windows of similar length share a bucket, and each bucket has one padded length: that
many shapes are compiled, no more. An epoch reads every window once, in batches of one
bucket each; a bucket's last batch is filled up with windows it has read already.

Each seed reads the windows in its own order and transposed by its own draws; only the
buckets' order is common to all of them, since they are trained together. So the batches
of a seed do not depend on which others are trained beside it.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.music_generation.config import Config
from experiments.music_generation.rolls import NUM_KEYS, Roll, transposable, transpose

_ROUND = 8  # bucket lengths are multiples of it


class Batch(NamedTuple):
    """What one step reads of one seed's data; of several with a leading S axis."""

    x: Roll  # [T, B, 88], before each label the frame before it; silence before a piece
    labels: Roll  # [T, B, 88]
    lengths: NDArray[np.int32]  # [B], the frames of each row


class Window(NamedTuple):
    """A part of a piece."""

    piece: int
    start: float  # where it begins if nothing is drawn, in frames
    length: int


class Bucket(NamedTuple):
    """Windows that are padded to one length."""

    frames: int
    windows: tuple[Window, ...]


class Plan(NamedTuple):
    """What an epoch reads."""

    pieces: Sequence[Roll]
    buckets: tuple[Bucket, ...]
    bucket_of_batch: NDArray[np.int64]  # of each of an epoch's batches, before they are shuffled
    config: Config


def make_plan(pieces: Sequence[Roll], config: Config) -> Plan:
    """Cut training pieces, each `[T, 88]`, into windows; share these out to buckets, equally."""
    windows = []
    for i, piece in enumerate(pieces):
        parts = -(-len(piece) // config.crop_frames)
        each = -(-len(piece) // parts)
        apart = (len(piece) - each) / max(parts - 1, 1)
        windows += [Window(i, n * apart, each) for n in range(parts)]
    windows.sort(key=lambda window: window.length)
    cuts = [len(windows) * (i + 1) // config.num_buckets for i in range(config.num_buckets)]
    frames = {-(-windows[cut - 1].length // _ROUND) * _ROUND for cut in cuts if cut}
    buckets = [
        Bucket(high, tuple(window for window in windows if low < window.length <= high))
        for low, high in itertools.pairwise((0, *sorted(frames)))
    ]
    batches = [-(-len(bucket.windows) // config.batch_size) for bucket in buckets]
    return Plan(pieces, tuple(buckets), np.repeat(np.arange(len(buckets)), batches), config)


def batch_at(plan: Plan, step: int) -> Batch:
    """Return what step `step`, counted from 0, reads: `[S, T, B, 88]` twice and `[S, B]`.

    A window is transposed by chance, `config.transpose_share` of them are; each shift of at
    most `config.transpose` that keeps all notes of its piece is drawn equally often.
    """
    epoch, place = divmod(step, len(plan.bucket_of_batch))
    order = np.random.default_rng((epoch,)).permutation(plan.bucket_of_batch)
    bucket = int(order[place])
    nth = int((order[:place] == bucket).sum())  # of this bucket's batches in this epoch
    rows = [
        _rows(plan, bucket, nth, np.random.default_rng((seed, epoch, bucket)))
        for seed in plan.config.seeds
    ]
    return Batch(*(np.stack(parts) for parts in zip(*rows, strict=True)))


def _rows(plan: Plan, bucket: int, nth: int, rng: np.random.Generator) -> Batch:
    """Return the n-th batch of a bucket; the generator is that of a seed and an epoch."""
    (frames, windows), config = plan.buckets[bucket], plan.config
    order = rng.permutation(len(windows))
    draws = rng.random((3, len(windows)))  # of every window, wherever in the order it is
    mine = order[(nth * config.batch_size + np.arange(config.batch_size)) % len(order)]
    x = np.zeros((frames, config.batch_size, NUM_KEYS), np.uint8)
    labels = np.zeros_like(x)
    for row, i in enumerate(mine):
        window, piece = windows[i], plan.pieces[windows[i].piece]
        most = config.transpose if draws[2, i] < config.transpose_share else 0
        low, high = transposable(piece, most)
        moved = transpose(piece, low + int(draws[1, i] * (high - low + 1)))
        # Moved by up to half the window's length.
        start = round(window.start + (draws[0, i] - 0.5) * window.length)
        start = min(max(start, 0), len(piece) - window.length)
        own = slice(start, start + window.length)
        labels[: window.length, row] = moved[own]
        x[: window.length, row] = np.pad(moved, ((1, 0), (0, 0)))[own]  # silence before a piece
    return Batch(x, labels, np.array([windows[i].length for i in mine], np.int32))
