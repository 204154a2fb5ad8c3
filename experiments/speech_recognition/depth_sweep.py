"""How the error falls with depth: 1, 2, 3 and 5 layers of 250 units, as Graves et al. did.

Command:   python -m experiments.speech_recognition.depth_sweep
Expected:  test CER 30.0, 17.2, 13.8, 11.7 % with 1, 2, 3, 5 layers (intervals overlap only for
           neighbours of 2 and 3, 3 and 5). With --skip none 30.0, 15.0, 14.1, 35.9 %
Hardware:  one CPU core, shared with other programs
Time:      80 min in all: 4, 19, 17 and 39 min
Paper:     Graves, Mohamed, Hinton 2013, "Speech recognition with deep recurrent neural
           networks", table 1: phone errors on TIMIT with 1, 2, 3 and 5 bidirectional
           layers of 250 LSTM units and CTC: 23.9, 21.0, 18.6, 18.4 %

All depths have the same schedule, data and noise; what differs is the number of layers.
The schedule is a short one, of 12 epochs (see `CONFIG`), with less dropout and no change of
speed, and the layers have norms between them and residual connections past them, for the deep
ones are to have learned something by its end. Graves' networks had neither. Without the
residual connections five layers spend the first half of the twelve epochs on the plateau that
CTC begins with, next to nothing but blanks, and end with the largest error of all.
The errors are above those of `configs/an4.py`: compare them with each other, not with
published ones. One seed each: two depths whose intervals overlap are not told apart.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from experiments.common import command
from experiments.common.metrics import curve_of, read_metrics
from experiments.common.plots import learning_curve
from experiments.common.records import environment, write_json
from experiments.common.run_folder import finished_or_trained
from experiments.common.settings import as_stored
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.configs import an4
from experiments.speech_recognition.train import SPEECH_PACKAGES, train

RUNS = Path("runs/speech_recognition_depth")
EPOCHS = 12

CONFIG = dataclasses.replace(
    an4.CONFIG,
    hidden_size=250,
    layer_norm=True,
    skip="residual",
    steps=EPOCHS * an4.STEPS_PER_EPOCH,
    learning_rate=3e-3,
    warmup_steps=an4.STEPS_PER_EPOCH,
    speeds=(1.0,),
    dropout=0.2,
    max_frames=15,
    num_lengths=4,
    beam_size=4,  # the table is of the best path
)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Train networks of several depths on one schedule and compare their errors."""

    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default_factory=lambda: CONFIG)
    depths: tuple[int, ...] = (1, 2, 3, 5)
    """Numbers of layers."""
    workdir: Path | None = None
    """Where the runs go, a folder each; one that is there is gone on with."""


def sweep(settings: Sweep, workdir: Path) -> list[dict[str, Any]]:
    """Train each depth, or go on with it, and write table and picture.

    Args:
      settings: what to train.
      workdir: the folder; a finished run in it is not run again.

    Returns:
      A row a depth: layers, parameters, error rates of validation and test part, and
      the interval of the latter's.
    """
    rows = []
    for depth in settings.depths:
        folder = workdir / f"layers-{depth}"
        config = dataclasses.replace(settings.config, num_layers=depth)
        rows.append(_row(depth, finished_or_trained(train, config, folder)))
    write(workdir, settings.config, rows)
    return rows


def write(workdir: Path, config: Config, rows: Sequence[dict[str, Any]]) -> None:
    """Write depth.md, depth.json and depth.png into the folder of the runs, print the table."""
    table = format_table(rows, config)
    (workdir / "depth.md").write_text(table + "\n", encoding="utf-8")
    settings = as_stored(config)
    del settings["num_layers"]  # the rows tell it
    content = {"config": settings, "rows": rows, "environment": environment(SPEECH_PACKAGES)}
    write_json(workdir / "depth.json", content)
    curves = {
        f"{row['layers']} {'layer' if row['layers'] == 1 else 'layers'}": curve_of(
            read_metrics(workdir / f"layers-{row['layers']}"), "validation_cer", scale=100
        )
        for row in rows
    }
    title = f"{config.corpus_name}: bidirectional {config.cell}, skip {config.skip}, by depth"
    learning_curve(workdir / "depth.png", curves, {}, "validation CER in %, best path", title)
    print(table)


def _row(depth: int, result: dict[str, Any]) -> dict[str, Any]:
    best = result["decoders"]["greedy"]
    return {
        "layers": depth,
        "parameters": result["parameters"],
        "validation_cer": best["validation"]["cer"],
        "test_cer": best["test"]["cer"],
        "test_cer_interval": best["test"]["cer_interval"],
        "test_wer": best["test"]["wer"],
        "seconds": result["seconds"],
    }


def format_table(rows: Sequence[dict[str, Any]], config: Config) -> str:
    """Return the rows as a table in Markdown, under a line that states the schedule."""
    lines = [
        f"{config.corpus_name}, {config.hidden_size} {config.cell} units a layer and direction, "
        f"skip {config.skip}, "
        f"{config.steps:,} steps of {config.batch_size} utterances, seed {config.seed}; "
        "best path, errors in %; the interval holds 95 % of resampled test parts",
        "",
        "| layers | parameters | validation CER | test CER | interval | test WER | training, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = (f"{100 * bound:.2f}" for bound in row["test_cer_interval"])
        valid, test, wer = (
            f"{100 * row[name]:.2f}" for name in ("validation_cer", "test_cer", "test_wer")
        )
        lines.append(
            f"| {row['layers']} | {row['parameters']:,} | {valid} | {test} | {low} to {high} | "
            f"{wer} | {row['seconds']:,.0f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with command.plain_errors():
        settings = tyro.cli(
            Sweep, prog="python -m experiments.speech_recognition.depth_sweep", args=arguments
        )
        name = settings.config.corpus_name
        with command.run_folder_for(settings.workdir, RUNS, name) as workdir:
            sweep(settings, workdir)


if __name__ == "__main__":
    main(sys.argv[1:])
