"""What a finished run came to, beside the baselines."""

from typing import Any

import numpy as np

from experiments.common.experiment import Trained
from experiments.text_generation.data import Data
from experiments.text_generation.evaluate import lay_out, make_evaluate
from experiments.text_generation.ngram import witten_bell
from experiments.text_generation.report import SCALES

BASELINE_ORDERS = (3, 4, 5)


def measure(trained: Trained, data: Data) -> tuple[dict[str, Any], None]:
    """Return the figures of a finished run.

    Args:
      trained: the model of the best validation; it alone sees the test split.
      data: the text.

    Returns:
      Losses in nats a symbol and on the text's scale (bits or perplexity), how many symbols
      each is over, and the losses of the Witten-Bell models, by order as a string: those that
      the training split is long enough for. Of the test split all are None where there is none.
    """
    scale = SCALES[data.vocabulary.level]
    splits = {"validation": data.valid}
    found: dict[str, Any] = {"validation": trained.best_value}
    if data.test is not None:
        one_stream = lay_out(data.valid, data.test, streams=1, context=0)
        found["test"] = make_evaluate(trained.model, one_stream)(trained.params)
        splits["test"] = data.test
    orders = [order for order in BASELINE_ORDERS if order <= len(data.train)]
    # The test split follows the validation split, which is its context and no more.
    text = np.concatenate(list(splits.values()))
    p = witten_bell(data.train, text, max(orders, default=1), len(data.vocabulary))
    figures = dict.fromkeys(
        f"{split}_{name}"
        for split in ("validation", "test")
        for name in ("symbols", "nats", scale.key, "baseline_nats")
    )
    start = 0
    for split, ids in splits.items():
        nats = -np.log(p[:, start : start + len(ids)]).mean(axis=1)
        start += len(ids)
        figures |= {
            f"{split}_symbols": len(ids),
            f"{split}_nats": found[split],
            f"{split}_{scale.key}": scale.of_nats(found[split]),
            f"{split}_baseline_nats": {str(order): float(nats[order - 1]) for order in orders},
        }
    return figures, None
