"""The chunk of text that each training step reads, as a pure function of the step.

The text is cut into `batch_size` streams of equal length. Step by step every stream is
read on by `chunk_length` symbols, so that the recurrent state of one step belongs to
the next (truncated backpropagation through time). At the end of the streams a new epoch
starts from a fresh state, at an offset drawn from the seed and the epoch, so that the
cuts do not always fall on the same symbols.

No iterator: the position in the data is the step itself, and a run that is resumed at a
step reads exactly what it would have read.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.text_generation.data import Ids


class Batch(NamedTuple):
    """What one step reads."""

    x: Ids  # int32 [T, B], the symbols
    labels: Ids  # int32 [T, B], at each the symbol that follows
    fresh: bool  # whether an epoch starts: the streams anew, and the state with them


def chunks_per_epoch(length: int, batch_size: int, chunk_length: int) -> int:
    """Return how many steps read a text of `length` symbols once.

    Raises:
      InputError: the text is too short for a single step.
    """
    # One symbol more than is read is needed as the last label, and up to
    # chunk_length - 1 are given up to the epoch's offset.
    chunks = (length - chunk_length) // batch_size // chunk_length
    if chunks < 1:
        raise InputError(
            f"batches: the training split has {length} symbols, but one step of "
            f"batch_size={batch_size} x chunk_length={chunk_length} needs "
            f"{(batch_size + 1) * chunk_length}; lower one of them or give more text"
        )
    return chunks


def batch_at(
    ids: NDArray[np.integer], step: int, batch_size: int, chunk_length: int, seed: int
) -> Batch:
    """Return what a step reads.

    Args:
      ids: `[N]`, the training text.
      step: counted from 0.
      batch_size: B, the number of streams.
      chunk_length: T, the symbols a stream is read on by.
      seed: of the epochs' offsets.
    """
    num_chunks = chunks_per_epoch(len(ids), batch_size, chunk_length)
    epoch, chunk = divmod(step, num_chunks)
    offset = np.random.default_rng((seed, epoch)).integers(chunk_length)
    starts = offset + np.arange(batch_size) * num_chunks * chunk_length
    t = chunk * chunk_length + np.arange(chunk_length + 1)
    window = ids[starts[None, :] + t[:, None]].astype(np.int32)  # [T + 1, B]
    return Batch(window[:-1], window[1:], chunk == 0)
