"""An experiment as one record.

An experiment says what its data, its model and its loss are, and what its figures are in
the end. `training.train`, `training.load_trained` and the command line, `command.main`, do
the rest: folder, checkpoints, going on after a kill, records, optimiser, seeds side by side,
and stopping at the first number that is not finite.

    EXPERIMENT = Experiment(name="...", load=load, build=build, problem=make_problem, ...)
    train(EXPERIMENT, Config(), "runs/first")

How the parts follow from one another:

    config -> load -> data -> data.facts -> build(config, facts) -> model
    config, data, model -> problem -> trained steps -> Trained -> measure -> report

The data carry `facts`, what `build` needs to know of them, as JSON: a run's file holds them,
so that a trained model is used without the data that it learned from; and a `digest`, by
which a run that is gone on with knows its data again.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common.devices import Rows
from experiments.common.optimizers import Optimizer, adamw_of
from experiments.common.own_data import located
from experiments.common.plots import draw_run
from experiments.common.records import PACKAGES
from experiments.common.updates import LossFn, Scalars


def _train_loss(step: int, loss: float) -> Scalars:
    return {"train_loss": loss}


def _losses(record: Scalars) -> str:
    shown = (n for n in record if n.startswith(("train_", "validation_")))
    return "   ".join(f"{n.replace('_', ' ')} {record[n]:.4f}" for n in shown)


class Problem(NamedTuple):
    """What is learned: a loss, the batches it is taken of, and how well it goes.

    Of several models side by side, parameters and batches have a leading axis `[M]`; the
    loss is that of one of them.
    """

    loss_fn: LossFn  # (params, batch, carry, key) -> (loss, carry)
    batch_at: Callable[[int], Any]  # the batch of step 0, 1, ...: a pure function of the step
    evaluate: Callable[[Any], Scalars]  # of parameters, on the validation split
    selection: str  # which of evaluate's scalars: the smallest is best
    train_scalars: Callable[[int, float], Scalars] = _train_loss  # (step, mean loss) -> record
    show: Callable[[Scalars], str] = _losses  # a record in a few words
    rows: Rows | None = None  # where a batch's are; None: not told, so trained on one device


class Trained(NamedTuple):
    """A trained model, as it was when its validation was best."""

    folder: Path
    config: Any
    facts: Mapping[str, Any]
    model: Any
    params: Any  # of several models with a leading axis [M]
    best_step: Any  # of models that choose for themselves: one each, [M]
    best_value: float | None  # of the selection; None for those


class Model(NamedTuple):
    """A model that is two pure functions; one that steps has more, in a class of its own."""

    init: Callable[[jax.Array], Any]  # key -> params
    apply: Callable[..., Any]  # (params, ..., key=None); with a key, dropout is on


def plain_report(
    trained: Trained, data: Any, result: Mapping[str, Any], figures: Mapping[str, float]
) -> str:
    """Draw the learning curve of the losses, and return the figures a line each."""
    draw_run(trained.folder, "loss", {}, ylabel="loss", title=str(result["data"]))
    lines = [f"{name.replace('_', ' '):32}{value:10.4f}" for name, value in figures.items()]
    return "\n".join([*lines, f"files: {trained.folder}/ (learning_curve.png, result.json, ...)"])


def one_key(config: Any, facts: Mapping[str, Any]) -> jax.Array:
    """Return the key of a single model."""
    return jax.random.key(config.seed)


def keys_of(seeds: Sequence[int] | np.ndarray) -> jax.Array:
    """Return the keys of models side by side, one a seed."""
    return jax.vmap(jax.random.key)(np.array(seeds, np.uint32))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment.

    Attributes:
      name: as in `python -m experiments.<name>`.
      about: what it does, for `--help`.
      presets: configs by name; that of a run without any other is "default".
      corpora: what `--data` may name besides a path.
      located: from what `--data` names to what the config holds; for other paths than
        `own_data.located` knows.
      on_own_data: from a preset's config to the one that suits a user's own data; None: itself.
      load: from a config to the data, checked, with `facts` and `digest`.
      build: from a config and facts to the model, which has `init(key) -> params`.
      problem: from config, data and model to what is learned.
      describe: from the data to what is said of them before the training.
      measure: from a trained model and the data to figures, as JSON, and whatever `report`
        wants besides.
      report: from a trained model, the data, the whole result and what `measure` gave to
        the text that ends a run; writes pictures and samples into the run's folder.
        `plain_report` draws the learning curve and tells the figures as they are.
      task: what the command line can ask of a trained model; see `command.Task`.
      use: does it: from a task and a trained model.
      optimizer: from a config to the optimiser and its learning rate of each step.
      keys: from config and facts to the key of each model, `[M]`, for several side by side.
      names: from config and facts to the name of each of those models, where each is to be
        chosen by its own validation: scalar `validation_<name>`. None: all by `selection`.
      first_carry: from a config, a model and parameters to what the first batch is handed.
      packages: whose versions a result tells.
    """

    name: str
    about: str
    presets: Mapping[str, Any]
    corpora: Collection[str] = ()
    located: Callable[[str], str] | None = None
    on_own_data: Callable[[Any], Any] | None = None
    load: Callable[[Any], Any]
    build: Callable[[Any, Mapping[str, Any]], Any]
    problem: Callable[[Any, Any, Any], Problem]
    describe: Callable[[Any], str]
    measure: Callable[[Trained, Any], tuple[dict[str, Any], Any]]
    report: Callable[[Trained, Any, Mapping[str, Any], Any], str] = plain_report
    task: Any = None
    use: Callable[[Any, Trained], None] | None = None
    optimizer: Callable[[Any], Optimizer] = adamw_of
    keys: Callable[[Any, Mapping[str, Any]], jax.Array] = one_key
    names: Callable[[Any, Mapping[str, Any]], Sequence[str]] | None = None
    first_carry: Callable[[Any, Any, Any], Any] | None = None
    packages: Sequence[str] = PACKAGES

    def __post_init__(self) -> None:
        if (self.task is None) != (self.use is None):
            raise ValueError(f"Experiment {self.name}: task and use go together, give both")

    @property
    def runs(self) -> Path:
        """Return the folder of all runs."""
        return Path("runs") / self.name

    def data_at(self, data: str) -> str:
        """Return what a config holds of what `--data` names: paths in full."""
        return self.located(data) if self.located else located(data, self.corpora)

    def presets_on(self, data: str) -> Mapping[str, Any]:
        """Return the presets for what `--data` names; an empty string: nothing."""
        if self.on_own_data is None or data in ("", *self.corpora):
            return self.presets
        return {name: self.on_own_data(config) for name, config in self.presets.items()}
