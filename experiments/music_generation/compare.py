"""Cells and depths on one schedule: RNN, LSTM and GRU with 1, 2 and 3 layers.

Command:   python -m experiments.music_generation.compare --data jsb
           python -m experiments.music_generation.compare --data nottingham
Expected:  experiments/results/music_generation/compare-jsb and compare-nottingham
Hardware:  2 CPU cores
Time:      13 minutes of processor time for both corpora, measured beside other programs

All nine have the same units a layer, the same steps, learning rate and dropout, and read
the same batches; the number of parameters so differs, and is in the table. Nothing is
tuned for one of them. The RNN is `elman`, with tanh. The schedules are short, and deep
networks learn slowly at first: the table tells how far each comes in so many steps, not
how good it gets.

Each is a run of its own below the folder; what is done is not done again, and what was
interrupted goes on, if the same command is given with the folder as --workdir.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from experiments.common import plots, sweep
from experiments.common.command import run_folder_for
from experiments.common.settings import as_stored
from experiments.common.sweep import Results, Sweep
from experiments.music_generation.config import Config
from experiments.music_generation.experiment import EXPERIMENT
from experiments.music_generation.report import BAI_2018

NAMES = {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}

SCHEDULES: Mapping[str, Config] = {
    "chorales": Config(hidden_size=64, num_seeds=2, steps=200, transpose=5),
    "jsb": Config(
        data="jsb",
        hidden_size=128,
        num_seeds=2,
        steps=400,
        transpose=0,
        dropout=0.3,
        weight_drop=0.3,
        ema_decay=0.99,
    ),
    "nottingham": Config(
        data="nottingham",
        hidden_size=128,
        num_seeds=1,
        steps=800,
        transpose=0,
        dropout=0.1,
        weight_drop=0.1,
        ema_decay=0.99,
        batch_size=12,
        crop_frames=96,
        num_buckets=1,
        learning_rate=4e-3,
        eval_interval=200,
        checkpoint_interval=200,
    ),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Train each cell with each depth on one schedule, and write a table and a plot."""

    data: Literal["chorales", "jsb", "nottingham"] = "chorales"
    """chorales, jsb or nottingham; each has its schedule."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download."""
    workdir: Path | None = None
    """The folder of all runs; else a new one."""
    hidden_size: int | None = None
    """Units of each layer, in place of the schedule's."""
    steps: int | None = None
    """Training steps, in place of the schedule's."""
    num_seeds: int | None = None
    """Models of each kind, in place of the schedule's."""


def base_config(comparison: Comparison) -> Config:
    """Return what all nine have in common."""
    given = {name: value for name, value in vars(comparison).items() if value is not None}
    given.pop("workdir", None)
    base = SCHEDULES[comparison.data]
    warmup_steps = min(base.warmup_steps, given.get("steps", base.steps) // 10)
    return dataclasses.replace(base, **given, warmup_steps=warmup_steps)


def comparison_of(
    base: Config, cells: Sequence[str] = tuple(NAMES), depths: Sequence[int] = (1, 2, 3)
) -> Sweep:
    """Return what is compared: each cell with each number of layers, the rest as in `base`."""
    configs = {
        f"{cell}-{depth}": dataclasses.replace(base, cell=cell, num_layers=depth)
        for cell in cells
        for depth in depths
    }
    return Sweep(
        experiment=EXPERIMENT,
        rows={name: {name: config} for name, config in configs.items()},
        figures=_figures,
        head=lambda result: {
            "data": base.data,
            "config": as_stored(base),
            "baselines": result["test_baselines"],
        },
        table=table,
        draw=plot,
        files=("table.md", "comparison.json", "comparison.png"),
    )


def _figures(_: str, results: Results) -> dict[str, Any]:
    """Return what the table shows of one run."""
    (result,) = results.values()
    kept = ("parameters", "seeds", "best_step", "seconds", "test_nll_by_pieces")
    nlls = (f"{split}_nll{end}" for split in ("validation", "test") for end in ("", "_deviation"))
    shown = {name: result["config"][name] for name in ("cell", "num_layers")}
    return shown | {name: result[name] for name in (*kept, *nlls)}


def _lines(content: Mapping[str, Any]) -> dict[str, dict[int, dict[str, Any]]]:
    """Return the rows by the cell's name and by depth, in their order."""
    lines: dict[str, dict[int, dict[str, Any]]] = {}
    for row in content["rows"]:
        lines.setdefault(NAMES[row["cell"]], {})[row["num_layers"]] = row
    return lines


def table(content: Mapping[str, Any]) -> str:
    """Return the table as Markdown: test NLL, mean ± deviation over the seeds."""
    config, data, lines = content["config"], content["data"], _lines(content)
    depths, published = next(iter(lines.values())), BAI_2018.get(data, {})
    figures = sweep.markdown(
        ["cell", *(f"{depth} layer{'s' * (depth > 1)}" for depth in depths), "published"],
        *(
            [cell, *(_cell(of.get(depth)) for depth in depths), published.get(cell, "-")]
            for cell, of in lines.items()
        ),
    )
    baselines = ", ".join(f"{name} {nll:.3f}" for name, nll in content["baselines"].items())
    return (
        f"Test NLL on {data}, nats a frame; {config['hidden_size']} units a layer, "
        f"{config['steps']} steps of {config['batch_size']} windows, {config['num_seeds']} "
        "seed(s); in brackets the parameters and the seconds of training.\n\n"
        f"{figures}\n\nBaselines: {baselines}"
    )


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:  # not trained yet
        return "-"
    spread = f" ± {row['test_nll_deviation']:.3f}" if len(row["seeds"]) > 1 else ""
    return f"{row['test_nll']:.3f}{spread} ({row['parameters']:,}; {row['seconds']:.0f} s)"


def plot(path: Path, content: Mapping[str, Any], _: Mapping[str, Path]) -> None:
    """Draw the test NLL over the depth, a line a cell."""
    picture, axes = plots.figure(size=(6.0, 4.0))
    for cell, of in _lines(content).items():
        nll = [row["test_nll"] for row in of.values()]
        spread = [row["test_nll_deviation"] for row in of.values()]
        axes.errorbar(list(of), nll, yerr=spread, label=cell, marker="o", capsize=3)
        axes.set_xticks(list(of))
    config = content["config"]
    title = f"{content['data']}: {config['hidden_size']} units, {config['steps']} steps"
    axes.set(xlabel="layers", ylabel="nats a frame, test", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    picture.savefig(path, dpi=120)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with sweep.command_line(Comparison, "music_generation.compare", arguments) as comparison:
        name = f"compare-{comparison.data}"
        with run_folder_for(comparison.workdir, EXPERIMENT.runs, name) as workdir:
            sweep.run(comparison_of(base_config(comparison)), workdir)


if __name__ == "__main__":
    main(sys.argv[1:])
