"""Harder to train: which seeds and learning rates reach a bar, by depth.

The bar is what a table of pairs of characters knows: the nats a character of the Witten-Bell
model of order 2, on the same validation text. A network that is above it after its steps has
made nothing of all characters but the last one. All depths have the same units a layer, steps
and text. Gradients are those of the first step, before anything is clipped: their norm by the
layer's parameters, of which the lowest over the highest layer tells how they fade or grow.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.depth.characters import (
    Window,
    load_text,
    nats_of,
    next_character,
    pair_nats,
    windows,
)
from experiments.depth.intervals import over_seeds
from experiments.depth.network import make_network, size_of
from experiments.depth.record import Rows
from experiments.depth.settings import Trainable
from experiments.depth.train import Members, grid, quickly, train_members
from experiments.text_generation.data import Data

_ROWS, _LENGTH = 32, 160  # of the validation text


def rows(settings: Trainable) -> tuple[Rows, dict[str, Any]]:
    """Return what measures each row, and the bar."""
    data = load_text(settings.data, settings.data_dir)
    window = windows(data.valid, _ROWS, _LENGTH)
    bar = pair_nats(data, data.valid)
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
    """Train all seeds at all rates, and count those below the bar."""
    vocab_size, rates = len(data.vocabulary), settings.learning_rates
    rnn = make_network(cell, depth, settings.hidden_size, vocab_size, helped_by)
    learner = next_character(rnn, vocab_size, settings.batch_size, settings.length)
    keys, all_rates = grid(settings.num_seeds, rates)
    text = jnp.asarray(data.train)
    members = train_members(learner, text, keys, all_rates, steps=settings.steps)
    nats, norms = _evaluate(rnn, vocab_size, members, window)
    of_pairs = np.asarray(nats).reshape(settings.num_seeds, len(rates))
    reached = of_pairs < bar  # a NaN has not
    worst = np.log(vocab_size)
    norms = np.asarray(norms)[:: len(rates)]  # all rates of a seed begin alike
    return {
        "cell": cell,
        "helped_by": helped_by,
        "num_layers": depth,
        "parameters": size_of(rnn, vocab_size),
        "reached": over_seeds(reached.mean(axis=1)),
        "reached_by_rate": dict(zip(map(str, rates), reached.mean(axis=0).tolist(), strict=True)),
        "best_nats": over_seeds(np.where(np.isnan(of_pairs), worst, of_pairs).min(axis=1)),
        "gradient_norms": norms.mean(axis=0).tolist(),
        "log10_lowest_over_highest": over_seeds(np.log10(norms[:, 0] / norms[:, -1])),
    }


@quickly(static_argnums=(0, 1))
def _evaluate(rnn: Any, vocab_size: int, members: Members, window: Window) -> Any:
    """Return each member's nats after its training, and its gradients' norms before it."""
    window = Window(*map(jnp.asarray, window))
    nats = jax.vmap(lambda params: nats_of(rnn, vocab_size, params, window))(members.params)
    norms = jax.vmap(lambda params: gradient_norms(rnn, vocab_size, params, window))
    return nats, norms(members.start)


def gradient_norms(rnn: Any, vocab_size: int, params: Any, window: Window) -> jax.Array:
    """Return the norm of the loss's gradient by each layer's parameters, `[L]`."""
    gradient = jax.grad(lambda p: nats_of(rnn, vocab_size, p, window))(params)

    def norm(tree: Any) -> jax.Array:
        return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))

    return jnp.stack([norm(layer.cell) for layer in gradient.layers])
