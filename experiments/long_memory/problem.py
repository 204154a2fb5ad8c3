"""What is learned, by M models side by side, alike but for their seed.

Each draws its own sequences, none sees another, and each is stopped by its own validation.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.experiment import Problem, keys_of
from experiments.common.optimizers import Optimizer, adamw_of
from experiments.long_memory.config import Config
from experiments.long_memory.data import Data
from experiments.long_memory.model import Model
from experiments.long_memory.tasks import Examples

_STEPS_AT_ONCE = 2**16  # steps of all rows that a compiled call is given

# What says how long a state is kept, by its names in `lru` and `s5`. Their authors give it a
# quarter of the learning rate, or half of it.
_SLOW = frozenset({"nu", "theta", "gamma", "lambda_re", "lambda_im", "log_step"})


class Scores(NamedTuple):
    """How right answers are, `[..., K, N]` each."""

    loss: Any  # nats, or squared errors
    right: Any  # whether the most probable class is right; of numbers, False


def model_names(config: Config, facts: Mapping[str, Any]) -> list[str]:
    """Return a name for each model."""
    return [f"seed{config.seed + s}" for s in range(config.num_seeds)]


def model_keys(config: Config, facts: Mapping[str, Any]) -> jax.Array:
    """Return the key of each model, `[M]`."""
    return keys_of(config.seed + np.arange(config.num_seeds))


def score(outputs: jax.Array, answers: jax.Array) -> Scores:
    """Compare outputs `[K, N, C]` with classes, or `[K, N, 1]` with numbers."""
    if jnp.issubdtype(answers.dtype, jnp.floating):
        error = (outputs[..., 0] - answers) ** 2
        return Scores(error, jnp.zeros_like(error, bool))
    nats = optax.softmax_cross_entropy_with_integer_labels(outputs, answers)
    return Scores(nats, outputs.argmax(axis=-1) == answers)


def make_problem(config: Config, data: Data, model: Model) -> Problem:
    """Return the loss, the batches and the validation."""

    def loss_fn(
        params: Any, batch: Examples, carry: None, key: jax.Array | None
    ) -> tuple[jax.Array, None]:
        return _scores(model, params, batch, key).loss.mean(), carry

    def batch_at(step: int) -> Examples:
        drawn = [data.draw(config.seed + s, step) for s in range(config.num_seeds)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)

    def evaluate(params: Any) -> dict[str, float]:
        losses = score_all(model, params, data.valid).loss.mean(axis=(1, 2))
        names = model_names(config, data.facts)
        each = {f"validation_{n}": v for n, v in zip(names, losses.tolist(), strict=True)}
        return {"validation_loss": float(losses.mean()), **each}

    def show(record: Mapping[str, float]) -> str:
        shown = (n for n in ("train_loss", "validation_loss") if n in record)
        return "   ".join(f"{name.replace('_', ' ')} {record[name]:.4f}" for name in shown)

    return Problem(loss_fn, batch_at, evaluate, selection="validation_loss", show=show)


def optimizer(config: Config) -> Optimizer:
    """Return AdamW, slower on what says how long a state is kept."""

    def is_slow(params: Any) -> Any:
        def named(path: tuple[Any, ...], leaf: jax.Array) -> bool:
            return jax.tree_util.keystr(path[-1:], simple=True) in _SLOW

        return jax.tree_util.tree_map_with_path(named, params)

    adamw, schedule = adamw_of(config)
    return optax.chain(adamw, optax.masked(optax.scale(0.25), is_slow)), schedule


def _scores(model: Model, params: Any, batch: Examples, key: jax.Array | None = None) -> Scores:
    at = len(batch.answers) if batch.at is None else jnp.asarray(batch.at)
    outputs = model.apply(params, jnp.asarray(batch.x), at, key)
    return score(outputs, jnp.asarray(batch.answers))


# Compiled once for a model, in training and when it is measured.
@partial(jax.jit, static_argnums=0)
def _scores_of_each(model: Model, params: Any, batch: Examples) -> Scores:
    return jax.vmap(partial(_scores, model), in_axes=(0, None))(params, batch)


def score_all(model: Model, params: Any, examples: Examples) -> Scores:
    """Return the scores `[M, K, N]` of all models on any number of rows, without dropout."""
    steps, number = examples.x.shape[:2]
    rows = min(number, max(1, _STEPS_AT_ONCE // steps))
    parts: list[Scores] = []
    for first in range(0, number, rows):
        # One shape, one program: the last part is filled up with rows that have been.
        chosen = np.arange(first, first + rows) % number
        part = jax.tree.map(lambda leaf: leaf[:, chosen], examples)  # noqa: B023
        found = jax.device_get(_scores_of_each(model, params, part))
        parts.append(jax.tree.map(lambda leaf: leaf[..., : number - first], found))  # noqa: B023
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=-1), *parts)
