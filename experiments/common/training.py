"""What is the same for all experiments: a training, and reading back what was trained."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.common import run_folder
from experiments.common.compiling import ONCE
from experiments.common.devices import Spread, in_first, say, spread_over
from experiments.common.errors import InputError
from experiments.common.experiment import Experiment, Problem, Trained
from experiments.common.fit import Training, start
from experiments.common.records import RESULT_FILE, environment, read_json, write_json
from experiments.common.settings import (
    as_stored,
    config_from_dict,
    differing_fields,
    option,
)
from experiments.common.updates import (
    TrainState,
    evaluated_params,
    initial_train_state,
    make_train_step,
)


def train(
    experiment: Experiment,
    config: Any,
    workdir: str | Path,
    *,
    resume: bool = False,
    devices: int | None = None,
) -> dict[str, Any]:
    """Train, write a run's files and print what came out.

    Args:
      experiment: what is trained.
      config: the settings.
      workdir: the run's folder; see `run_folder` for what it will hold.
      resume: go on from the newest undamaged checkpoint in `workdir`, or start where
        there is none yet. The parameters become, bit for bit, those of a run that was
        never interrupted.
      devices: how many devices the rows of each batch are spread over: the same numbers to
        rounding. None: one, or all that several processes have; see `common.devices`.

    Returns:
      The content of `result.json`: what the experiment measured, the step that was best,
      the settings, versions, hardware and times.

    Raises:
      InputError: data, a folder or a setting that cannot be used.
      FloatingPointError: a number that is not finite; names the step and the tensor.
        The last checkpoint is from before it.
    """
    began, folder = time.perf_counter(), Path(workdir)
    config = _located(experiment, config)
    data = experiment.load(config)
    facts = json.loads(json.dumps(data.facts))  # as a trained model is given them
    model, initial, problem = _checked(experiment, config, data, facts)
    spread = spread_over(devices, problem.rows, config.batch_size)
    say(experiment.describe(data))
    described = {"facts": facts, "data_sha256": data.digest}
    in_first(functools.partial(run_folder.open_run, folder, config, **described, resume=resume))
    # Compiled whole: otherwise some fifty small programs are, one after the other.
    state = jax.jit(initial, compiler_options=ONCE)()
    many = bool(state.step.ndim)
    training = _training(experiment, config, problem, folder, spread, many)
    fitted = start(training, state, resume=resume)

    def finish() -> dict[str, Any]:
        trained = _best(experiment, folder, config, model)
        figures, found = experiment.measure(trained, data)
        result = {
            "data": config.data,
            "best_step": _best_step(experiment, trained),
            **figures,
            "last_value": fitted.standing.value,  # of the selection, after the last step
            "parameters": fitted.parameters,
            "devices": 1 if spread is None else spread.mesh.size,
            "seconds": fitted.standing.seconds,
            "wall_seconds": fitted.earlier_seconds + time.perf_counter() - began,
            "config": as_stored(config),
            "environment": environment(experiment.packages),
        }
        write_json(folder / RESULT_FILE, result)
        print(experiment.report(trained, data, result, found), flush=True)
        return result

    return in_first(finish)


def _best(experiment: Experiment, folder: Path, config: Any, model: Any) -> Trained:
    """Return the model of the best validation.

    Raises:
      InputError: no checkpoint that was evaluated can be read.
    """
    trained = load_trained(experiment, folder, config, model=model)
    if trained.best_value is None and experiment.names is None:
        raise InputError(
            "train: no checkpoint that has been evaluated is undamaged, only that of step "
            f"{trained.best_step}; start a new run"
        )
    return trained


def finished_or_trained(experiment: Experiment, config: Any, folder: Path) -> dict[str, Any]:
    """Return a run's result: that of the folder, if it is of these settings, else a training's.

    So the command that compares many runs goes on, after a kill, with the one it was at. A
    finished run's data are not looked at: who changes them starts a new folder.

    Raises:
      InputError: a run of other settings is there, or see `train`.
    """
    if (folder / RESULT_FILE).is_file():
        result = read_json(folder / RESULT_FILE)
        if result["config"] == as_stored(_located(experiment, config)):
            return result
    return train(experiment, config, folder, resume=True)


def load_trained(
    experiment: Experiment,
    workdir: str | Path,
    config: Any = None,
    warn: Callable[[str], None] = print,
    model: Any = None,
) -> Trained:
    """Read a run's model from the undamaged checkpoint of the best validation.

    Args:
      experiment: what was trained.
      workdir: the run's folder; its data are not needed.
      config: the run's settings, of which the free ones may be others; None: as trained.
      warn: is given one line for each damaged checkpoint.
      model: the run's, where it is built already: what is compiled for it need not be again.

    Raises:
      InputError: the folder holds no run, no checkpoint that can be read, or one of other
        settings, which are named.
    """
    folder = Path(workdir)
    run = run_folder.read_run(folder)
    if config is None:
        config = config_from_dict(type(experiment.presets["default"]), run["config"])
    names = differing_fields(_located(experiment, config), run["config"])
    if names:
        raise InputError(
            f"load_trained: {folder} was trained with another {', '.join(map(option, names))}; "
            "leave that away, or name the folder of the run you mean as --workdir"
        )
    facts = run["facts"]
    model = experiment.build(config, facts) if model is None else model
    target = jax.eval_shape(first_state(experiment, config, facts, model))
    if experiment.names is None:
        restored = run_folder.restore_best(folder, target, warn)
        state, step, value = restored.state, restored.step, restored.meta["value"]
    else:
        state, step = run_folder.restore_best_of_each(
            folder, target, experiment.names(config, facts), warn
        )
        value = None
    return Trained(folder, config, facts, model, _params(config, state), step, value)


def first_state(
    experiment: Experiment, config: Any, facts: Mapping[str, Any], model: Any
) -> Callable[[], TrainState]:
    """Return the function that draws the state before the first step."""
    tx, _ = experiment.optimizer(config)
    first = experiment.first_carry
    carry_of = None if first is None else lambda params: first(config, model, params)

    def initial(key: jax.Array) -> TrainState:
        return initial_train_state(
            key, model.init, tx, carry_of=carry_of, ema_decay=config.ema_decay
        )

    def of_all() -> TrainState:
        keys = experiment.keys(config, facts)
        return jax.vmap(initial)(keys) if keys.ndim else initial(keys)

    return of_all


def _params(config: Any, state: TrainState) -> Any:
    """Return the parameters to evaluate, of one model or of all."""
    if state.step.ndim:
        return jax.vmap(lambda one: evaluated_params(one, config.ema_decay))(state)
    return evaluated_params(state, config.ema_decay)


def _training(
    experiment: Experiment,
    config: Any,
    problem: Problem,
    folder: Path,
    spread: Spread | None,
    many: bool,
) -> Training:
    """Return the training loop's view."""
    settings = config
    if experiment.names is not None:  # each chooses for itself, among all evaluations
        settings = dataclasses.replace(
            config,
            checkpoint_interval=config.eval_interval,
            keep_checkpoints=max(2, config.steps // config.eval_interval + 1),
        )
    train_step = make_train_step(
        problem.loss_fn,
        *experiment.optimizer(config),
        ema_decay=config.ema_decay,
        many=many,
        shardings=None if spread is None else spread.of_state,
    )
    params_of = functools.partial(_params, config)
    return Training(folder, settings, problem, train_step, params_of, spread)


def _located(experiment: Experiment, config: Any) -> Any:
    """Return a config with its path in full: the same data wherever a run is gone on with."""
    return dataclasses.replace(config, data=experiment.data_at(config.data))


def _best_step(experiment: Experiment, trained: Trained) -> int | dict[str, int]:
    """Return the step that was best, of models that choose for themselves by their names."""
    if experiment.names is None:
        return trained.best_step
    names = experiment.names(trained.config, trained.facts)
    return dict(zip(names, trained.best_step, strict=True))


def _checked(
    experiment: Experiment, config: Any, data: Any, facts: Mapping[str, Any]
) -> tuple[Any, Callable[[], TrainState], Problem]:
    """Return the model, what draws its first state, and its problem, once all fit together.

    Before anything is written: what cannot work must neither leave a run behind nor come up
    after hours of training. The loss is traced, which compiles and computes nothing.

    Raises:
      InputError: settings that the model cannot be run with.
    """
    with _refused():
        model = experiment.build(config, facts)
        initial = first_state(experiment, config, facts, model)
        state = jax.eval_shape(initial)
    problem = experiment.problem(config, data, model)
    batch = problem.batch_at(0)

    def loss(state: TrainState, batch: Any) -> Any:
        return problem.loss_fn(state.params, batch, state.carry, state.key)

    with _refused():
        jax.eval_shape(jax.vmap(loss) if state.step.ndim else loss, state, batch)
    return model, initial, problem


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Make the library's refusal one of the settings.

    Raises:
      InputError: in place of ValueError.
    """
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"Config: the model cannot be run so: {error}") from error
