"""What a finished run came to, beside the baselines."""

from typing import Any

from experiments.common.experiment import Trained
from experiments.machine_translation.baselines import baselines_of
from experiments.machine_translation.data import Data
from experiments.machine_translation.evaluate import nats_per_token, score_lines, score_of
from experiments.machine_translation.translate import translate_pieces


def measure(trained: Trained, data: Data) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the figures of a finished run, and the test split's translations.

    `score` names the figure of whole translations, in percent, and `signature` tells what
    exactly it is. `validation` and `test` hold nats a target token, and the figure of greedy
    and of beam search; `baselines` theirs on the test split. The translations are by name:
    "ours", of the beam search, and each baseline's.
    """
    model, params = trained.model, trained.params
    corpus, pieces = data.corpus, data.vocabularies
    figures: dict[str, Any] = {"score": score_of(corpus.name)}
    found: list[str] = []
    for split, pairs in (("validation", corpus.valid), ("test", corpus.test)):
        encoded = pieces.encode(pairs, trained.config.reverse_source)
        figures[split] = {"nats": nats_per_token(model, params, encoded)}
        for how, greedy in (("greedy", True), ("beam", False)):
            found = translate_pieces(model, params, pieces, encoded.sources, greedy=greedy)
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
    return figures, {"ours": found, **others}
