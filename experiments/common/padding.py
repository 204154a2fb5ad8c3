"""Which lengths to pad ragged rows to: few, for each new shape is compiled anew."""

import numpy as np
from numpy.typing import NDArray


def best_bounds(lengths: NDArray[np.integer], number: int, batch_size: int = 1) -> tuple[int, ...]:
    """Return the lengths to pad to that leave the least padding of all, the shortest first.

    By dynamic programming from the longest length on: the best k + 1 bounds of the rows from
    some length on are a first bound, and the best k of the rows above it.

    Args:
      lengths: of all rows, at least one.
      number: how many bounds to choose, at most; the longest length is among them.
      batch_size: the rows of one bound come in batches of so many; those that fill the last
        batch up are padding, too.
    """
    present, counts = np.unique(lengths, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    batches = -(-(below[None, 1:] - below[:-1, None]) // batch_size)
    # cost[i, j]: what the rows from length number i to number j take, padded to the latter.
    cost = np.where(np.tri(len(present), k=-1), np.inf, batches * batch_size * present)
    best, choices = cost[:, -1], [np.full(len(present), len(present) - 1)]
    for _ in range(min(number, len(present)) - 1):
        # total[i, j]: those from i to j at one length, and the best of those above.
        total = cost + np.append(best[1:], 0.0)
        choices.append(total.argmin(axis=1))
        best = total.min(axis=1)
    bounds, first = [], 0
    while first < len(present):
        last = choices.pop()[first]
        bounds.append(int(present[last]))
        first = last + 1
    return tuple(bounds)
