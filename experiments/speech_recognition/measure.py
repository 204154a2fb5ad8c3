"""What a finished run came to: each way of decoding, and the baselines, on each part."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from experiments.speech_recognition import baselines, decode
from experiments.speech_recognition.data import Dataset, log_mel
from experiments.speech_recognition.decode import BeamSearch, Fusion, Outputs
from experiments.speech_recognition.ngrams import Automaton
from experiments.speech_recognition.recognizer import Recognizer
from experiments.speech_recognition.run import Run, outputs_of
from experiments.speech_recognition.scores import cer_interval, score

# What is tried on the validation part for the language model's weight and the bonus.
_WEIGHTS, _BONUSES = (0.2, 0.4, 0.6, 0.8, 1.0), (0.0, 0.5, 1.0, 1.5)


class Findings(NamedTuple):
    """What a run came to."""

    decoders: dict[str, Any]  # by decoder and part: error rates, on the test part an interval
    baselines: dict[str, Any]  # by name, error rates on the test part
    fusion: Fusion  # chosen on the validation part
    texts: dict[str, list[str]]  # by decoder, of the test part
    outputs: Outputs  # of the test part


def measure(run: Run, recognizer: Recognizer) -> Findings:
    """Decode validation and test part in three ways, and ask the baselines.

    Args:
      run: the run.
      recognizer: its model of the best validation; it alone sees the test part.
    """
    dataset, config = run.dataset, run.config
    valid = outputs_of(run, recognizer.params, dataset.valid)
    test = outputs_of(run, recognizer.params, dataset.test)
    alone = BeamSearch(dataset.alphabet, config.beam_size)
    fused = BeamSearch(dataset.alphabet, config.beam_size, recognizer.language_model)
    fusion = choose_fusion(fused, valid, dataset.valid.texts)
    texts = {
        "greedy": [decode.greedy(part, dataset.alphabet) for part in (valid, test)],
        "beam": [alone(part) for part in (valid, test)],
        "ngram": [fused(part, fusion) for part in (valid, test)],
    }
    decoders = {
        name: {
            "validation": score(dataset.valid.texts, of_valid)._asdict(),
            "test": {
                **score(dataset.test.texts, of_test)._asdict(),
                "cer_interval": list(cer_interval(dataset.test.texts, of_test)),
            },
        }
        for name, (of_valid, of_test) in texts.items()
    }
    guesses = guess(dataset, config.num_bands, recognizer.language_model)
    return Findings(
        decoders=decoders,
        baselines={n: score(dataset.test.texts, g)._asdict() for n, g in guesses.items()},
        fusion=fusion,
        texts={name: of_test for name, (_, of_test) in texts.items()},
        outputs=test,
    )


def choose_fusion(search: BeamSearch, valid: Outputs, references: Sequence[str]) -> Fusion:
    """Return weight and bonus of the smallest error on the validation part.

    Of equal ones the first: the language model then says as little as possible.
    """
    tried = [Fusion(*pair) for pair in product(_WEIGHTS, _BONUSES)]
    return min(tried, key=lambda fusion: score(references, search(valid, fusion)).cer)


def guess(dataset: Dataset, num_bands: int, language_model: Automaton) -> Mapping[str, list[str]]:
    """Return the baselines' texts for the test part, by name."""
    train, references = dataset.train, dataset.test.texts
    found = {
        "most frequent transcript": baselines.most_frequent(train.texts, references),
        "n-gram's best text of the right length": baselines.most_probable(
            language_model, dataset.alphabet, references
        ),
    }
    utterances = dataset.corpus.splits.train
    if all(utterance.segments for utterance in utterances):
        spectrogram = log_mel(dataset.corpus.sample_rate, num_bands)
        templates = baselines.Templates(spectrogram, utterances, train.copies[train.as_spoken])
        templates.tune(dataset.valid.texts, dataset.valid.copies[0])
        found["nearest mean spectrum, frame by frame"] = [
            templates.read(frames) for frames in dataset.test.copies[0]
        ]
    return found
