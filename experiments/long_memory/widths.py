"""Equal parameters: how wide a network of each cell is to be."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

from experiments.common.errors import InputError

TOLERANCE = 0.02


class Widths(NamedTuple):
    """What makes a network large or small."""

    hidden: int  # H, of the cell; of blocks D, too
    filler: int  # of plain layers, the input's vectors; of blocks, inside the feed-forward


CountFn = Callable[[Widths], int]


def equal_widths(
    count: CountFn, parameters: int, multiple: int, filler_of: Callable[[int], int]
) -> Widths:
    """Return the widths of a network of so many parameters.

    H is a multiple of the number of heads, so it alone meets the number roughly. The filler,
    of which the parameters are a linear function, does the rest.

    Args:
      count: the parameters of a network.
      parameters: how many it is to have, within 2 %.
      multiple: what H is a multiple of.
      filler_of: from H to about how wide the filler is to be.

    Raises:
      InputError: there are no such widths.

    Example:
      >>> equal_widths(lambda w: w.hidden**2 + w.hidden * w.filler, 1000, 4, lambda h: 8)
      Widths(hidden=28, filler=8)
    """
    count = functools.cache(count)

    def widths_at(i: int) -> Widths:
        return Widths(multiple * i, filler_of(multiple * i))

    # The parameters grow about as the square of H.
    i, tried = 8, set[int]()
    while i not in tried:
        tried.add(i)
        i = max(1, round(i * math.sqrt(parameters / count(widths_at(i)))))
    near = range(max(1, i - 1), i + 2)
    filled = [_fill(count, parameters, widths_at(i)) for i in near]
    # Of these, the one that moves the filler less from where it is to be.
    nearest = min(filled, key=lambda w: abs(math.log(w.filler / filler_of(w.hidden))))
    misses = {abs(count(w) / parameters - 1): w for w in filled}
    if abs(count(nearest) / parameters - 1) <= TOLERANCE:
        return nearest
    if min(misses) > TOLERANCE:
        got = count(misses[min(misses)])
        raise InputError(
            f"equal_widths: the network can have {got:,} parameters, not {parameters:,} within "
            f"{TOLERANCE:.0%}; give more --parameters or fewer --num-layers"
        )
    return misses[min(misses)]


def _fill(count: CountFn, parameters: int, widths: Widths) -> Widths:
    """Return the widths with the filler that comes nearest; it is 1 at least."""
    have = count(widths)
    each = count(widths._replace(filler=widths.filler + 1)) - have
    return widths._replace(filler=max(1, widths.filler + round((parameters - have) / each)))
