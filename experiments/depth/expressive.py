"""More expressive: the validation loss by depth, all networks of the same number of parameters.

Each is a run of `experiments.text_generation`: what is done is not done again. All have the same
steps, text and learning rate; nothing is tuned for one of them. The optimizer is that of
`text_generation`, AdamW; of the preset `karpathy` RMSprop, with the steps of its learning rate.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import optax

from experiments.common import plots, sweep
from experiments.common.intervals import over_seeds, shown
from experiments.common.networks import CELLS
from experiments.common.optimizers import Optimizer
from experiments.common.settings import as_stored
from experiments.common.sweep import Results, Sweep
from experiments.common.updates import num_parameters
from experiments.depth.characters import load_text
from experiments.depth.network import equal_width
from experiments.depth.record import by_depth
from experiments.depth.settings import Expressive
from experiments.text_generation import batches, problem
from experiments.text_generation.config import Config
from experiments.text_generation.data import Data
from experiments.text_generation.experiment import EXPERIMENT
from experiments.text_generation.model import build

NAMES = {name: name.replace("_", " ") for name in CELLS}
NAMES |= {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}
RECORD = "expressive.json"

# Test nats of LSTMs of 128 units on War and Peace, by layers: Karpathy, Johnson and Fei-Fei
# 2015, "Visualizing and understanding recurrent networks", table 1. Quoted at second hand.
KARPATHY_2015: Mapping[int, float] = {1: 1.277, 2: 1.227, 3: 1.279}
_EPOCHS_AT_FIRST_RATE, _DECAY = 10, 0.95


def rmsprop(config: Config) -> Optimizer:
    """Return RMSprop behind clipped elements, and the learning rate: as char-rnn has it."""
    _, schedule = problem.optimizer(config)
    return optax.chain(optax.clip(5.0), optax.rmsprop(schedule, decay=0.95)), schedule


def base_of(settings: Expressive, data: Data) -> Config:
    """Return what all runs have in common."""
    tenth = max(1, settings.steps // 10)
    base = dataclasses.replace(
        Config(),
        data=settings.data,
        data_dir=settings.data_dir,
        hidden_size=settings.hidden_size,
        embedding_size=64,
        steps=settings.steps,
        batch_size=settings.batch_size,
        chunk_length=settings.length,
        learning_rate=settings.learning_rate,
        warmup_steps=tenth,
        eval_interval=tenth,
        checkpoint_interval=tenth,
        sample_length=0,
    )
    if not settings.published:
        return base
    epoch = batches.chunks_per_epoch(len(data.train), settings.batch_size, settings.length)
    return dataclasses.replace(
        base,
        embedding_size=len(data.vocabulary),
        init_scale=0.08,
        rate_schedule="steps",
        warmup_steps=Config.warmup_steps,
        constant_steps=_EPOCHS_AT_FIRST_RATE * epoch,
        decay_interval=epoch,
        decay_factor=_DECAY,
    )


def sweep_of(settings: Expressive) -> Sweep:
    """Return what is compared: each cell with each number of layers, several seeds."""
    data = load_text(settings.data, settings.data_dir)
    base, facts = base_of(settings, data), data.facts

    def config_of(cell: Any, depth: int) -> Config:
        config = dataclasses.replace(base, cell=cell, num_layers=depth)
        if settings.parameters is None:
            return config

        def count(units: int) -> int:
            model = build(dataclasses.replace(config, hidden_size=units), facts)
            return num_parameters(jax.eval_shape(model.init, jax.random.key(0)))

        return dataclasses.replace(config, hidden_size=equal_width(count, settings.parameters))

    def seeds_of(cell: str, depth: int) -> dict[str, Config]:
        config = config_of(cell, depth)
        return {
            f"{cell}-{depth}-seed{seed}": dataclasses.replace(config, seed=seed)
            for seed in range(settings.num_seeds)
        }

    experiment = EXPERIMENT
    if settings.published:
        experiment = dataclasses.replace(EXPERIMENT, optimizer=rmsprop)
    return Sweep(
        experiment=experiment,
        rows={f"{NAMES[c]}, {n}": seeds_of(c, n) for c in settings.cells for n in settings.depths},
        figures=figures,
        head=lambda result: {"settings": as_stored(settings) | {"data_dir": None}},
        table=table,
        draw=draw,
        files=("expressive.md", RECORD, "expressive.png"),
    )


def figures(name: str, results: Results) -> dict[str, Any]:
    """Return the row of one cell and depth."""
    runs = list(results.values())
    config = runs[0]["config"]
    row = {key: config[key] for key in ("cell", "num_layers", "hidden_size")}
    row |= {"parameters": runs[0]["parameters"], "seconds": sum(run["seconds"] for run in runs)}
    for split in ("validation", "test"):
        nats = [run[f"{split}_nats"] for run in runs]
        row[f"{split}_nats"] = None if None in nats else over_seeds(nats)
    return row


def measured(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row's figure: of the test text, where there is one."""
    return row["test_nats"] or row["validation_nats"]


def table(content: Mapping[str, Any]) -> str:
    """Return Markdown: a line a cell, a column a depth."""
    settings, lines = content["settings"], by_cell(content)
    depths = settings["depths"]
    split = "test" if content["rows"][0]["test_nats"] else "validation"
    head = [f"{split} nats a character", *(f"{n} layer{'s' * (n > 1)}" for n in depths)]
    body = []
    for cell, of in lines.items():
        cells = [
            f"{shown(measured(of[n]), 3)} ({of[n]['hidden_size']} units)" if n in of else "-"
            for n in depths
        ]
        body.append([NAMES[cell], *cells])
    if settings["published"]:
        quoted = [str(KARPATHY_2015.get(n, "-")) for n in depths]
        body.append(["LSTM, Karpathy et al. 2015, quoted at second hand", *quoted])
    return sweep.markdown(head, *body)


def by_cell(content: Mapping[str, Any]) -> dict[str, dict[int, Any]]:
    """Return the rows by cell and depth."""
    return by_depth(content["rows"], lambda row: row["cell"])


def draw(path: Path, content: Mapping[str, Any], _: Mapping[str, Path]) -> None:
    """Draw the loss over the depth, a line a cell."""
    picture, axes = plots.figure(size=(5.5, 3.8))
    for i, (cell, of) in enumerate(by_cell(content).items()):
        found = [measured(row) for row in of.values()]
        means, halves = [f["mean"] for f in found], [f["half"] or 0.0 for f in found]
        axes.errorbar(list(of), means, halves, label=NAMES[cell], capsize=3, **plots.style(i))
    axes.set(xlabel="layers", ylabel="nats a character", title=content["settings"]["data"])
    axes.set_xticks(content["settings"]["depths"])
    axes.grid(alpha=0.3)
    axes.legend()
    picture.savefig(path, dpi=120)
