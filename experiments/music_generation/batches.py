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

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

    buckets: tuple[Bucket, ...]
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Return how many steps read every window once."""
        return len(self.bucket_of_batch)

    @property
    def bucket_of_batch(self) -> NDArray[np.int64]:
        """Return the bucket of each of an epoch's batches, in order."""
        counts = [-(-len(bucket.windows) // self.batch_size) for bucket in self.buckets]
        return np.repeat(np.arange(len(counts)), counts)


def make_plan(
    lengths: Sequence[int], *, batch_size: int, crop_frames: int, num_buckets: int
) -> Plan:
    """Cut pieces into windows and sort these into buckets.

    Args:
      lengths: the frames of each piece.
      batch_size: B, windows a step reads.
      crop_frames: the most frames a window has.
      num_buckets: how many padded lengths there are at most; the windows are shared out
        to them equally.
    """
    windows = []
    for piece, length in enumerate(lengths):
        parts = -(-length // crop_frames)
        each = -(-length // parts)
        windows += [
            Window(piece, i * (length - each) / max(parts - 1, 1), each) for i in range(parts)
        ]
    windows.sort(key=lambda window: window.length)
    cuts = [len(windows) * (i + 1) // num_buckets for i in range(num_buckets)]
    frames = sorted({-(-windows[cut - 1].length // _ROUND) * _ROUND for cut in cuts if cut})
    buckets, low = [], 0
    for high in frames:
        mine = tuple(window for window in windows if low < window.length <= high)
        buckets.append(Bucket(high, mine))
        low = high
    return Plan(tuple(buckets), batch_size)


def batch_at(
    pieces: Sequence[Roll],
    plan: Plan,
    step: int,
    seeds: Sequence[int],
    most_semitones: int = 0,
    share: float = 1.0,
) -> Batch:
    """Return what step `step`, counted from 0, reads.

    Args:
      pieces: the training pieces, of which `plan` was made.
      plan: what an epoch reads.
      step: the step.
      seeds: S of them, of each model's own draws.
      most_semitones: how far a window may be transposed either way; each shift that
        keeps all notes of the piece on the keyboard is drawn equally often.
      share: of the windows that are transposed, drawn by chance.

    Returns:
      The batch, `[S, T, B, 88]` twice and `[S, B]`.
    """
    epoch, place = divmod(step, plan.steps_per_epoch)
    order = np.random.default_rng((epoch,)).permutation(plan.bucket_of_batch)
    bucket = int(order[place])
    nth = int((order[:place] == bucket).sum())  # of this bucket's batches in this epoch
    rows = []
    for seed in seeds:
        rng = np.random.default_rng((seed, epoch, bucket))
        rows.append(_rows(pieces, plan, bucket, nth, rng, most_semitones, share))
    return Batch(*(np.stack(parts) for parts in zip(*rows, strict=True)))


def _rows(
    pieces: Sequence[Roll],
    plan: Plan,
    bucket: int,
    nth: int,
    rng: np.random.Generator,
    most_semitones: int,
    share: float,
) -> Batch:
    """Return the n-th batch of a bucket; the generator is that of a seed and an epoch."""
    frames, windows = plan.buckets[bucket]
    order = rng.permutation(len(windows))
    draws = rng.random((3, len(windows)))  # of every window, wherever in the order it is
    num_batches = -(-len(windows) // plan.batch_size)
    filled = np.resize(order, num_batches * plan.batch_size)
    mine = filled[nth * plan.batch_size : (nth + 1) * plan.batch_size]
    x = np.zeros((frames, plan.batch_size, NUM_KEYS), np.uint8)
    labels = np.zeros_like(x)
    for row, i in enumerate(mine):
        window, piece = windows[i], pieces[windows[i].piece]
        start = _start(window, len(piece), draws[0, i])
        low, high = transposable(piece, most_semitones if draws[2, i] < share else 0)
        moved = transpose(piece, low + int(draws[1, i] * (high - low + 1)))
        labels[: window.length, row] = moved[start : start + window.length]
        first = 1 if start == 0 else 0  # a piece begins after a silent frame
        x[first : window.length, row] = moved[start + first - 1 : start + window.length - 1]
    return Batch(x, labels, np.array([windows[i].length for i in mine], np.int32))


def _start(window: Window, num_frames: int, draw: float) -> int:
    """Return the frame at which a window begins, moved by up to half its length."""
    moved = window.start + (draw - 0.5) * window.length
    return int(np.clip(round(moved), 0, num_frames - window.length))
