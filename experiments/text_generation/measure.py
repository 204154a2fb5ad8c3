"""What a finished run came to, beside the baselines."""

from typing import Any

import numpy as np

from experiments.common.experiment import Trained
from experiments.text_generation.data import Corpus
from experiments.text_generation.evaluate import lay_out, make_evaluate
from experiments.text_generation.ngram import nats_per_symbol, witten_bell
from experiments.text_generation.report import SCALES

BASELINE_ORDERS = (3, 4, 5)


def measure(trained: Trained, corpus: Corpus) -> tuple[dict[str, Any], None]:
    """Return the figures of a finished run.

    Args:
      trained: the model of the best validation; it alone sees the test split.
      corpus: the text.

    Returns:
      Losses in nats a symbol and on the corpus's scale (bits or perplexity), of the test
      split None where there is none; how many symbols each is over; and for either split
      the baselines by order, as a string.
    """
    scale, baselines = SCALES[corpus.vocabulary.level], baselines_of(corpus)
    nats = {"validation": trained.best_value, "test": None}
    if corpus.test is not None:
        one_stream = lay_out(corpus.valid, corpus.test, streams=1, context=0)
        nats["test"] = make_evaluate(trained.model, one_stream)(trained.params)
    figures = {}
    for split, ids in (("validation", corpus.valid), ("test", corpus.test)):
        found = nats[split]
        figures |= {
            f"{split}_symbols": None if ids is None else len(ids),
            f"{split}_nats": found,
            f"{split}_{scale.key}": None if found is None else scale.of_nats(found),
            f"{split}_baseline_nats": baselines.get(split),
        }
    return figures, None


def baselines_of(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Return nats a symbol of the Witten-Bell models, by split and by order.

    Only the orders that the training split is long enough for. The orders are strings,
    as they are in JSON. The splits are "validation" and, where there is one, "test".
    """
    highest = min(max(BASELINE_ORDERS), len(corpus.train))
    splits = {"validation": corpus.valid}
    if corpus.test is not None:
        splits["test"] = corpus.test
    # The test split follows the validation split, which is its context and no more.
    text = np.concatenate(list(splits.values()))
    p = witten_bell(corpus.train, text, highest, len(corpus.vocabulary))
    found, start = {}, 0
    for name, ids in splits.items():
        nats = nats_per_symbol(p[:, start : start + len(ids)])
        found[name] = {str(n): float(nats[n - 1]) for n in BASELINE_ORDERS if n <= highest}
        start += len(ids)
    return found
