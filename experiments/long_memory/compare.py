"""A task by several cells, each at several learning rates: the command of this package.

Each run, of one cell at one rate, is in a folder of its own below that of all. What is done is
not done again, and what was interrupted goes on, with `--resume` or the same `--workdir`.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.common import sweep
from experiments.common.command import run_folder_for
from experiments.common.errors import InputError
from experiments.common.sweep import Results, Sweep
from experiments.long_memory.cells import CELLS
from experiments.long_memory.config import Config
from experiments.long_memory.experiment import EXPERIMENT
from experiments.long_memory.presets import PRESETS
from experiments.long_memory.table import RECORD, draw, table

if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[tuple(PRESETS)]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Train each cell on a task, and write a table and a picture."""

    preset: PresetName = "default"
    """A task; default: parity and copying, three cells, short."""
    data: Literal["mnist", "tinyshakespeare"] | None = None
    """Without --preset: the first one that learns from these data."""
    cells: tuple[str, ...] = ()
    """Names of `cells.CELLS`; else the preset's: all, but where a task takes long."""
    resume: bool = False
    """Go on with the newest comparison of the preset, with the same options."""
    workdir: Path | None = None
    """The folder of all runs; else a new one. One that is there is gone on with."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""
    learning_rates: tuple[float, ...] = ()
    """In place of the preset's, as are all below."""
    architecture: Literal["plain", "block"] | None = None
    """Layers of the cell one on the other, or residual blocks."""
    conv_width: int | None = None
    """Blocks: steps that the convolution before the cell reads."""
    num_layers: int | None = None
    """Layers, or blocks."""
    parameters: int | None = None
    """Parameters of every network."""
    length: int | None = None
    """Steps of a sequence in training."""
    num_seeds: int | None = None
    """Models of each cell that are trained side by side."""
    seed: int | None = None
    """Seed of the first of them."""
    steps: int | None = None
    """Training steps; evaluations are then a tenth of them apart, warm-up as long."""
    batch_size: int | None = None
    """Sequences in a step of each model."""


def preset_of(comparison: Comparison) -> str:
    """Return the name of the preset that is meant.

    Raises:
      InputError: it learns from other data than those named.
    """
    data = comparison.data
    if data is None:
        return comparison.preset
    suited = [name for name, preset in PRESETS.items() if preset.configs[0].data == data]
    if comparison.preset not in ("default", *suited):
        raise InputError(
            f"Comparison: --preset {comparison.preset} does not learn from {data}; omit "
            f"--data, or give one of {', '.join(suited)}"
        )
    return suited[0] if comparison.preset == "default" else comparison.preset


def comparison_of(comparison: Comparison) -> Sweep:
    """Return what is compared.

    Raises:
      InputError: there is no such cell, or a setting cannot be.
    """
    preset = PRESETS[preset_of(comparison)]
    cells = comparison.cells or preset.cells or tuple(CELLS)
    rates = comparison.learning_rates or preset.learning_rates
    rows: dict[str, dict[str, Config]] = {}
    for base in preset.configs:
        for cell in cells:
            config = dataclasses.replace(base, **_given(comparison), cell=cell)
            rows[f"{config.task}, {cell}"] = {
                f"{config.task}-{cell}-{rate:g}": dataclasses.replace(config, learning_rate=rate)
                for rate in rates
            }
    return Sweep(
        experiment=EXPERIMENT,
        rows=rows,
        figures=figures,
        head=lambda result: {"seeds": result["config"]["num_seeds"]},
        table=lambda content: table(content["rows"]),
        draw=lambda path, content, folders: draw(path, content["rows"]),
        files=("table.md", RECORD, "comparison.png"),
    )


def _given(comparison: Comparison) -> dict[str, Any]:
    """Return the settings that take the place of a preset's."""
    of_all = {"preset", "data", "cells", "resume", "workdir", "learning_rates"}
    given = {k: v for k, v in vars(comparison).items() if k not in of_all and v is not None}
    if "steps" in given:
        tenth = max(1, given["steps"] // 10)
        given |= {"warmup_steps": min(tenth, given["steps"] - 1)}
        given |= {"eval_interval": tenth}
    return given


def figures(_: str, results: Results) -> dict[str, Any]:
    """Return the row of one cell on one task: of the rate whose validation was best."""
    of_rates = {result["config"]["learning_rate"]: result for result in results.values()}
    losses = {rate: result["validation_loss"]["mean"] for rate, result in of_rates.items()}
    rate = min(losses, key=losses.__getitem__)
    best: Mapping[str, Any] = of_rates[rate]
    kept = ("hidden_size", "parameters", "best_step", "chance", "validation_loss", "test")
    from_config = ("task", "cell", "architecture", "length", "num_seeds", "steps")
    return {
        **{name: best["config"][name] for name in from_config},
        **{name: best[name] for name in kept},
        "learning_rate": rate,
        "validation_loss_by_rate": {f"{rate:g}": loss for rate, loss in losses.items()},
        "seconds": sum(result["seconds"] for result in results.values()),
        "by_step": best.get("by_step"),
    }


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with sweep.command_line(Comparison, "long_memory", arguments) as comparison:
        preset, compared = preset_of(comparison), comparison_of(comparison)
        folder = comparison.workdir
        if comparison.resume and folder is None:
            folder = sweep.newest(EXPERIMENT.runs, preset, "long_memory: no comparison")
        with run_folder_for(folder, EXPERIMENT.runs, preset) as workdir:
            sweep.run(compared, workdir)


if __name__ == "__main__":
    main(sys.argv[1:])
