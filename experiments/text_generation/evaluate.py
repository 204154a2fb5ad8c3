"""How well a model predicts a whole text: every symbol once, always the same number.

The validation split, read again and again, is cut into `streams` equal pieces that are
read side by side, since one by one takes as many sequential steps as there are symbols.
Each piece first reads the `context` symbols before it, uncounted, so that its state is
warm: the first piece reads the end of the split before. The state is then carried to the
piece's end.

The test split, read once, is a single stream from the initial state, as in the papers:
what a word is predicted from reaches back to the split's beginning. Only its first symbol
takes something from outside: it is predicted from the last one of the split before (ptb:
an end-of-sentence). The papers' programs leave that first one out.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax
from numpy.typing import NDArray

from experiments.text_generation.data import Ids
from experiments.text_generation.model import Model, Params, State

# Symbols that a compiled call runs over: their logits are held at once, and those of
# 2,048 symbols with 10,000 words are 82 MB.
_AT_ONCE = 2048
_CHUNK = 64  # steps are rounded up to multiples of it


class Layout(NamedTuple):
    """A text laid out in S streams, and these in N chunks of T steps."""

    x: Ids  # [N, T, S]
    labels: Ids  # [N, T, S]
    counted: NDArray[np.bool_]  # [N, T, S], True at each symbol of the text exactly once


def lay_out(before: Ids, text: Ids, streams: int, context: int) -> Layout:
    """Cut a text into streams, each with the symbols that come before it.

    Args:
      before: `[N]`, N >= 1, what precedes the text; its last symbol predicts the first.
      text: `[M]`, M >= 1, the symbols to count.
      streams: S, how many pieces; fewer where the text is shorter than that.
      context: how many symbols each piece reads before its own, where there are any.

    Returns:
      The layout: N * T = context + ceil(M / S), rounded up to whole chunks.
    """
    streams = min(streams, len(text))
    length = -(-len(text) // streams)
    # The label at place 0 of the whole has no symbol before it, so 1 is the least.
    context = min(context, len(before) - 1)
    whole = np.concatenate([before[len(before) - 1 - context :], text])
    # Row t of stream s predicts whole[s * length + t + 1]; its own text begins at
    # whole[context + 1 + s * length].
    most = max(_AT_ONCE // streams // _CHUNK, 1) * _CHUNK
    chunk = min(_rounded_up(context + length, _CHUNK), most)
    t = np.arange(_rounded_up(context + length, chunk)).reshape(-1, chunk, 1)
    place = np.arange(streams) * length + t
    counted = (t >= context) & (t < context + length) & (place + 1 < len(whole))
    last = len(whole) - 1
    return Layout(whole[np.minimum(place, last)], whole[np.minimum(place + 1, last)], counted)


def _rounded_up(number: int, multiple_of: int) -> int:
    return -(-number // multiple_of) * multiple_of


def make_evaluate(model: Model, layout: Layout) -> Callable[[Params], float]:
    """Return the function from parameters to the mean nats a symbol, without dropout.

    Nats are summed in float64.
    """

    @jax.jit
    def score(
        params: Params, x: jax.Array, labels: jax.Array, state: State
    ) -> tuple[State, jax.Array]:
        state, logits = model.apply(params, x, state)
        return state, optax.softmax_cross_entropy_with_integer_labels(logits, labels)

    def evaluate(params: Params) -> float:
        state, total = model.initial_state(params, layout.x.shape[-1]), 0.0
        for x, labels, counted in zip(*layout, strict=True):
            state, nats = score(params, x, labels, state)
            total += np.asarray(nats, np.float64)[counted].sum()
        return total / int(layout.counted.sum())

    return evaluate
