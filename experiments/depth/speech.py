"""What each layer of a network trained on speech knows: of the sound, the letter, the word.

| label of a step (30 ms) | from |
|---|---|
| `sound` | the nearest of K mean spectra of the utterances probed (k-means): what is heard |
| `letter` | the letter that the network writes nearest in time |
| `word` | the word that this letter belongs to, of the 20 most frequent |

Letters are placed by the network's own alignment of the transcript: the CTC loss's gradient by
the logits is p - γ, γ being how probable it is that a label is written at a step. Utterances
whose most probable alignment is not their transcript, those in which the network errs, have no
letters and words here: the record counts them, and accuracies are those of the others. The last
layer, which γ is computed from, has an advantage in letters. The network reads in both
directions; one network, and groups of speakers that it has not heard take the place of seeds.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.cluster.vq import kmeans2

from experiments.common.compiling import quickly
from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.common.records import newest_run
from experiments.common.training import load_trained
from experiments.depth.features import Labels
from experiments.depth.record import Rows
from experiments.depth.refine import FACTS, likeness, probes, with_input
from experiments.depth.settings import Speech
from experiments.speech_recognition.alphabet import BLANK
from experiments.speech_recognition.batches import Examples, pad
from experiments.speech_recognition.data import load
from experiments.speech_recognition.experiment import EXPERIMENT
from experiments.speech_recognition.model import stack_frames
from experiments.speech_recognition.problem import ctc_loss

_GROUPS, _FOLDS, _MOST_WORDS = 4, 5, 20


def rows(settings: Speech) -> tuple[Rows, dict[str, Any]]:
    """Return what measures each group of speakers.

    Raises:
      InputError: there is no trained run.
    """
    folder = Path(settings.run) if settings.run else newest_run(EXPERIMENT.runs, _is_an4)
    if folder is None or not folder.is_dir():
        raise InputError(
            f"refine_speech: no trained run in {folder or EXPERIMENT.runs}; train one with "
            "python -m experiments.speech_recognition --preset an4, or name one by --run"
        )
    trained = load_trained(EXPERIMENT, folder)
    as_spoken = {"speeds": (1.0,), "data_dir": settings.data_dir}
    part = load(dataclasses.replace(trained.config, **as_spoken)).test
    speakers = [utterance.speaker for utterance in part.utterances]
    groups = np.array_split(np.array(sorted(set(speakers))), _GROUPS)
    look = cache(partial(_look_at_all, settings, trained, part))
    made = {
        f"speakers {i + 1}": partial(row, look, np.isin(speakers, group))
        for i, group in enumerate(groups)
    }
    return made, FACTS | {"network": network_of(trained)}


def network_of(trained: Trained) -> dict[str, Any]:
    """Return what says which network a record is of."""
    config = trained.config
    return {
        "cell": config.cell,
        "layers": config.num_layers,
        "units": config.hidden_size,
        "bidirectional": config.bidirectional,
        "seed": config.seed,
        "step": trained.best_step,
        "validation_cer": trained.best_value,
    }


def _is_an4(config: Any) -> bool:
    return config["data"] == "an4"


def row(look: Callable[[], Any], is_in: Any) -> dict[str, Any]:
    """Probe a group's utterances, by the trained network and by one as it is drawn."""
    seen, placed, aligned = look()
    chosen = {name: one._replace(counted=one.counted & is_in) for name, one in placed.items()}
    shape = placed["sound"].classes.shape
    folds = np.broadcast_to((np.cumsum(is_in) % _FOLDS).astype(np.int32), shape)  # whole utterances
    found: dict[str, Any] = {
        name: {
            "similarity": np.asarray(alike(one["layers"], chosen["sound"].counted)).tolist(),
            "probes": probes(one["layers"], chosen, jax.random.key(0), folds),
        }
        for name, one in seen.items()
    }
    return found | {"utterances": int(is_in.sum()), "left_out": int((is_in & ~aligned).sum())}


alike = quickly()(likeness)


def _look_at_all(settings: Speech, trained: Trained, part: Examples) -> tuple[Any, Any, Any]:
    """Return what the trained and the untrained network make of all utterances, and the labels.

    The last of three is which utterances are aligned, bool `[B]`.
    """
    frames, labels = part.as_spoken, part.labels
    batch = pad(frames, labels, [max(map(len, frames))], max(map(len, labels)))
    batch = jax.tree.map(jnp.asarray, batch)
    untrained = trained.model.init(jax.random.key(0))
    seen = {
        name: jax.device_get(_look(trained.model, params, batch))
        for name, params in (("trained", trained.params), ("untrained", untrained))
    }
    return seen, *_placed(settings, part, seen["trained"], trained.facts["characters"])


@quickly(static_argnums=0)
def _look(model: Any, params: Any, batch: Any) -> dict[str, Any]:
    """Return all layers, both directions side by side, and the alignment `[T, B, V]`."""
    x, lengths = (
        stack_frames(batch.frames, model.config.stack),
        -(-batch.num_frames // model.config.stack),
    )
    layers = model.rnn.inspect(params.rnn, x, lengths=lengths)[2]
    states = jnp.stack([jnp.concatenate(list(layer.state.h), axis=-1) for layer in layers])
    logits, _ = model.apply(params, batch.frames, batch.num_frames)

    def nats(logits: jax.Array) -> jax.Array:
        return ctc_loss(logits, lengths, batch.labels, batch.num_labels).sum()

    return {
        "layers": with_input(x, states),
        "aligned": jax.nn.softmax(logits) - jax.grad(nats)(logits),
        "lengths": lengths,
        "x": x,
    }


def _placed(
    settings: Speech, part: Examples, seen: dict[str, Any], characters: str
) -> tuple[dict[str, Labels], Any]:
    """Return the labels of all steps, `[T, B]`, and which utterances are aligned, `[B]`."""
    x, path = seen["x"], seen["aligned"].argmax(axis=-1)
    shape = path.shape
    real = np.arange(shape[0])[:, None] < seen["lengths"]
    sound = np.zeros(shape, np.int32)
    spectra = x[real]
    first = np.random.default_rng(0).choice(len(spectra), settings.num_classes, replace=False)
    _, sound[real] = kmeans2(spectra, spectra[first], minit="matrix")
    said = Counter(" ".join(part.texts).split())
    frequent = [word for word, _ in said.most_common(_MOST_WORDS)]
    letter, word = np.zeros(shape, np.int32), np.full(shape, -1, np.int32)
    aligned = np.zeros(shape, bool)
    for b, transcript in enumerate(part.labels):
        found = nearest_letters(path[: seen["lengths"][b], b], transcript)
        if found is None:
            continue
        text = "".join(characters[label - 1] for label in transcript)
        word_at = np.cumsum([c == " " for c in text])
        words = text.split(" ")
        steps = slice(0, len(found))
        aligned[steps, b] = np.array([text[i] != " " for i in found])
        letter[steps, b] = transcript[found]
        index = [frequent.index(w) if w in frequent else -1 for w in words]
        word[steps, b] = [index[word_at[i]] for i in found]
    labels = {
        "sound": Labels(sound, settings.num_classes, real),
        "letter": Labels(letter, 1 + len(characters), aligned),
        "word": Labels(np.maximum(word, 0), _MOST_WORDS, aligned & (word >= 0)),
    }
    return labels, aligned.any(axis=0)


def nearest_letters(path: Any, labels: Any) -> Any:
    """Return for each step the place in the transcript that is written nearest, or None.

    Args:
      path: int `[T]`, the most probable label of each step.
      labels: int `[N]`, the transcript.

    Example:
      >>> nearest_letters(np.array([0, 3, 3, 0, 0, 5]), np.array([3, 5])).tolist()
      [0, 0, 0, 0, 1, 1]
    """
    new = (path != BLANK) & (path != np.concatenate([[BLANK], path[:-1]]))
    at = np.flatnonzero(new)
    if not np.array_equal(path[at], labels):
        return None
    return np.abs(np.arange(len(path))[:, None] - at).argmin(axis=1)
