"""The optimisers that several experiments share."""

from typing import Any

import jax
import optax

from experiments.common.settings import TrainingSettings

Optimizer = tuple[optax.GradientTransformation, optax.Schedule]  # and its learning rate

# By name, not by rank: two directions, and stacked layers, add an axis to a bias as well.
MATRICES = frozenset({"w_x", "w_h", "w_p", "w", "kernel", "embedding"})


def warmup_cosine(settings: TrainingSettings) -> optax.Schedule:
    """Return the learning rate of each step: linear warm-up, then a cosine to zero."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if settings.warmup_steps else settings.learning_rate,
        peak_value=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        decay_steps=settings.steps,
    )


def adamw_of(settings: TrainingSettings, schedule: optax.Schedule | None = None) -> Optimizer:
    """Return AdamW behind a clipped global norm, and its learning rate of each step.

    Args:
      settings: rates, clipping and decays; weights decay on matrices only, not on biases.
      schedule: the learning rate of each step; None: `warmup_cosine`.
    """
    schedule = schedule or warmup_cosine(settings)
    adamw = optax.adamw(
        schedule, b2=settings.adam_b2, weight_decay=settings.weight_decay, mask=is_matrix
    )
    return optax.chain(optax.clip_by_global_norm(settings.clip_norm), adamw), schedule


def is_matrix(params: Any) -> Any:
    """Tell which leaves of a tree of parameters are matrices, which alone decay."""

    def named(path: tuple[Any, ...], leaf: jax.Array) -> bool:
        return jax.tree_util.keystr(path[-1:], simple=True) in MATRICES

    return jax.tree_util.tree_map_with_path(named, params)
