"""The training loop: stretches of steps between the moments at which something is due."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments.common import checkpoints, run_folder
from experiments.common.metrics import MetricsLog
from experiments.common.non_finite import check_finite
from experiments.common.run_folder import START, Best, Standing
from experiments.common.updates import FINITE_ORDER, TrainState, TrainStep, num_parameters

Scalars = Mapping[str, float]


class Training(NamedTuple):
    """What a run does, all of it the same from step to step."""

    folder: Path
    steps: int
    log_interval: int
    eval_interval: int
    checkpoint_interval: int
    keep_checkpoints: int
    batch_at: Callable[[int], Any]  # the batch of step 0, 1, ...: a pure function of the step
    train_step: TrainStep
    train_scalars: Callable[[int, float], Scalars]  # (step, mean loss) -> what to record
    evaluate: Callable[[TrainState, int], Scalars]  # of the validation split
    selection: str  # which of evaluate's scalars: the smallest is best
    show: Callable[[Scalars], str]  # a record in a few words


class Fitted(NamedTuple):
    """A training that has come to its end."""

    state: TrainState
    standing: Standing
    parameters: int  # of one model
    earlier_seconds: float  # of training, in processes before this one

    def wall_seconds(self, began: float) -> float:
        """Return how long the run took until now, earlier tries counted in.

        That is never less than its training. What earlier processes did beside training,
        and what they lost after their last checkpoint, is not known and not counted.

        Args:
          began: `time.perf_counter()` when this process turned to the run.
        """
        return self.earlier_seconds + time.perf_counter() - began


def start(training: Training, state: TrainState, *, resume: bool, num_models: int = 1) -> Fitted:
    """Run a training from its first step, or from its newest checkpoint, to its end.

    Args:
      training: what stays the same.
      state: the state before the first step; its buffers are given up.
      resume: whether to go on from the newest undamaged checkpoint, if there is one.
      num_models: how many models of one size the state holds.

    Raises:
      InputError: there are checkpoints and every one of them is damaged.
      FloatingPointError: see `fit`.
    """
    standing = START
    restored = run_folder.restore(training.folder, state) if resume else None
    if restored is not None:
        state, standing = restored
        print(f"going on from step {standing.step:,}", flush=True)
    parameters = num_parameters(state.params) // num_models
    models = f"{num_models} models of " if num_models > 1 else ""
    print(f"{models}{parameters:,} parameters; writing to {training.folder}/", flush=True)
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
    began = time.perf_counter() - standing.seconds
    with MetricsLog(training.folder, standing.step) as log, _bar(training, standing) as bar:
        for step in stops(training, standing.step):
            try:
                state, scalars = _advance(training, state, standing.step, step, bar)
                found = _evaluate(training, state, step)
            except FloatingPointError as error:
                kept = checkpoints.newest_first(training.folder / run_folder.CHECKPOINTS)
                last = f"step {kept[0]:,}" if kept else "none yet"
                raise FloatingPointError(f"{error}; last good checkpoint: {last}") from error
            standing = _moved(
                standing, step, found.get(training.selection), time.perf_counter() - began
            )
            record = {**scalars, **found, "seconds": standing.seconds}
            log.write(step, record)
            _show(bar, training, record, step, evaluated=bool(found))
            # The best one is kept even where no checkpoint is due.
            if _due(training, step, training.checkpoint_interval) or standing.best.step == step:
                run_folder.save(training.folder, state, standing, keep=training.keep_checkpoints)
    return state, standing


def stops(training: Training, start: int) -> Iterator[int]:
    """Yield the steps after `start` at which something is due, the last one included."""
    intervals = (training.log_interval, training.eval_interval, training.checkpoint_interval)
    for step in range(start + 1, training.steps + 1):
        if any(_due(training, step, interval) for interval in intervals):
            yield step


def _due(training: Training, step: int, interval: int) -> bool:
    return step % interval == 0 or step == training.steps


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
        state, report = training.train_step(state, training.batch_at(step))
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
        **training.train_scalars(stop, loss),
        "gradient_norm": float(np.mean(reports[-1].gradient_norm)),
        "learning_rate": float(np.mean(reports[-1].learning_rate)),
        "steps_per_second": (stop - start) / (time.perf_counter() - began),
    }


def _evaluate(training: Training, state: TrainState, step: int) -> dict[str, float]:
    """Return the scalars of the validation split where they are due, else none.

    Raises:
      FloatingPointError: one of them is not finite.
    """
    if not _due(training, step, training.eval_interval):
        return {}
    found = {name: float(value) for name, value in training.evaluate(state, step).items()}
    if training.selection not in found:
        raise ValueError(f"evaluate must give {training.selection}, got {', '.join(found)}")
    flags = {name: math.isfinite(value) for name, value in found.items()}
    check_finite(step, flags, tuple(found))
    return found


def _moved(standing: Standing, step: int, value: float | None, seconds: float) -> Standing:
    """Return the standing after a stretch; of equal evaluations the first is best."""
    best = standing.best
    if value is not None and value < best.value:
        best = Best(step, value)
    return Standing(step, best, value, seconds)


def _bar(training: Training, standing: Standing) -> tqdm:
    return tqdm(
        total=training.steps,
        initial=standing.step,
        desc="training",
        unit="step",
        dynamic_ncols=True,
    )


def _show(bar: tqdm, training: Training, record: Scalars, step: int, *, evaluated: bool) -> None:
    """Put a record on the bar, and an evaluation on a line of its own."""
    words = training.show(record)
    if evaluated:
        bar.write(f"step {step:6,}   {words}")
    bar.set_postfix_str(words)
