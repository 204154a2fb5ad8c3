"""How well a model translates: nats a token, BLEU, exact matches."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sacrebleu.metrics.bleu import BLEU

from experiments.machine_translation.batches import Batch, make_batches
from experiments.machine_translation.lines import normalise
from experiments.machine_translation.model import Model, Params
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
    """Return a corpus's figure of whole translations; see `score_of`.

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


@partial(jax.jit, static_argnames="model")
def real_nats(model: Model, params: Params, batch: Batch) -> jax.Array:
    """Return the cross-entropy of each label `[T, B]`, in nats: not smoothed, 0 for padding."""
    logits, _ = model.apply(params, batch.source, batch.source_lengths, batch.target)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    return jnp.where(batch.is_real, nats, 0.0)


def nats_per_token(model: Model, params: Params, pairs: Encoded) -> float:
    """Return the mean nats a target token of a split, END counted in, without dropout.

    The nats are summed in float64.
    """
    config = model.config
    size = min(config.eval_batch_size, len(pairs.sources))
    total, count = 0.0, 0
    for batch in make_batches(pairs, config.eval_buckets, size).in_order():
        total += np.asarray(real_nats(model, params, batch), np.float64).sum()
        count += int(batch.target_lengths.sum())
    return total / count
