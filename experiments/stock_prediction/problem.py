"""M models side by side, of days or of hours: model m is seed m % S of fold m // S.

They are alike but for their seed and, in a walk forward, their fold. None sees another, and
each is stopped by its own validation: its parameters are those of the evaluation where its
own loss was smallest.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.common.experiment import Problem, keys_of
from experiments.common.fit import Scalars
from experiments.common.updates import LossFn
from experiments.stock_prediction.config import Config

# From parameters `[M, ...]` to each model's loss `[M]`, and means over models to be recorded.
ValidateFn = Callable[[Any], tuple[NDArray[np.float64], Scalars]]


def model_names(config: Config, facts: Mapping[str, Any]) -> list[str]:
    """Return a name for each model, in their order."""
    folds, seeds = range(facts["num_folds"]), range(config.num_seeds)
    return [f"fold{f + 1}_seed{s}" for f in folds for s in seeds]


def model_keys(config: Config, facts: Mapping[str, Any]) -> jax.Array:
    """Return the key of each model, `[M]`: of its seed, and of its fold."""
    folds, seeds = np.divmod(np.arange(facts["num_folds"] * config.num_seeds), config.num_seeds)
    return jax.vmap(jax.random.fold_in)(keys_of(config.seed + seeds), jnp.asarray(folds))


def problem_of_all(
    names: list[str], loss_fn: LossFn, batch_at: Callable[[int], Any], validate: ValidateFn
) -> Problem:
    """Return what the training loop asks.

    Args:
      names: of the models, M of them.
      loss_fn: of one model.
      batch_at: the batch of a step, leaves `[M, ...]`.
      validate: of all models.
    """

    def evaluate(params: Any) -> dict[str, float]:
        losses, means = validate(params)
        each = {f"validation_{name}": float(v) for name, v in zip(names, losses, strict=True)}
        return {"validation_loss": float(losses.mean()), **means, **each}

    def show(record: Scalars) -> str:
        words = [f"loss: train {record['train_loss']:.4f}"]
        if "validation_loss" in record:
            words.append(f"validation {record['validation_loss']:.4f}")
        return ", ".join(words)

    return Problem(loss_fn, batch_at, evaluate, selection="validation_loss", show=show)
