"""How well a model translates: nats a token, BLEU, exact matches."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from sacrebleu.metrics.bleu import BLEU

from experiments.machine_translation.batches import Batch, make_buckets, pack
from experiments.machine_translation.lines import normalise
from experiments.machine_translation.subwords import Encoded

LABELS = {"exact": "exact matches, %", "bleu": "BLEU"}


def score_of(corpus: str) -> str:
    """Return which figure of whole translations is a corpus's: a key of `LABELS`."""
    return "exact" if corpus == "dates" else "bleu"


class Score(NamedTuple):
    """A figure of whole translations, in percent, and what exactly was computed."""

    value: float
    signature: str
    details: str = ""  # what the figure is made of


def score_lines(corpus: str, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Return a corpus's figure of translations; see `score_of`.

    Raises:
      ValueError: there are no sentences, or not as many of the one as of the other.
    """
    if len(hypotheses) != len(references) or not references:
        raise ValueError(
            f"score_lines: there must be as many hypotheses as references, and one at least, "
            f"got {len(hypotheses)} and {len(references)}"
        )
    measure = {"exact": exact_matches, "bleu": bleu}[score_of(corpus)]
    return measure(hypotheses, references)


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Return sacrebleu's BLEU of detokenised text, lower-cased, tokenised by its own 13a.

    Both sides are raw lines. Figures on Multi30k are often on text that was lower-cased and
    tokenised beforehand, by Moses' scripts (Caglayan et al. 2017): nearly, but not exactly,
    the same measure.
    """
    metric = BLEU(lowercase=True, tokenize="13a")
    found = metric.corpus_score(list(hypotheses), [list(references)])
    precisions = "/".join(f"{precision:.1f}" for precision in found.precisions)
    details = f"{precisions}, brevity penalty {found.bp:.3f}, {found.ratio:.3f} of the length"
    return Score(found.score, f"sacrebleu {metric.get_signature()}", details)


def exact_matches(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Return the share of lines that are their reference, both normalised."""
    pairs = zip(hypotheses, references, strict=True)
    share = float(np.mean([normalise(a) == normalise(b) for a, b in pairs]))
    return Score(100.0 * share, f"whole lines, lower-cased, of {len(references):,}")


def nats_per_token(
    nats_of: Callable[[Any, Batch], jax.Array],
    params: Any,
    pairs: Encoded,
    *,
    buckets: int,
    batch_size: int,
) -> float:
    """Return the mean nats a target token, END counted in, without dropout.

    Args:
      nats_of: `real_nats` of a model.
      params: the parameters.
      pairs: the split.
      buckets: how many shapes of batches there are, at most.
      batch_size: pairs that are read side by side.

    Returns:
      Nats, summed in float64.
    """
    size = min(batch_size, len(pairs.sources))
    total, count = 0.0, 0
    for bucket in make_buckets(pairs, buckets, size):
        for start in range(0, len(bucket.rows), size):
            batch = pack(pairs, bucket.rows[start : start + size], bucket, size)
            total += np.asarray(nats_of(params, batch), np.float64).sum()
            count += int(batch.target_lengths.sum())
    return total / count
