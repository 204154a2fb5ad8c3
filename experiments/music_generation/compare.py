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
from typing import Any

import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.common.command import plain_errors, run_folder_for
from experiments.common.records import environment, write_json
from experiments.common.run_folder import finished_or_trained
from experiments.common.settings import as_stored
from experiments.music_generation.config import Config
from experiments.music_generation.data import DataName
from experiments.music_generation.report import PUBLISHED
from experiments.music_generation.train import train

RUNS = Path("runs/music_generation")
CELLS = {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}
DEPTHS = (1, 2, 3)

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

    data: DataName = "chorales"
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
    wishes = {
        name: value
        for name in ("data_dir", "hidden_size", "steps", "num_seeds")
        if (value := getattr(comparison, name)) is not None
    }
    base = SCHEDULES[comparison.data]
    steps = wishes.get("steps", base.steps)
    return dataclasses.replace(base, **wishes, warmup_steps=min(base.warmup_steps, steps // 10))


def compare(comparison: Comparison, workdir: Path) -> dict[str, Any]:
    """Train what has not been trained yet and return what is in comparison.json.

    Raises:
      InputError: see `train`.
    """
    base, results = base_config(comparison), []
    for cell in CELLS:
        for depth in DEPTHS:
            config = dataclasses.replace(base, cell=cell, num_layers=depth)
            results.append(finished_or_trained(train, config, workdir / f"{cell}-{depth}"))
    content = {
        "data": comparison.data,
        "config": as_stored(base),
        "rows": [_row(result) for result in results],
        "baselines": results[0]["test_baselines"],
        "environment": environment(),
    }
    write_json(workdir / "comparison.json", content)
    (workdir / "table.md").write_text(table(content), encoding="utf-8")
    plot(workdir / "comparison.png", content)
    return content


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table shows of one run."""
    kept = ("parameters", "seeds", "best_step", "seconds")
    nlls = tuple(
        f"{split}_nll{end}" for split in ("validation", "test") for end in ("", "_deviation")
    )
    config = result["config"]
    shown = {"cell": config["cell"], "num_layers": config["num_layers"]}
    return shown | {name: result[name] for name in (*kept, *nlls, "test_nll_by_pieces")}


def table(content: Mapping[str, Any]) -> str:
    """Return the table as Markdown: test NLL, mean ± deviation over the seeds."""
    config, data = content["config"], content["data"]
    lines = [
        f"Test NLL on {data}, nats a frame; {config['hidden_size']} units a layer, "
        f"{config['steps']} steps of {config['batch_size']} windows, {config['num_seeds']} "
        "seed(s); in brackets the parameters and the seconds of training.",
        "",
        "| cell | "
        + " | ".join(f"{depth} layer{'s' * (depth > 1)}" for depth in DEPTHS)
        + " | published |",
        "|---|" + "---|" * (len(DEPTHS) + 1),
    ]
    for cell, name in CELLS.items():
        cells = [_cell(row) for row in content["rows"] if row["cell"] == cell]
        published = PUBLISHED.get(data, {}).get(name)
        lines.append(f"| {name} | {' | '.join(cells)} | {published or '-'} |")
    lines += [
        "",
        "Baselines: " + ", ".join(f"{n} {v:.3f}" for n, v in content["baselines"].items()),
    ]
    return "\n".join(lines) + "\n"


def _cell(row: Mapping[str, Any]) -> str:
    spread = f" ± {row['test_nll_deviation']:.3f}" if len(row["seeds"]) > 1 else ""
    return f"{row['test_nll']:.3f}{spread} ({row['parameters']:,}; {row['seconds']:.0f} s)"


def plot(path: Path, content: Mapping[str, Any]) -> None:
    """Draw the test NLL over the depth, a line a cell."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for cell, name in CELLS.items():
        rows = [row for row in content["rows"] if row["cell"] == cell]
        axes.errorbar(
            [row["num_layers"] for row in rows],
            [row["test_nll"] for row in rows],
            yerr=[row["test_nll_deviation"] for row in rows],
            label=name,
            marker="o",
            capsize=3,
        )
    axes.set_xticks(DEPTHS)
    axes.set_xlabel("layers")
    axes.set_ylabel("nats a frame, test")
    config = content["config"]
    axes.set_title(f"{content['data']}: {config['hidden_size']} units, {config['steps']} steps")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    prog = "python -m experiments.music_generation.compare"
    with plain_errors():
        comparison = tyro.cli(Comparison, prog=prog, args=arguments)
        name = f"compare-{comparison.data}"
        with run_folder_for(comparison.workdir, RUNS, name) as workdir:
            content = compare(comparison, workdir)
        print("\n" + table(content))
        print(f"files: {workdir}/ (table.md, comparison.png, comparison.json, a folder a run)")


if __name__ == "__main__":
    main(sys.argv[1:])
