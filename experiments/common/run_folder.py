"""A run's folder: what was asked for, and where the run stands.

    run.json             config, checksum of the data and what else is needed to go on
                         or to predict, before the first step
    checkpoints/         see common.checkpoints
    metrics.jsonl        one record a logged step
    tensorboard/         the same for TensorBoard
    result.json, plots, samples    at the end

Together they are enough to go on with the run after a kill at any moment.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import checkpoints
from experiments.common.errors import InputError
from experiments.common.metrics import read_metrics
from experiments.common.records import RUN_FILE, read_json, write_json
from experiments.common.settings import as_stored, differing_fields
from experiments.common.updates import TrainState

CHECKPOINTS = "checkpoints"


class Best(NamedTuple):
    """The best evaluation so far."""

    step: int
    value: float  # the smaller the better


class Standing(NamedTuple):
    """Where a run stands at a step."""

    step: int
    best: Best
    value: float | None  # of the evaluation at this very step, if there was one
    seconds: float  # of training, earlier tries counted in


START = Standing(step=0, best=Best(0, float("inf")), value=None, seconds=0.0)


def open_run(
    folder: Path, config: Any, *, facts: Mapping[str, Any], data_sha256: str, resume: bool
) -> None:
    """Write a new run's description, or check that a resumed run is the same one.

    Args:
      folder: the run's folder.
      config: the settings, a dataclass; those that are free may change.
      facts: what of the data the model is built from, as JSON: a vocabulary for example.
      data_sha256: a checksum of what is learned from, after all preparation.
      resume: whether a run that is there is meant.

    Raises:
      InputError: a run is there and `resume` is False; or it has other settings, which
        are named; or its data have changed.
    """
    file = folder / RUN_FILE
    if not file.is_file():  # new, or killed before it had begun
        folder.mkdir(parents=True, exist_ok=True)
        described = {"config": as_stored(config), "data_sha256": data_sha256}
        write_json(file, described | {"facts": dict(facts)})
        return
    if not resume:
        raise InputError(
            f"train: {folder} already holds a run; give --resume to go on with it or "
            "another --workdir"
        )
    stored = read_json(file)
    names = differing_fields(config, stored["config"])
    if names:
        pairs = [
            f"{name} is {getattr(config, name)!r}, was {stored['config'].get(name)!r}"
            for name in names
        ]
        raise InputError(
            f"train: cannot resume {folder} with other settings: {'; '.join(pairs)}; "
            "leave them as they were or start a new run"
        )
    if stored.get("data_sha256") != data_sha256 or stored.get("facts") != facts:
        raise InputError(
            f"train: the data are not those that {folder} was started on (data made by a "
            "package may differ between its versions); start a new run"
        )


def read_run(folder: Path) -> dict[str, Any]:
    """Return what `open_run` wrote.

    Raises:
      InputError: the folder holds no run.
    """
    if not (folder / RUN_FILE).is_file():
        raise InputError(f"read_run: {folder} holds no run; train one first")
    return read_json(folder / RUN_FILE)


def save(folder: Path, state: TrainState, standing: Standing, *, keep: int) -> None:
    """Write a checkpoint and delete those that are not to be kept.

    Args:
      folder: the run's folder.
      state: the state at `standing.step`.
      standing: where the run stands.
      keep: how many of the last checkpoints stay; the best one stays as well.
    """
    best = standing.best
    described = {
        "value": standing.value,
        "best": best._asdict() if best.step else None,
        "seconds": standing.seconds,
    }
    checkpoints.save(folder / CHECKPOINTS, standing.step, state, described)
    checkpoints.keep_only(folder / CHECKPOINTS, keep, also=(best.step,))


def restore(
    folder: Path, target: Any, warn: Callable[[str], None] = print
) -> tuple[Any, Standing] | None:
    """Read the newest undamaged checkpoint, or return None where there is none yet.

    Checkpoints after it, which must be damaged, are deleted: they are made anew.

    Args:
      folder: the run's folder.
      target: a state of the structure that was saved; see `checkpoints.restore`.
      warn: is given one line for each damaged checkpoint.

    Raises:
      InputError: there are checkpoints and every one of them is damaged.
    """
    kept = folder / CHECKPOINTS
    newest_first = checkpoints.steps(kept)[::-1]
    restored = checkpoints.restore_first(kept, newest_first, target, warn)
    if restored is None:
        return None
    checkpoints.drop_later(kept, restored.step)
    meta = restored.meta
    best = Best(**meta["best"]) if meta["best"] else START.best
    return restored.state, Standing(restored.step, best, meta["value"], meta["seconds"])


def restore_best(
    folder: Path, target: Any, warn: Callable[[str], None] = print
) -> checkpoints.Restored:
    """Read the checkpoint of the best validation that is undamaged.

    Raises:
      InputError: there is no checkpoint, or every one of them is damaged.
    """
    kept = folder / CHECKPOINTS
    best = checkpoints.best_first(kept, "value")
    restored = checkpoints.restore_first(kept, best, target, warn)
    if restored is None:
        raise InputError(f"restore_best: {folder} has no checkpoint yet; train on first")
    return restored


def restore_best_of_each(
    folder: Path, target: TrainState, names: Sequence[str], warn: Callable[[str], None] = print
) -> tuple[TrainState, list[int]]:
    """Read of models side by side each one's own best state, and the step that it is of.

    Every evaluation leaves a checkpoint; model m is taken from the one where its own scalar
    `validation_<name>` was smallest.

    Args:
      folder: the run's folder.
      target: states of the structure that was saved, leaves `[M, ...]`.
      names: of the models, M of them.
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
        table = np.stack([losses[step] for step in steps])  # [evaluations, M]
        best = [steps[i] for i in table.argmin(axis=0)]  # of equal ones the first
        states: dict[int, TrainState] = {}
        try:
            for step in sorted(set(best)):
                states[step] = checkpoints.restore(kept, step, target).state
        except checkpoints.DamagedCheckpointError as error:
            damaged = min(set(best) - set(states))
            warn(f"checkpoint of step {damaged} is damaged and left out: {error}")
            steps.remove(damaged)
            continue
        of_each = [states[step] for step in best]
        state = jax.tree.map(
            lambda *leaves: jnp.stack([leaf[m] for m, leaf in enumerate(leaves)]), *of_each
        )
        return state, best
    raise InputError(
        f"restore_best_of_each: {folder} has no checkpoint of an evaluation that can be read; "
        "train on first"
    )
