"""A trained model with all that it takes to turn a recording into text."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common.checkpoints import Restored
from experiments.common.errors import InputError
from experiments.common.records import RESULT_FILE, read_json
from experiments.common.run_folder import read_run, restore_best
from experiments.common.settings import config_from_dict, differing_fields
from experiments.common.updates import evaluated_params
from experiments.speech_recognition.alphabet import Alphabet
from experiments.speech_recognition.config import FREE_ON_RESUME, Config
from experiments.speech_recognition.data import Dataset
from experiments.speech_recognition.decode import Fusion
from experiments.speech_recognition.features import Moments
from experiments.speech_recognition.model import Model, ModelParams, acoustic_model
from experiments.speech_recognition.ngrams import Automaton, character_ngram
from experiments.speech_recognition.run import initial_train_state
from experiments.speech_recognition.words import word_bigram

# Where a run has not measured what is best on its validation part.
DEFAULT_FUSION = Fusion(0.5, 0.5)


class Recognizer(NamedTuple):
    """A trained model."""

    config: Config
    alphabet: Alphabet
    sample_rate: int  # Hz
    longest: float  # seconds of the longest training utterance
    moments: Moments  # of the training part
    model: Model
    params: ModelParams
    language_model: Automaton
    fusion: Fusion
    restored: Restored  # its checkpoint: step and meta data


def described(dataset: Dataset) -> dict[str, Any]:
    """Return what a run's file has to hold for `load_recognizer`, as JSON."""
    corpus, moments = dataset.corpus, dataset.moments
    samples = max(len(utterance.wave) for utterance in corpus.splits.train)
    return {
        "characters": dataset.alphabet.characters,
        "sample_rate": corpus.sample_rate,
        "longest_seconds": samples / corpus.sample_rate,
        "mean": [float(value) for value in moments.mean],
        "deviation": [float(value) for value in moments.deviation],
        "transcripts": list(dataset.train.texts),
    }


def load_recognizer(
    workdir: Path, warn: Callable[[str], None] = print, *, config: Config | None = None
) -> Recognizer:
    """Read the best undamaged checkpoint of a run: the one of the best validation.

    Args:
      workdir: the run's folder.
      warn: is given one line for each damaged checkpoint.
      config: the run's settings, where another beam or n-gram model is wanted; None:
        those it was started with.

    Raises:
      InputError: the folder holds no run, or no checkpoint that can be read, the
        model was trained with other settings than `config`, or the n-gram model that it
        asks for would fill the memory.
    """
    run = read_run(workdir)
    config = config or config_from_dict(Config, run["config"])
    names = differing_fields(config, run["config"], FREE_ON_RESUME)
    if names:
        options = ", ".join("--" + name.replace("_", "-") for name in names)
        raise InputError(
            f"load_recognizer: the model in {workdir} was trained with other settings; leave "
            f"{options} away"
        )
    alphabet = Alphabet(run["characters"])
    model = acoustic_model(config, alphabet.size)
    target = jax.eval_shape(lambda: initial_train_state(config, model))
    restored = restore_best(workdir, target, warn)
    return Recognizer(
        config=config,
        alphabet=alphabet,
        sample_rate=run["sample_rate"],
        longest=run["longest_seconds"],
        moments=Moments(*(np.array(run[name], np.float32) for name in ("mean", "deviation"))),
        model=model,
        params=evaluated_params(restored.state, config.ema_decay),
        language_model=make_language_model(config, alphabet, run["transcripts"]),
        fusion=_fusion_of(workdir, config),
        restored=restored._replace(state=None),
    )


def _fusion_of(workdir: Path, config: Config) -> Fusion:
    """Return what a finished run chose for this n-gram model, else the default."""
    if not (workdir / RESULT_FILE).is_file():
        return DEFAULT_FUSION
    result = read_json(workdir / RESULT_FILE)
    of_this = all(
        getattr(config, name) == result["config"][name] for name in ("ngram", "ngram_order")
    )
    return Fusion(**result["fusion"]) if of_this else DEFAULT_FUSION


def make_language_model(
    config: Config, alphabet: Alphabet, transcripts: Sequence[str]
) -> Automaton:
    """Return the n-gram model that a config asks for.

    Raises:
      InputError: it would fill the memory.
    """
    if config.ngram == "word":
        return word_bigram(transcripts, alphabet)
    return character_ngram(transcripts, alphabet, config.ngram_order)
