"""Many models side by side: every array of the state has a leading axis [M].

They are alike but for their seed and, in a walk forward, their fold; vmap makes one program
of them. No model sees another: gradients are clipped and steps are taken one by one.

Each model is stopped by its own validation: every evaluation leaves a checkpoint, and the
parameters of model m are those of the evaluation where its own validation loss was smallest.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import checkpoints
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.optimizers import adamw_of
from experiments.common.run_folder import CHECKPOINTS
from experiments.common.updates import (
    StepReport,
    TrainState,
    TrainStep,
    drawn_train_state,
    train_step_fn,
)
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.model import InitFn
from experiments.stock_prediction.problem import Problem


def model_names(num_folds: int, num_seeds: int) -> list[str]:
    """Return a name for each model, in their order."""
    return [f"fold{f + 1}_seed{s}" for f in range(num_folds) for s in range(num_seeds)]


def initial_states(config: Config, init: InitFn, num_folds: int) -> TrainState:
    """Return the states before the first step, `[M, ...]`, drawn from the seeds."""
    return jax.jit(partial(_initial_states, config, init, num_folds))()


def state_shapes(config: Config, init: InitFn, num_folds: int) -> TrainState:
    """Return the shapes of the states, to read a checkpoint into."""
    return jax.eval_shape(partial(_initial_states, config, init, num_folds))


def _initial_states(config: Config, init: InitFn, num_folds: int) -> TrainState:
    tx, _ = adamw_of(config)

    def initial(seed: jax.Array, fold: jax.Array) -> TrainState:
        return drawn_train_state(jax.random.fold_in(jax.random.key(seed), fold), init, tx)

    folds, seeds = np.divmod(np.arange(num_folds * config.num_seeds), config.num_seeds)
    return jax.vmap(initial)(jnp.asarray(config.seed + seeds), jnp.asarray(folds))


def make_train_step(config: Config, problem: Problem) -> TrainStep:
    """Return the compiled step of all models; it gives up the state's buffers."""

    def loss_fn(params: Any, batch: Any, carry: None, key: jax.Array) -> tuple[jax.Array, None]:
        return problem.loss_fn(params, batch, key), carry

    step_of_all = jax.vmap(train_step_fn(loss_fn, *adamw_of(config)))

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, StepReport]:
        state, report = step_of_all(state, batch)
        return state, report._replace(finite=jax.tree.map(jnp.all, report.finite))

    return jax.jit(train_step, donate_argnums=0)


class Chosen(NamedTuple):
    """The models of a run, each as it was when its validation was best."""

    params: Any  # leaves [M, ...]
    steps: list[int]  # [M], when that was


def choose(
    folder: Path, target: TrainState, names: Sequence[str], warn: Callable[[str], None] = print
) -> Chosen:
    """Read each model's parameters from the checkpoint of its best validation.

    Args:
      folder: the run's folder.
      target: states of the structure that was saved, or `jax.eval_shape`'s stand-ins.
      names: of the models.
      warn: is given a line for each damaged checkpoint; another one is taken then.

    Raises:
      InputError: no evaluation has left a checkpoint that can be read.
    """
    kept = folder / CHECKPOINTS
    losses = {
        int(record["step"]): np.array([record[f"validation_{name}"] for name in names])
        for record in read_metrics(folder)
        if f"validation_{names[0]}" in record
    }
    steps = [step for step in checkpoints.steps(kept) if step in losses]
    while steps:
        table = np.stack([losses[step] for step in steps])  # [E, M]
        best = [steps[i] for i in table.argmin(axis=0)]  # of equal ones the first
        states: dict[int, Any] = {}
        try:
            for step in sorted(set(best)):
                states[step] = checkpoints.restore(kept, step, target).state.params
        except checkpoints.DamagedCheckpointError as error:
            damaged = min(set(best) - set(states))
            warn(f"checkpoint of step {damaged} is damaged and left out: {error}")
            steps.remove(damaged)
            continue
        params = jax.tree.map(
            lambda *leaves: jnp.stack([leaf[m] for m, leaf in enumerate(leaves)]),
            *[states[step] for step in best],
        )
        return Chosen(params, best)
    raise InputError(
        f"choose: {folder} has no checkpoint of an evaluation that can be read; train on first"
    )
