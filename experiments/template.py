"""A whole experiment in one file, to be copied: which of several kinds a series is of.

    python -m experiments.template                       train, a few seconds
    python -m experiments.template --classify FILE.csv   say what a series of your own is

Series of different lengths with three channels: slow waves, fast ones, both or none, in noise.
They are made here: `load` is where your own data come in. CONTRIBUTING.md tells more.
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.experiment import Experiment, Model, Problem, Trained
from experiments.common.networks import make_network
from experiments.common.records import digest_of
from experiments.common.settings import NetworkSettings, TrainingSettings, require

CHANNELS, KINDS = 3, ("slow", "fast", "both", "neither")


@dataclasses.dataclass(frozen=True)
class Config(NetworkSettings, TrainingSettings):
    """The command line's options; those that are not here are as the base classes have them."""

    data: str = "waves"
    """What is learned from: waves, made here."""
    hidden_size: int = 32
    steps: int = 300
    learning_rate: float = 4e-3


class Part(NamedTuple):
    """Series side by side, padded at their ends."""

    x: np.ndarray  # float32 [T, N, CHANNELS]
    lengths: np.ndarray  # int32 [N]
    labels: np.ndarray  # int32 [N]


class Data(NamedTuple):
    """What is learned from, chosen by and measured on."""

    train: Part
    valid: Part
    test: Part
    facts: Mapping[str, Any]  # what of them the model is made of, as JSON
    digest: str  # by which a run that goes on knows its data again


def load(config: Config) -> Data:
    """Return the data, or raise InputError: before a run's folder is opened."""
    require(config.data == "waves", config, "data", "waves")
    parts = [make(np.random.default_rng(i), n) for i, n in enumerate((1000, 200, 500))]
    return Data(*parts, facts={"kinds": KINDS}, digest=digest_of(parts))


def make(rng: np.random.Generator, number: int) -> Part:
    """Draw series of 10 to 40 steps."""
    kinds, lengths = rng.integers(len(KINDS), size=number), rng.integers(10, 41, size=number)
    t, phase = np.arange(40)[:, None, None], rng.uniform(0.0, 6.28, (2, number, CHANNELS))
    weights = np.array([[1, 0], [0, 1], [1, 1], [0, 0]]).T[:, kinds, None]
    x = weights[0] * np.sin(t / 3.0 + phase[0]) + weights[1] * np.sin(t / 1.2 + phase[1])
    x = (x + 0.7 * rng.normal(size=x.shape)) * (t < lengths[:, None])
    return Part(x.astype(np.float32), lengths.astype(np.int32), kinds.astype(np.int32))


def build(config: Config, facts: Mapping[str, Any]) -> Model:
    """Return the model: from series `[T, B, CHANNELS]` to a readout's mean over time."""
    rnn = make_network(config, output_size=len(facts["kinds"]))

    def apply(params: Any, x: jax.Array, lengths: jax.Array, key: Any = None) -> jax.Array:
        _, y = rnn.apply(params, x, lengths=lengths, key=key, schedule=config.schedule)
        return y.sum(axis=0) / lengths[:, None]  # outputs past a row's end are zero

    return Model(lambda key: rnn.init(key, CHANNELS), apply)


def make_problem(config: Config, data: Data, model: Model) -> Problem:
    """Return the loss, the batches and the validation; a key turns dropout on."""

    def loss_fn(params: Any, batch: Part, carry: None, key: Any) -> tuple[jax.Array, None]:
        logits = model.apply(params, jnp.asarray(batch.x), batch.lengths, key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean(), carry

    def batch_at(step: int) -> Part:  # a function of the step alone: a run can go on anywhere
        rng, (x, lengths, labels) = np.random.default_rng((config.seed, step)), data.train
        rows = rng.integers(len(labels), size=config.batch_size)
        return Part(x[:, rows], lengths[rows], labels[rows])

    def evaluate(params: Any) -> dict[str, float]:
        return {"validation_loss": float(loss(params, data.valid, None, None)[0])}

    loss = jax.jit(loss_fn)
    return Problem(loss_fn, batch_at, evaluate, selection="validation_loss")


def measure(trained: Trained, data: Data) -> tuple[dict[str, float], dict[str, float]]:
    """Return the shares of the test series that are told right, and by what needs no network."""
    (x, lengths, labels), guess = data.test, np.bincount(data.train.labels).argmax()
    logits = jax.jit(trained.model.apply)(trained.params, x, lengths)
    right = {"accuracy": float(np.mean(np.argmax(logits, axis=-1) == labels))}
    right["always_the_most_frequent_kind"] = float(np.mean(labels == guess))
    return right, right  # the second one is for `report`: here `plain_report`


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What can be asked of a trained model; its data are not needed."""

    classify: Path | None = None
    """Say of which kind the series in this CSV file is: a line a step, a column a channel."""


def use(task: Task, trained: Trained) -> None:
    """Print the most probable kind."""
    try:
        x = np.loadtxt(str(task.classify), np.float32, delimiter=",").reshape(-1, 1, CHANNELS)
    except (OSError, ValueError) as error:
        raise InputError(f"use: {task.classify} is no series: {error}") from error
    p = jax.nn.softmax(trained.model.apply(trained.params, x, np.array([len(x)]))[0])
    print(f"{trained.facts['kinds'][p.argmax()]} ({100 * p.max():.0f} %)")


EXPERIMENT = Experiment(
    name="template",
    about="Tell of which kind a series is.",
    presets={"default": Config()},
    corpora=["waves"],
    load=load,
    build=build,
    problem=make_problem,
    describe=lambda data: f"{len(data.train.labels):,} series to learn from",
    measure=measure,
    task=Task,
    use=use,
)

if __name__ == "__main__":
    command.main(EXPERIMENT, sys.argv[1:])
