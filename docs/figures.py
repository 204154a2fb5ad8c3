"""The gallery's figures and where they stand in the records: a test holds the page to them."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from docs.extensions.repository import ROOT

RESULTS = ROOT / "experiments" / "results"


class Figure(NamedTuple):
    """Where a figure stands."""

    record: str  # a file below experiments/results
    path: tuple[Any, ...]  # keys, indices; a pair finds a row by a value; "*": the mean of all
    form: str = "{:.3f}"


def _probe(network: str, label: str, layer: int) -> Figure:
    path = ("rows", "*", network, "probes", label, "accuracy", layer)
    return Figure("depth/refine/refine.json", path, "{:.1%}")


def _reached(network: str) -> Figure:
    path = ("rows", network, "reached", "*", "*")
    return Figure("depth/trainable/trainable.json", path, "{:.0%}")


def _test(record: str, method: str, score: str, form: str) -> Figure:
    return Figure(record, ("test", "methods", method, score, "value"), form)


_PYDOC = "text_generation/pydoc/result.json"
_SHAKESPEARE = "text_generation/tinyshakespeare/result.json"
_PTB = "text_generation/ptb_small/result.json"
_AN4 = "speech_recognition/an4/result.json"
_FSDD = "speech_recognition/fsdd/result.json"
_DEPTH = "speech_recognition/depth/depth.json"
_MULTI30K = "machine_translation/multi30k/result.json"
_ATTENTION = "machine_translation/findings-multi30k/findings.json"
_JSB = "music_generation/jsb/result.json"
_NOTTINGHAM = "music_generation/nottingham/result.json"
_ACL18 = "stock_prediction/acl18/result.json"
_ETTH1 = "stock_prediction/etth1/result.json"
_PARITY = "long_memory/parity/comparison.json"
_S3 = "long_memory/s3/comparison.json"
_TMAZE = "reinforcement_learning/tmaze/comparison.json"
_LORENZ = "lorenz/lorenz.json"
_RL_SPEED = "reinforcement_learning/speed.json"

# In the order in which the page has them.
FIGURES: Mapping[str, Figure] = {
    "pydoc_parameters": Figure(_PYDOC, ("parameters",), "{:,}"),
    "pydoc_nats": Figure(_PYDOC, ("validation_nats",)),
    "pydoc_seconds": Figure(_PYDOC, ("seconds",), "{:.0f}"),
    "shakespeare_nats": Figure(_SHAKESPEARE, ("validation_nats",)),
    "shakespeare_baseline": Figure(_SHAKESPEARE, ("validation_baseline_nats", "5")),
    "ptb_perplexity": Figure(_PTB, ("test_perplexity",), "{:.2f}"),
    "an4_cer": Figure(_AN4, ("decoders", "greedy", "test", "cer"), "{:.2%}"),
    "an4_wer": Figure(_AN4, ("decoders", "greedy", "test", "wer"), "{:.2%}"),
    "an4_ngram_cer": Figure(_AN4, ("decoders", "ngram", "test", "cer"), "{:.2%}"),
    "fsdd_cer": Figure(_FSDD, ("decoders", "greedy", "test", "cer"), "{:.2%}"),
    "fsdd_wrong": Figure(_FSDD, ("decoders", "greedy", "test", "sentence"), "{:.1%}"),
    "depth_cer_1": Figure(_DEPTH, ("rows", ("layers", 1), "test_cer"), "{:.1%}"),
    "depth_cer_5": Figure(_DEPTH, ("rows", ("layers", 5), "test_cer"), "{:.1%}"),
    "multi30k_bleu": Figure(_MULTI30K, ("test", "beam"), "{:.2f}"),
    "multi30k_words": Figure(_MULTI30K, ("baselines", "word by word"), "{:.2f}"),
    "bleu_bahdanau": Figure(
        _ATTENTION, ("rows", ("name", "Bahdanau's attention"), "score"), "{:.2f}"
    ),
    "bleu_none": Figure(_ATTENTION, ("rows", ("name", "no attention"), "score"), "{:.2f}"),
    "jsb_nll": Figure(_JSB, ("test_nll",)),
    "jsb_markov": Figure(_JSB, ("test_baselines", "Markov chain a note"), "{:.2f}"),
    "nottingham_nll": Figure(_NOTTINGHAM, ("test_nll",)),
    "acl18_accuracy": _test(_ACL18, "network", "accuracy", "{:.2%}"),
    "acl18_up": _test(_ACL18, "always up", "accuracy", "{:.2%}"),
    "etth1_mse": _test(_ETTH1, "network", "mse", "{:.3f}"),
    "etth1_linear": _test(_ETTH1, "linear (ridge)", "mse", "{:.3f}"),
    "etth1_persistence": _test(_ETTH1, "persistence", "mse", "{:.3f}"),
    "s3_gru": Figure(_S3, ("rows", ("cell", "gru"), "test", "accuracy_2048", "mean"), "{:.1%}"),
    "s3_min_gru": Figure(
        _S3, ("rows", ("cell", "min_gru"), "test", "accuracy_2048", "mean"), "{:.1%}"
    ),
    "parity_gru": Figure(
        _PARITY, ("rows", ("cell", "gru"), "test", "accuracy_2048", "mean"), "{:.1%}"
    ),
    "tmaze_gru": Figure(_TMAZE, ("rows", 0, "return", "mean"), "{:.2f}"),
    "tmaze_best": Figure(_TMAZE, ("rows", 0, "levels", "best"), "{:.2f}"),
    "tmaze_without": Figure(_TMAZE, ("rows", 0, "levels", "without memory"), "{:.2f}"),
    "ppo_ratio": Figure(_RL_SPEED, ("rows", 0, "ratio"), "{:.2f}"),
    **{f"next_{layer}": _probe("trained", "next", layer) for layer in range(5)},
    "word_1": _probe("trained", "word", 1),
    "word_4": _probe("trained", "word", 4),
    "word_untrained_4": _probe("untrained", "word", 4),
    "reached_lstm_1": _reached("lstm, none, 1"),
    "reached_lstm_16": _reached("lstm, none, 16"),
    "reached_lstm_norm_16": _reached("lstm, layer_norm, 16"),
    "reached_lstm_highway_16": _reached("lstm, highway, 16"),
    "reached_lstm_residual_16": _reached("lstm, residual, 16"),
    "lorenz_exponent": Figure(_LORENZ, ("exponents", 0, "mean"), "{:.4f}"),
    "lorenz_half": Figure(_LORENZ, ("exponents", 0, "half"), "{:.4f}"),
    "lorenz_published": Figure(_LORENZ, ("published", 0), "{}"),
}


def figures() -> dict[str, str]:
    """Give every figure as it is to be read.

    Raises:
      KeyError: a record has no such place.
    """
    records = {one.record for one in FIGURES.values()}
    read = {name: json.loads((RESULTS / name).read_text(encoding="utf-8")) for name in records}
    return {name: one.form.format(_at(read[one.record], one.path)) for name, one in FIGURES.items()}


def _at(found: Any, path: Sequence[Any]) -> Any:
    if not path:
        return found
    key, *rest = path
    if key == "*":
        rows = found.values() if isinstance(found, Mapping) else found
        return fmean(_at(one, rest) for one in rows)
    if isinstance(key, tuple):
        found = {row[key[0]]: row for row in found}
        key = key[1]
    return _at(found[key], rest)
