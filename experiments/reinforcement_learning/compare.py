"""A task by several memories: the command of this package.

Each training, of one memory and all its seeds, is one program, so that there is nothing to go on
with within it. What is done is not done again, with `--resume` or the same `--workdir`.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from experiments.common import intervals, plots, sweep
from experiments.common.command import run_folder_for
from experiments.common.intervals import counted
from experiments.common.records import environment, write_json
from experiments.reinforcement_learning.config import FRAMES, PRESETS, Config
from experiments.reinforcement_learning.training import finished_or_trained, make_parts

RUNS = Path("runs") / "reinforcement_learning"
WHAT = "reinforcement_learning: no comparison"
_SOLVED = 0.95  # of the way from what can be had without memory, or from zero, to the best
RECORD, TABLE, PICTURE = "comparison.json", "table.md", "learning_curve.png"

if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[tuple(PRESETS)]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Train each memory on a task, and write a table and a learning curve."""

    preset: PresetName = "default"
    """A task; default: the T-maze with a corridor of 10 steps, short."""
    cells: tuple[str, ...] = ()
    """Names of long_memory's `cells.CELLS`; else the preset's, as are all below."""
    depths: tuple[int, ...] = ()
    """Layers of each cell."""
    frames: tuple[int, ...] = ()
    """How many frames a net without recurrence sees; 1: a feed-forward net."""
    resume: bool = False
    """Go on with the newest comparison of the preset, with the same options."""
    workdir: Path | None = None
    """The folder of all trainings; else a new one. One that is there is gone on with."""
    environment: str | None = None
    """tmaze, repeat_previous, cart_pole, or gymnax:NAME, which needs gymnax installed."""
    delay: int | None = None
    """How long to remember. T-maze: steps of the corridor; repeat previous: cards ago."""
    hidden_size: int | None = None
    """Units of every layer."""
    num_seeds: int | None = None
    """Agents of each memory that are trained side by side."""
    seed: int | None = None
    """Seed of the first of them."""
    steps: int | None = None
    """Steps of each agent, in all its environments together."""
    num_envs: int | None = None
    """Environments of each agent."""
    rollout: int | None = None
    """Steps in each environment between updates."""
    learning_rate: float | None = None
    """Of Adam at first."""
    discount: float | None = None
    """Of a reward a step later."""


def configs_of(comparison: Comparison) -> dict[str, Config]:
    """Return what is trained, by the name of its folder.

    Raises:
      InputError: a setting cannot be.
    """
    preset = PRESETS[comparison.preset]
    own = {field.name for field in dataclasses.fields(Config)}
    given = {k: v for k, v in vars(comparison).items() if k in own and v is not None}
    base = dataclasses.replace(preset.config, **given)
    found = {}
    for cell in comparison.cells or preset.cells:
        for depth in comparison.depths or preset.depths:
            config = dataclasses.replace(base, memory=cell, num_layers=depth)
            found[f"{cell}-{depth}"] = config
    for number in comparison.frames or preset.frames:
        config = dataclasses.replace(base, memory=FRAMES, num_frames=number)
        found[f"{FRAMES}-{number}"] = config
    return found


def label(config: Mapping[str, Any]) -> str:
    """Return a memory's name in a table and a picture."""
    if config["memory"] != FRAMES:
        layers = config["num_layers"]
        return config["memory"] + (f", {layers} layers" if layers > 1 else "")
    number = config["num_frames"]
    return "feed-forward" if number == 1 else f"{number} frames, feed-forward"


def run(configs: Mapping[str, Config], folder: Path) -> dict[str, Any]:
    """Train what has not been trained yet below a folder, write and print what came out.

    Returns:
      What the JSON file holds.

    Raises:
      InputError, FloatingPointError: see `finished_or_trained`.
    """
    make_parts(next(iter(configs.values())))  # what cannot be is refused before anything is written
    content: dict[str, Any] = {"rows": []}
    for name, config in configs.items():
        print(f"{label(vars(config))} ...", flush=True)
        result = finished_or_trained(config, folder / name)
        content["rows"].append({k: v for k, v in result.items() if k != "environment"})
        content["environment"] = environment()
        print(
            f"    return {shown(result['return'])}; {result['seconds']:.1f} s, after "
            f"{result['compile_seconds']:.1f} s of compiling",
            flush=True,
        )
        write_json(folder / RECORD, content)
        (folder / TABLE).write_text(table(content["rows"]) + "\n", encoding="utf-8")
        draw(folder / PICTURE, content["rows"])
    print(f"\n{table(content['rows'])}\n\nfiles: {folder}/ ({TABLE}, {RECORD}, {PICTURE})")
    return content


def shown(figure: Mapping[str, Any]) -> str:
    """Return a return with the standard deviation of its seeds."""
    digits = 1 if abs(figure["mean"]) >= 10 else 2
    return intervals.shown(figure, digits, spread="deviation")


def solved(row: Mapping[str, Any]) -> list[bool]:
    """Return which seeds are most of the way from what is had without memory to the best."""
    levels = row["levels"]
    low, best = levels.get("without memory", 0.0), levels["best"]
    return [(one - low) / (best - low) >= _SOLVED for one in row["return"]["each"]]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return Markdown: a line a memory, with mean and deviation of its seeds."""
    levels = "".join(f"; {name} {value:g}" for name, value in rows[0]["levels"].items())
    head = ["memory", "parameters", f"return{levels}"]
    lines = [[label(row["config"]), f"{row['parameters']:,}", shown(row["return"])] for row in rows]
    if levels:  # else it is not known what the best is
        head.append("seeds that solve it")
        for line, row in zip(lines, rows, strict=True):
            line.append(counted(solved(row)))
    return sweep.markdown(head, *lines)


def draw(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the learning curves: the mean over the seeds, and a band of their deviation."""
    config = rows[0]["config"]
    picture, axes = plots.figure()
    for i, row in enumerate(rows):
        step, each = row["curve"]["step"], np.array(row["curve"]["each"])
        mean, deviation = each.mean(axis=0), each.std(axis=0)
        style = plots.style(i)
        axes.plot(step, mean, label=label(row["config"]), **style)
        axes.fill_between(
            step, mean - deviation, mean + deviation, color=style["color"], alpha=0.15
        )
    for i, (name, value) in enumerate(rows[0]["levels"].items()):
        axes.axhline(value, label=name, color="0.4", linewidth=0.8, linestyle=("-.", ":")[i % 2])
    title = f"{config['environment']}, {config['num_seeds']} seeds"
    axes.set(xlabel="steps of an agent", ylabel="return of an episode", title=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    picture.savefig(path, dpi=120)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with sweep.command_line(Comparison, "reinforcement_learning", arguments) as comparison:
        configs, folder = configs_of(comparison), comparison.workdir
        if comparison.resume and folder is None:
            folder = sweep.newest(RUNS, comparison.preset, WHAT)
        with run_folder_for(folder, RUNS, comparison.preset) as workdir:
            run(configs, workdir)


if __name__ == "__main__":
    main(sys.argv[1:])
