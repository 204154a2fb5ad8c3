"""Harder to train: which seeds and learning rates reach a bar, by depth.

The bar is what a table of pairs of characters knows: the nats a character of the Witten-Bell
model of order 2, on the very characters of the validation text that the networks are measured
on. A network that is above it after its steps is no better than one that knows the last
character alone. All depths have the same units a layer, steps and text. Gradients are those of
the first step, before anything is clipped: their norm by the layer's parameters, of which the
lowest over the highest layer says how they fade or grow.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.compiling import quickly
from experiments.common.intervals import over_seeds
from experiments.depth.characters import (
    Window,
    load_text,
    nats_of,
    next_character,
    pair_nats,
    windows,
)
from experiments.depth.network import make_network, size_of
from experiments.depth.record import Rows
from experiments.depth.settings import Trainable
from experiments.depth.train import first_gradients, grid, train_members
from experiments.text_generation.data import Data

_ROWS, _LENGTH = 32, 160  # of the validation text


def rows(settings: Trainable) -> tuple[Rows, dict[str, Any]]:
    """Return what measures each row, and the bar."""
    data = load_text(settings.data, settings.data_dir)
    window = windows(data.valid, _ROWS, _LENGTH)
    bar = pair_nats(data, _ROWS, _LENGTH)
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for cell in settings.cells:
        for helped_by in settings.helps:
            for depth in settings.depths:
                # A single layer has nothing around it.
                if depth > 1 or helped_by not in ("residual", "highway"):
                    name = f"{cell}, {helped_by}, {depth}"
                    args = settings, data, window, bar, cell, helped_by, depth
                    made[name] = partial(row, *args)
    return made, {"bar_nats": bar}


def row(
    settings: Trainable,
    data: Data,
    window: Window,
    bar: float,
    cell: str,
    helped_by: str,
    depth: int,
) -> dict[str, Any]:
    """Train all seeds at all rates, and say which come below the bar."""
    vocab_size, rates = len(data.vocabulary), settings.learning_rates
    rnn = make_network(cell, depth, settings.hidden_size, vocab_size, helped_by)
    learner = next_character(rnn, vocab_size, settings.batch_size, settings.length)
    keys, all_rates = grid(settings.num_seeds, rates)
    text = jnp.asarray(data.train)
    members = train_members(learner, text, keys, all_rates, steps=settings.steps)
    nats = np.asarray(_nats_of_each(rnn, vocab_size, members.params, window))
    nats = nats.reshape(settings.num_seeds, len(rates))
    reached = nats < bar  # a NaN has not
    worst = np.log(vocab_size)
    of_seeds = slice(None, None, len(rates))  # all rates of a seed begin alike
    start = jax.tree.map(lambda leaf: leaf[of_seeds], members.start)
    norms = np.asarray(norms_of(first_gradients(learner, text, keys[of_seeds], start)))
    return {
        "cell": cell,
        "helped_by": helped_by,
        "num_layers": depth,
        "parameters": size_of(rnn, vocab_size),
        "learning_rates": list(rates),
        "reached": reached.tolist(),  # [seeds, rates]
        "best_nats": over_seeds(np.where(np.isnan(nats), worst, nats).min(axis=1)),
        "gradient_norms": norms.mean(axis=0).tolist(),
        "log10_lowest_over_highest": over_seeds(np.log10(norms[:, 0] / norms[:, -1])),
    }


@quickly(static_argnums=(0, 1))
def _nats_of_each(rnn: Any, vocab_size: int, params: Any, window: Window) -> jax.Array:
    window = Window(*map(jnp.asarray, window))
    return jax.vmap(lambda one: nats_of(rnn, vocab_size, one, window))(params)


def norms_of(gradients: Any) -> jax.Array:
    """Return the norms of gradients `[M, ...]` by each layer's parameters, `[M, L]`."""

    def norm(tree: Any) -> jax.Array:
        squares = [jnp.sum(leaf.reshape(len(leaf), -1) ** 2, axis=1) for leaf in tree]
        return jnp.sqrt(sum(squares))

    layers = [norm(jax.tree.leaves(layer.cell)) for layer in gradients.layers]
    return jnp.stack(layers, axis=1)
