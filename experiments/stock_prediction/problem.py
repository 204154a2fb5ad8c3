"""M models side by side, of days or of hours: model m is seed m % S of fold m // S.

They are alike but for their seed and, in a walk forward, their fold. None sees another, and
each is stopped by its own validation: its parameters are those of the evaluation where its
own loss was smallest.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.common.experiment import keys_of
from experiments.stock_prediction.config import Config


def model_names(config: Config, facts: Mapping[str, Any]) -> list[str]:
    """Return a name for each model, in their order."""
    folds, seeds = range(facts["num_folds"]), range(config.num_seeds)
    return [f"fold{f + 1}_seed{s}" for f in folds for s in seeds]


def model_keys(config: Config, facts: Mapping[str, Any]) -> jax.Array:
    """Return the key of each model, `[M]`: of its seed, and of its fold."""
    folds, seeds = np.divmod(np.arange(facts["num_folds"] * config.num_seeds), config.num_seeds)
    return jax.vmap(jax.random.fold_in)(keys_of(config.seed + seeds), jnp.asarray(folds))


def of_each(
    config: Config, facts: Mapping[str, Any], losses: NDArray[np.floating]
) -> dict[str, float]:
    """Return the scalars of an evaluation: the mean of the losses `[M]`, and each model's own."""
    named = zip(model_names(config, facts), losses.tolist(), strict=True)
    return {"validation_loss": float(losses.mean())} | {f"validation_{n}": v for n, v in named}


def show(record: Mapping[str, float]) -> str:
    """Return a record in a few words, without each model's own."""
    words = [f"loss: train {record['train_loss']:.4f}"]
    if "validation_loss" in record:
        words.append(f"validation {record['validation_loss']:.4f}")
    return ", ".join(words)
