"""Error rates, by jiwer: substitutions, deletions and insertions a symbol of the reference.

They may exceed 1, for insertions have no bound.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jiwer
import numpy as np


class Scores(NamedTuple):
    """Error rates over a split, each a share."""

    cer: float  # of characters, the spaces between words counted in
    wer: float  # of words, which in strings of digits are the whole strings
    sentence: float  # of whole utterances


def score(references: Sequence[str], hypotheses: Sequence[str]) -> Scores:
    """Return the error rates of N hypotheses against N references, none of these empty."""
    references, hypotheses = list(references), list(hypotheses)
    wrong = sum(a != b for a, b in zip(references, hypotheses, strict=True))
    return Scores(
        cer=float(jiwer.cer(references, hypotheses)),
        wer=float(jiwer.wer(references, hypotheses)),
        sentence=wrong / len(references),
    )


def cer_interval(
    references: Sequence[str], hypotheses: Sequence[str], *, share: float = 0.95, draws: int = 2000
) -> tuple[float, float]:
    """Return between which character error rates `share` of all resampled splits lie.

    A split of as many utterances is drawn from this one, with replacement, again and
    again: how much the rate would differ had other utterances been recorded. Speakers
    are not drawn anew, so that with few of them it is too narrow.

    Args:
      references: N texts, none of them empty.
      hypotheses: N texts.
      share: of the resampled splits, in (0, 1); what is beyond is cut evenly at both ends.
      draws: how many splits; always from the same seed, so that the interval is, too.

    References:
      Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR
      performance evaluation".
    """
    pairs = zip(references, hypotheses, strict=True)
    found = [jiwer.process_characters(*pair) for pair in pairs]
    errors = np.array([x.substitutions + x.deletions + x.insertions for x in found])
    lengths = np.array([x.hits + x.substitutions + x.deletions for x in found])
    rows = np.random.default_rng(0).integers(len(found), size=(draws, len(found)))
    rates = errors[rows].sum(axis=1) / lengths[rows].sum(axis=1)
    low, high = np.quantile(rates, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
