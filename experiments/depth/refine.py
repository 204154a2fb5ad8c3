"""What each layer knows: linear probes of all layers, before and after learning to predict.

A network learns the next character. On text it has not seen, labels of each character
(`features`) are predicted from each layer's h by a linear probe, cross-validated over stretches
of the text. Layer 0 is the one-hot character itself. Beside it: the same probes of the network
as it was drawn, which show what depth gives without learning; shuffled labels; the similarity of
the layers (linear CKA); how far back the gradient of the last loss reaches, by layer: the lag
from which on its norm is below `FRACTION` of what it is at the last step.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import deeprnn_jax as drnn
from deeprnn_jax import analysis
from experiments.common.compiling import quickly
from experiments.common.experiment import keys_of
from experiments.depth.characters import (
    Window,
    load_text,
    nats_of,
    next_character,
    places,
    windows,
)
from experiments.depth.features import Labels, labels_of
from experiments.depth.network import as_input, layers_of, make_network, size_of
from experiments.depth.record import Rows
from experiments.depth.settings import Refine
from experiments.depth.train import train_members
from experiments.text_generation.data import Data

FRACTION = 0.01  # of the gradient's norm, where the memory horizon is
FACTS = {"probe": "linear discriminant"}  # what `analysis.probe` fits
_WARM = 0.2  # of each row, read but not probed


def rows(settings: Refine) -> tuple[Rows, dict[str, Any]]:
    """Return what measures each seed."""
    data = load_text(settings.data, settings.data_dir)
    measure = partial(row, settings, data)
    return {f"seed {seed}": partial(measure, seed) for seed in range(settings.num_seeds)}, FACTS


def row(settings: Refine, data: Data, seed: int) -> dict[str, Any]:
    """Train one network, and probe it and what it was at first."""
    vocab_size = len(data.vocabulary)
    rnn = make_network(settings.cell, settings.num_layers, settings.hidden_size, vocab_size)
    learner = next_character(rnn, vocab_size, settings.batch_size, settings.length)
    rates, text = jnp.full(1, settings.learning_rate), jnp.asarray(data.train)
    members = train_members(learner, text, keys_of([seed]), rates, steps=settings.steps)
    window, labels = probed_text(settings, data)
    found: dict[str, Any] = {"parameters": size_of(rnn, vocab_size)}
    for name, params in (("trained", members.params), ("untrained", members.start)):
        params = jax.tree.map(lambda leaf: leaf[0], params)
        seen = _look(rnn, vocab_size, params, window)
        found[name] = {
            "nats": float(seen["nats"]),
            "horizon": np.asarray(seen["horizon"]).tolist(),
            "beyond": np.asarray(seen["beyond"]).tolist(),
            "similarity": np.asarray(seen["similarity"]).tolist(),
            "probes": probes(seen["layers"], labels, jax.random.key(seed)),
        }
    return found


def probed_text(settings: Refine, data: Data) -> tuple[Window, dict[str, Labels]]:
    """Return rows of the validation text, and their labels `[T, B]` without the first steps."""
    shape = settings.probe_rows, settings.probe_length
    at = places(len(data.valid), shape[0], shape[1] + 1)[:-1]
    at, text = at[int(_WARM * shape[1]) :], data.vocabulary.decode(data.valid)
    labels = {
        name: Labels(one.classes[at], one.num_classes, one.counted[at])
        for name, one in labels_of(text, settings.features).items()
    }
    return windows(data.valid, *shape), labels


@quickly(static_argnums=(0, 1))
def _look(rnn: drnn.DeepRNN, vocab_size: int, params: Any, window: Window) -> dict[str, Any]:
    """Return the nats, all layers `[1 + L, T, B, W]`, their similarity, and the memory horizons.

    These are the mean over the rows `[L]`; `beyond` is the share of rows in which the gradient
    never fell so low, whose horizon is therefore the whole row.
    """
    x, labels = as_input(jnp.asarray(window.x), vocab_size), jnp.asarray(window.labels)
    states = layers_of(rnn, params, x)

    layers = with_input(x, states)[:, int(_WARM * len(x)) :]

    def last_nats(logits: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[-1]).sum()

    memory = analysis.memory_horizon(rnn, params, x, last_nats, fraction=FRACTION)
    return {
        "nats": nats_of(rnn, vocab_size, params, window),
        "layers": layers,
        "similarity": likeness(layers),
        "horizon": memory.horizon.mean(axis=1),
        "beyond": (memory.horizon == len(x)).mean(axis=1),
    }


def with_input(x: jax.Array, states: jax.Array) -> jax.Array:
    """Return what a network reads as a layer below its own, `[1 + L, T, B, W]`.

    The narrower is filled up with zeros, which a probe gives no weight.
    """
    width = max(x.shape[-1], states.shape[-1])

    def filled(one: jax.Array) -> jax.Array:
        return jnp.pad(one, [(0, 0)] * (one.ndim - 1) + [(0, width - one.shape[-1])])

    return jnp.concatenate([filled(x)[None], filled(states)])


def likeness(layers: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Return the linear CKA of all pairs of layers, `[1 + L, 1 + L]`."""

    def alike(a: jax.Array, b: jax.Array) -> jax.Array:
        return analysis.similarity(a, b, mask=mask)

    return jax.vmap(jax.vmap(alike, (None, 0)), (0, None))(layers, layers)


def probes(
    layers: jax.Array, labels: Mapping[str, Labels], key: jax.Array, folds: Any = None
) -> dict[str, Any]:
    """Return by feature the accuracy of each layer `[1 + L]`, and that with shuffled labels.

    Args:
      layers: `[1 + L, T, B, W]`.
      labels: by feature, `[T, B]`.
      key: for the shuffling.
      folds: int `[T, B]`; None: stretches of the steps.
    """
    most = max(one.num_classes for one in labels.values())  # of all: one program
    found = {
        name: _probe(most, layers, one.classes, one.counted, key, folds)
        for name, one in labels.items()
    }
    return {
        name: {
            "accuracy": np.asarray(one.accuracy).tolist(),
            "baseline": float(np.mean(one.baseline)),
            "counted": int(labels[name].counted.sum()),
        }
        for name, one in found.items()
    }


@quickly(static_argnums=0)
def _probe(num_classes: int, layers: Any, classes: Any, counted: Any, key: Any, folds: Any) -> Any:
    def of_layer(layer: jax.Array) -> analysis.Probe:
        return analysis.probe(layer, classes, num_classes, key, mask=counted, folds=folds)

    return jax.lax.map(of_layer, layers)
