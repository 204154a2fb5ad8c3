"""What a finished run came to: each way of decoding, and the baselines, on each part."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from experiments.common.experiment import Trained
from experiments.speech_recognition import decode
from experiments.speech_recognition.baselines import guess
from experiments.speech_recognition.data import Data
from experiments.speech_recognition.decode import BeamSearch, Fusion, Outputs
from experiments.speech_recognition.scores import cer_interval, score


class Findings(NamedTuple):
    """What the test part came to, besides figures."""

    texts: dict[str, list[str]]  # by decoder
    outputs: Outputs


def measure(trained: Trained, data: Data) -> tuple[dict[str, Any], Findings]:
    """Decode validation and test part in three ways, and ask the baselines.

    Returns:
      By decoder and part error rates, with an interval on the test part; those of the
      baselines on the test part, by name; the fusion chosen on the validation part.
    """
    config, model, alphabet = trained.config, trained.model, data.alphabet
    valid_outputs, test_outputs = (
        decode.run(model, trained.params, part.as_spoken, data.padded, config.batch_size)
        for part in (data.valid, data.test)
    )
    alone = BeamSearch(alphabet, config.beam_size, config.decode_batch)
    fused = alone._replace(language_model=data.language_model)
    tried = [Fusion(*pair) for pair in product(config.fusion_weights, config.fusion_bonuses)]
    fusion = choose_fusion(fused, valid_outputs, data.valid.texts, tried)
    ways = {
        "greedy": partial(decode.greedy, alphabet=alphabet, batch_size=config.decode_batch),
        "beam": alone,
        "ngram": partial(fused, fusion=fusion),
    }
    references = data.test.texts
    decoders, texts = {}, {}
    for name, way in ways.items():
        texts[name] = way(test_outputs)
        valid = score(data.valid.texts, way(valid_outputs))
        test = score(references, texts[name])
        interval = {"cer_interval": list(cer_interval(references, texts[name]))}
        decoders[name] = {"validation": valid._asdict(), "test": test._asdict() | interval}
    baselines = guess(data, config.num_bands).items()
    figures = {
        "validation_cer": trained.best_value,
        "decoders": decoders,
        "baselines": {name: score(references, found)._asdict() for name, found in baselines},
        "fusion": fusion._asdict(),
        "training_copies_too_short": data.num_too_short,
    }
    return figures, Findings(texts, test_outputs)


def choose_fusion(
    search: BeamSearch, valid: Outputs, references: Sequence[str], tried: Sequence[Fusion]
) -> Fusion:
    """Return which of some weights and bonuses has the smallest error on the validation part.

    Of equal ones the first: as they are tried, the language model then says little.
    """
    return min(tried, key=lambda fusion: score(references, search(valid, fusion)).cer)
