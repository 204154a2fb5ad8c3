"""What a finished run came to: each way of decoding, and the baselines, on each part."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from experiments.common.experiment import Trained
from experiments.speech_recognition import baselines, decode
from experiments.speech_recognition.data import Dataset
from experiments.speech_recognition.decode import BeamSearch, Fusion, Outputs
from experiments.speech_recognition.features import LogMel
from experiments.speech_recognition.scores import cer_interval, score


class Findings(NamedTuple):
    """What the test part came to, besides figures."""

    texts: dict[str, list[str]]  # by decoder
    outputs: Outputs


def measure(trained: Trained, dataset: Dataset) -> tuple[dict[str, Any], Findings]:
    """Decode validation and test part in three ways, and ask the baselines.

    Args:
      trained: the model of the best validation; it alone sees the test part.
      dataset: the data.

    Returns:
      By decoder and part error rates, with an interval on the test part; those of the
      baselines on the test part, by name; the fusion chosen on the validation part.
    """
    config, alphabet, parts = trained.config, dataset.alphabet, (dataset.valid, dataset.test)
    outputs = [
        decode.run(trained.model, trained.params, x.as_spoken, dataset.padded, config.batch_size)
        for x in parts
    ]
    alone = BeamSearch(alphabet, config.beam_size, config.decode_batch)
    fused = alone._replace(language_model=dataset.language_model)
    tried = [Fusion(*pair) for pair in product(config.fusion_weights, config.fusion_bonuses)]
    fusion = choose_fusion(fused, outputs[0], dataset.valid.texts, tried)
    ways = {
        "greedy": partial(decode.greedy, alphabet=alphabet, batch_size=config.decode_batch),
        "beam": alone,
        "ngram": partial(fused, fusion=fusion),
    }
    texts = {name: [way(of_part) for of_part in outputs] for name, way in ways.items()}
    decoders = {}
    for name, found in texts.items():
        valid, test = (score(x.texts, y)._asdict() for x, y in zip(parts, found, strict=True))
        interval = list(cer_interval(dataset.test.texts, found[1]))
        decoders[name] = {"validation": valid, "test": {**test, "cer_interval": interval}}
    figures = {
        "validation_cer": trained.best_value,
        "decoders": decoders,
        "baselines": {
            name: score(dataset.test.texts, answers)._asdict()
            for name, answers in guess(dataset, config.num_bands).items()
        },
        "fusion": fusion._asdict(),
        "training_copies_too_short": dataset.num_too_short,
    }
    return figures, Findings({name: test for name, (_, test) in texts.items()}, outputs[1])


def choose_fusion(
    search: BeamSearch, valid: Outputs, references: Sequence[str], tried: Sequence[Fusion]
) -> Fusion:
    """Return which of some weights and bonuses has the smallest error on the validation part.

    Of equal ones the first: as they are tried, the language model then says little.
    """
    return min(tried, key=lambda fusion: score(references, search(valid, fusion)).cer)


def guess(dataset: Dataset, num_bands: int) -> Mapping[str, list[str]]:
    """Return the baselines' texts for the test part, by name."""
    train, references = dataset.train, dataset.test.texts
    found = {
        "most frequent transcript": baselines.most_frequent(train.texts, references),
        "n-gram's best text of the right length": baselines.most_probable(
            dataset.language_model, dataset.alphabet, references
        ),
    }
    if all(utterance.segments for utterance in train.utterances):
        spectrogram = LogMel(dataset.corpus.sample_rate, num_bands)
        templates = baselines.Templates(spectrogram, train)
        templates.tune(dataset.valid)
        found["nearest mean spectrum, frame by frame"] = [
            templates.read(frames) for frames in dataset.test.as_spoken
        ]
    return found
