"""What a finished run came to, beside the baselines."""

from typing import Any, NamedTuple

from experiments.common.experiment import Trained
from experiments.machine_translation.baselines import baselines_of
from experiments.machine_translation.data import Data
from experiments.machine_translation.evaluate import nats_per_token, score_lines, score_of
from experiments.machine_translation.translate import translate_pieces


class Findings(NamedTuple):
    """Translations of the test split."""

    ours: list[str]  # by beam search
    others: dict[str, list[str]]  # by the baselines


def measure(trained: Trained, data: Data) -> tuple[dict[str, Any], Findings]:
    """Return the figures of a finished run, and the translations of the test split.

    Args:
      trained: the model of the best validation; it alone sees the test split.
      data: the pairs.

    Returns:
      `score` names the figure of whole translations, in percent, and `signature` tells
      what exactly it is. `validation` and `test` hold nats a target token, and the figure
      of greedy and of beam search; `baselines` theirs on the test split.
    """
    model, params, corpus = trained.model, trained.params, data.corpus
    figures: dict[str, Any] = {"score": score_of(corpus.name)}
    found: list[str] = []
    for split, pairs in (("validation", corpus.valid), ("test", corpus.test)):
        encoded = data.vocabularies.encode(pairs, trained.config.reverse_source)
        figures[split] = {"nats": nats_per_token(model, params, encoded)}
        for how in ("greedy", "beam"):
            found = translate_pieces(
                model, params, data.vocabularies, encoded.sources, greedy=how == "greedy"
            )
            score = score_lines(corpus.name, found, pairs.targets)
            figures[split][how] = score.value
            figures["signature"] = score.signature
    others = {
        name: baseline(corpus.train, corpus.test.sources)
        for name, baseline in baselines_of(corpus).items()
    }
    figures["baselines"] = {
        name: score_lines(corpus.name, lines, corpus.test.targets).value
        for name, lines in others.items()
    }
    return figures, Findings(found, others)
