"""Training from the first step, or from a checkpoint, to the run's files."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.common.fit import Training, start
from experiments.common.records import RESULT_FILE, environment, write_json
from experiments.common.run_folder import open_run
from experiments.common.settings import as_stored, checked_model
from experiments.common.updates import TrainState
from experiments.stock_prediction import daily_report, hourly_report
from experiments.stock_prediction.config import FREE_ON_RESUME, HOURLY, Config
from experiments.stock_prediction.daily import Daily, make_daily
from experiments.stock_prediction.hourly import Hourly, make_hourly
from experiments.stock_prediction.hours import load_hours
from experiments.stock_prediction.prices import load_prices
from experiments.stock_prediction.problem import Problem, loss_once
from experiments.stock_prediction.seeds import choose, initial_states, make_train_step, model_names


def train(config: Config, workdir: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """Train all models, write a run's files and print what came out.

    Args:
      config: the settings.
      workdir: the run's folder; see `common.run_folder` for what it will hold.
      resume: go on from the newest undamaged checkpoint in `workdir`, or start where
        there is none yet. The parameters become, bit for bit, those of a run that was
        never interrupted.

    Returns:
      The content of `result.json`; see `daily_report.measure` and `hourly_report.measure`.

    Raises:
      InputError: data, a folder or a setting that cannot be used.
      FloatingPointError: a number that is not finite; names the step and the tensor.
        The last checkpoint is from before it.
    """
    began, folder = time.perf_counter(), Path(workdir)
    task = load(config)
    # Before anything is written: what cannot be run must not leave a run behind.
    problem = checked_model(lambda: task.problem, loss_once)
    report: Any = daily_report if isinstance(task, Daily) else hourly_report
    print(report.describe(task), flush=True)
    open_run(
        folder,
        config,
        free=FREE_ON_RESUME,
        data_sha256=problem.digest,
        resume=resume,
        extra={"data": problem.described},
    )
    names = model_names(problem.num_folds, config.num_seeds)
    fitted = start(
        training_of(config, problem, folder),
        initial_states(config, problem.init, problem.num_folds),
        resume=resume,
        num_models=len(names),
    )
    chosen = choose(folder, fitted.state, names)
    result = report.measure(config, task, chosen.params) | {
        "data": config.data,
        "best_steps": dict(zip(names, chosen.steps, strict=True)),
        "parameters": fitted.parameters,
        "seconds": fitted.standing.seconds,
        "wall_seconds": fitted.wall_seconds(began),
        "config": as_stored(config),
        "environment": environment(),
    }
    report.draw(folder, config, task, chosen.params, result)
    write_json(folder / RESULT_FILE, result)
    print(report.summary(result, folder), flush=True)
    return result


def load(config: Config) -> Daily | Hourly:
    """Return the data that a config names, ready to learn from.

    Raises:
      InputError: the data cannot be used, or not with these settings.
    """
    if config.data == HOURLY:
        return make_hourly(config, load_hours(config.data_dir))
    return make_daily(config, load_prices(config))


def training_of(config: Config, problem: Problem, folder: Path) -> Training:
    """Return the common loop's view of a problem."""
    names = model_names(problem.num_folds, config.num_seeds)

    def evaluate(state: TrainState, step: int) -> dict[str, float]:
        found = problem.validate(state.params)
        each = {f"validation_{name}": float(v) for name, v in zip(names, found.losses, strict=True)}
        return {"validation_loss": float(found.losses.mean()), **found.scalars, **each}

    def show(record: Mapping[str, float]) -> str:
        words = [f"loss: train {record['train_loss']:.4f}"]
        if "validation_loss" in record:
            words.append(f"validation {record['validation_loss']:.4f}")
        return ", ".join(words)

    return Training(
        folder=folder,
        steps=config.steps,
        log_interval=config.log_interval,
        eval_interval=config.eval_interval,
        # Every evaluation leaves a checkpoint and all of them stay: `choose` needs them.
        checkpoint_interval=config.eval_interval,
        keep_checkpoints=config.steps // config.eval_interval + 1,
        batch_at=problem.batch_at,
        train_step=make_train_step(config, problem),
        train_scalars=lambda step, loss: {"train_loss": loss},
        evaluate=evaluate,
        selection="validation_loss",
        show=show,
    )
