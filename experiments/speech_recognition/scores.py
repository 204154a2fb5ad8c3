"""Error rates, by jiwer: substitutions, deletions and insertions a symbol of the reference.

They may exceed 1, for insertions have no bound.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jiwer


class Scores(NamedTuple):
    """Error rates over a split, each a share."""

    cer: float  # of characters, the spaces between words counted in
    wer: float  # of words, which in strings of digits are the whole strings
    sentence: float  # of whole utterances


def score(references: Sequence[str], hypotheses: Sequence[str]) -> Scores:
    """Return the error rates of hypotheses, each against its reference.

    Args:
      references: N texts, none of them empty.
      hypotheses: N texts.
    """
    references, hypotheses = list(references), list(hypotheses)
    wrong = sum(a != b for a, b in zip(references, hypotheses, strict=True))
    return Scores(
        cer=float(jiwer.cer(references, hypotheses)),
        wer=float(jiwer.wer(references, hypotheses)),
        sentence=wrong / len(references),
    )
