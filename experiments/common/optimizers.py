"""The optimisers that several experiments share."""

from typing import Any

import jax
import optax

# By name, not by rank: two directions, and stacked layers, add an axis to a bias as well.
MATRICES = frozenset({"w_x", "w_h", "w_p", "w", "kernel", "embedding"})


def warmup_cosine(learning_rate: float, warmup_steps: int, steps: int) -> optax.Schedule:
    """Return the learning rate of each step: linear warm-up, then a cosine to zero."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup_steps else learning_rate,
        peak_value=learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=steps,
    )


def clipped_adamw(
    schedule: optax.Schedule, *, clip_norm: float, b2: float = 0.999, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Return AdamW behind a clipped global norm.

    Args:
      schedule: the learning rate of each step.
      clip_norm: the largest global norm of the gradient; a longer one is scaled down.
      b2: decay of the second moment.
      weight_decay: on matrices only, not on biases.
    """
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(schedule, b2=b2, weight_decay=weight_decay, mask=is_matrix),
    )


def adamw_of(config: Any) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Return the optimiser of a config, and its learning rate of each step.

    Args:
      config: has learning_rate, warmup_steps, steps, clip_norm, adam_b2 and weight_decay.
    """
    schedule = warmup_cosine(config.learning_rate, config.warmup_steps, config.steps)
    tx = clipped_adamw(
        schedule,
        clip_norm=config.clip_norm,
        b2=config.adam_b2,
        weight_decay=config.weight_decay,
    )
    return tx, schedule


def is_matrix(params: Any) -> Any:
    """Tell which leaves of a tree of parameters are matrices, which alone decay."""

    def named(path: tuple[Any, ...], leaf: jax.Array) -> bool:
        return jax.tree_util.keystr(path[-1:], simple=True) in MATRICES

    return jax.tree_util.tree_map_with_path(named, params)
