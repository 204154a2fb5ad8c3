"""Witten-Bell n-gram models: the baseline that a network has to pass.

An order-n model predicts a symbol w from the n - 1 symbols before it. With c(h, w) the
number of times that w followed the context h in the training text, N(h) = Σ_w c(h, w),
T(h) the number of different symbols that followed h, and h' the context h without its
first symbol,

    p(w | h) = (c(h, w) + T(h) · p(w | h')) / (N(h) + T(h))    where N(h) > 0,
    p(w | h) = p(w | h')                                       where h was never seen,

which ends below the empty context in the uniform 1 / V. This is the interpolated form
of method C of Witten & Bell (1991), "The zero-frequency problem", IEEE Transactions on
Information Theory 37(4), as in Chen & Goodman (1999), eq. 16.
"""

import numpy as np
from numpy.typing import NDArray


def witten_bell(
    train: NDArray[np.integer], text: NDArray[np.integer], order: int, vocab_size: int
) -> NDArray[np.float64]:
    """Return the probability of each symbol of a text given the ones before it.

    The text follows the training text: its first symbols have the end of the training
    text as their context. Nothing is learned from it.

    Args:
      train: `[N]`, symbol ids below `vocab_size`.
      text: `[M]`, symbol ids below `vocab_size`.
      order: n >= 1; 1 is the unigram model.
      vocab_size: V.

    Returns:
      `[order, M]`: row n - 1 holds the probabilities of the order-n model. All the
      lower orders come with the highest, since each is built on the one below.

    Raises:
      ValueError: order < 1, or a training text not longer than the contexts.
    """
    if order < 1 or len(train) < order:
        raise ValueError(
            f"witten_bell: order must be in [1, {len(train)}], the length of the "
            f"training text, got {order}"
        )
    whole = np.concatenate([train, text]).astype(np.int64)
    split = len(train)
    # context[i] numbers the symbols before position i, gram[i] those with symbol i.
    # Numbers are given afresh at every order (`np.unique`), so that they never
    # outgrow 64 bits as powers of V would. Of the empty context there is one.
    context = np.zeros(len(whole), np.int64)
    p = np.full(len(text), 1.0 / vocab_size)
    rows = []
    for n in range(1, order + 1):
        grams, gram = np.unique(context * vocab_size + whole, return_inverse=True)
        # Position i has a whole context of n - 1 symbols only from n - 1 on.
        count = np.bincount(gram[n - 1 : split], minlength=len(grams))
        context_of = grams // vocab_size
        total = np.bincount(context_of, weights=count)
        kinds = np.bincount(context_of, weights=count > 0)
        h = context[split:]
        seen = total[h] > 0
        mixed = (count[gram[split:]] + kinds[h] * p) / np.maximum(total[h] + kinds[h], 1)
        p = np.where(seen, mixed, p)
        rows.append(p)
        # The next context of i is the gram that ended at i - 1.
        context = np.concatenate([[0], gram[:-1]])
    return np.stack(rows)
