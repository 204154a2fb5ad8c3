"""The training loop: stretches of steps between the moments at which something is due."""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments.common import checkpoints, run_folder
from experiments.common.devices import Spread, in_first, is_first, say
from experiments.common.experiment import Problem
from experiments.common.metrics import MetricsLog
from experiments.common.non_finite import check_finite
from experiments.common.run_folder import START, Best, Standing
from experiments.common.settings import TrainingSettings
from experiments.common.updates import (
    FINITE_ORDER,
    Scalars,
    TrainState,
    TrainStep,
    num_parameters,
)


class Training(NamedTuple):
    """What a run does, all of it the same from step to step."""

    folder: Path
    settings: TrainingSettings  # of which it follows the number of steps and the intervals
    problem: Problem
    train_step: TrainStep
    params_of: Callable[[TrainState], Any]  # the parameters to evaluate
    spread: Spread | None = None  # over several devices

    def whole(self, state: TrainState) -> TrainState:
        """Return a state on one device."""
        return state if self.spread is None else self.spread.whole(state)


class Fitted(NamedTuple):
    """A training that has come to its end."""

    state: TrainState
    standing: Standing
    parameters: int  # of one model
    # Of training, in processes before this one. What else those did, and what they lost after
    # their last checkpoint, is not known.
    earlier_seconds: float


def start(training: Training, state: TrainState, *, resume: bool) -> Fitted:
    """Run a training from its first step, or from its newest checkpoint, to its end.

    Args:
      training: what stays the same.
      state: the state before the first step; its buffers are given up.
      resume: whether to go on from the newest undamaged checkpoint, if there is one.

    Raises:
      InputError: there are checkpoints and every one of them is damaged.
      FloatingPointError: see `fit`.
    """
    standing = START
    restore = functools.partial(run_folder.restore, training.folder, state)
    restored = in_first(restore) if resume else None
    if restored is not None:
        state, standing = restored
        say(f"going on from step {standing.step:,}")
    if training.spread is not None:
        state = training.spread.put_state(state)
    num_models = state.key.size
    parameters = num_parameters(state.params) // num_models
    models = f"{num_models} models of " if num_models > 1 else ""
    say(f"{models}{parameters:,} parameters; writing to {training.folder}/")
    earlier_seconds = standing.seconds
    state, standing = fit(training, state, standing)
    return Fitted(state, standing, parameters, earlier_seconds)


def fit(training: Training, state: TrainState, standing: Standing) -> tuple[TrainState, Standing]:
    """Run the steps that are left, with records, evaluations and checkpoints.

    Args:
      training: what stays the same.
      state: the state at `standing.step`; its buffers are given up.
      standing: where the run stands.

    Returns:
      The state after the last step, and where the run stands then.

    Raises:
      FloatingPointError: a loss, gradient, parameter or carried state is not finite;
        names the step, the tensors and the last good checkpoint. Nothing of that
        stretch has been written.
    """
    began, settings = time.perf_counter() - standing.seconds, training.settings
    with _log(training, standing) as log, _bar(training, standing) as bar:
        for step in stops(settings, standing.step):
            try:
                state, scalars = _advance(training, state, standing.step, step, bar)
                whole = training.whole(state)
                found = in_first(functools.partial(_evaluate, training, whole, step))
            except FloatingPointError as error:
                kept = checkpoints.steps(training.folder / run_folder.CHECKPOINTS)
                last = f"step {kept[-1]:,}" if kept else "none yet"
                raise FloatingPointError(f"{error}; last good checkpoint: {last}") from error
            standing = _moved(
                standing, step, found.get(training.problem.selection), time.perf_counter() - began
            )
            record = {**scalars, **found, "seconds": standing.seconds}
            if log is not None:
                log.write(step, record)
                _show(bar, training, record, step, evaluated=bool(found))
            # The best one is kept even where no checkpoint is due.
            if _due(settings, step, settings.checkpoint_interval) or standing.best.step == step:
                in_first(functools.partial(_save, training, whole, standing))
    return state, standing


def stops(settings: TrainingSettings, start: int) -> Iterator[int]:
    """Yield the steps after `start` at which something is due, the last one included."""
    intervals = (settings.log_interval, settings.eval_interval, settings.checkpoint_interval)
    for step in range(start + 1, settings.steps + 1):
        if any(_due(settings, step, interval) for interval in intervals):
            yield step


def _due(settings: TrainingSettings, step: int, interval: int) -> bool:
    return step % interval == 0 or step == settings.steps


def _advance(
    training: Training, state: TrainState, start: int, stop: int, bar: tqdm
) -> tuple[TrainState, dict[str, float]]:
    """Run steps `start + 1 .. stop`, and look at them all before returning.

    Returns:
      The state at `stop`, and the scalars of the stretch.

    Raises:
      FloatingPointError: see `fit`.
    """
    began, reports = time.perf_counter(), []
    for step in range(start, stop):
        batch = training.problem.batch_at(step)
        if training.spread is not None:
            batch = training.spread.put_batch(batch)
        state, report = training.train_step(state, batch)
        # One step behind: the device always has work, and the bar tells the truth.
        if reports:
            jax.block_until_ready(reports[-1].loss)
        reports.append(report)
        bar.update()
    reports = jax.device_get(reports)
    for step, report in enumerate(reports, start + 1):
        check_finite(step, report.finite, FINITE_ORDER)
    loss = float(np.mean([report.loss for report in reports], dtype=np.float64))
    return state, {
        **training.problem.train_scalars(stop, loss),
        "gradient_norm": float(np.mean(reports[-1].gradient_norm)),
        "learning_rate": float(np.mean(reports[-1].learning_rate)),
        "steps_per_second": (stop - start) / (time.perf_counter() - began),
    }


def _evaluate(training: Training, state: TrainState, step: int) -> dict[str, float]:
    """Return the scalars of the validation split where they are due, else none.

    Raises:
      FloatingPointError: one of them is not finite.
    """
    if not _due(training.settings, step, training.settings.eval_interval):
        return {}
    problem = training.problem
    scalars = problem.evaluate(training.params_of(state))
    found = {name: float(value) for name, value in scalars.items()}
    if problem.selection not in found:
        raise ValueError(f"evaluate must give {problem.selection}, got {', '.join(found)}")
    flags = {name: math.isfinite(value) for name, value in found.items()}
    check_finite(step, flags, tuple(found))
    return found


def _moved(standing: Standing, step: int, value: float | None, seconds: float) -> Standing:
    """Return the standing after a stretch; of equal evaluations the first is best."""
    best = standing.best
    if value is not None and value < best.value:
        best = Best(step, value)
    return Standing(step, best, value, seconds)


def _save(training: Training, state: TrainState, standing: Standing) -> None:
    run_folder.save(training.folder, state, standing, keep=training.settings.keep_checkpoints)


@contextlib.contextmanager
def _log(training: Training, standing: Standing) -> Iterator[MetricsLog | None]:
    """Give where records go; of several processes the first alone has it."""
    if not is_first():
        yield None
        return
    with contextlib.closing(MetricsLog(training.folder, standing.step)) as log:
        yield log


def _bar(training: Training, standing: Standing) -> tqdm:
    return tqdm(
        total=training.settings.steps,
        initial=standing.step,
        desc="training",
        unit="step",
        dynamic_ncols=True,
        disable=not is_first(),
    )


def _show(bar: tqdm, training: Training, record: Scalars, step: int, *, evaluated: bool) -> None:
    """Put a record on the bar, and an evaluation on a line of its own."""
    words = training.problem.show(record)
    if evaluated:
        bar.write(f"step {step:6,}   {words}")
    bar.set_postfix_str(words)
