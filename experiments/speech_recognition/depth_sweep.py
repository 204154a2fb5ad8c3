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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from experiments.common import sweep
from experiments.common.command import run_folder_for
from experiments.common.settings import as_stored
from experiments.common.sweep import Results, Sweep
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.configs import an4
from experiments.speech_recognition.experiment import EXPERIMENT

RUNS = Path("runs/speech_recognition_depth")
EPOCHS = 12

CONFIG = dataclasses.replace(
    an4.CONFIG,
    hidden_size=250,
    normalize_inputs=True,
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
class Options:
    """Train networks of several depths on one schedule and compare their errors."""

    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default_factory=lambda: CONFIG)
    depths: tuple[int, ...] = (1, 2, 3, 5)
    """Numbers of layers."""
    workdir: Path | None = None
    """Where the runs go, a folder each; one that is there is gone on with."""


def depths_of(config: Config, depths: Sequence[int]) -> Sweep:
    """Return what is compared: `config` with so many layers each."""
    stored = {k: v for k, v in as_stored(config).items() if k != "num_layers"}  # the rows tell it
    title = f"{Path(config.data).name}: bidirectional {config.cell}, skip {config.skip}, by depth"
    return Sweep(
        experiment=EXPERIMENT,
        rows={
            f"{depth} {'layer' if depth == 1 else 'layers'}": {
                f"layers-{depth}": dataclasses.replace(config, num_layers=depth)
            }
            for depth in depths
        },
        figures=_figures,
        head=lambda _: {"config": stored},
        table=table,
        draw=sweep.curves("validation_cer", "validation CER in %, best path", title, scale=100),
        files=("depth.md", "depth.json", "depth.png"),
    )


def _figures(_: str, results: Results) -> dict[str, Any]:
    """Return a depth's row: the error rates of both parts, and the test part's interval."""
    (result,) = results.values()
    best = result["decoders"]["greedy"]
    return {
        "layers": result["config"]["num_layers"],
        "parameters": result["parameters"],
        "validation_cer": best["validation"]["cer"],
        "test_cer": best["test"]["cer"],
        "test_cer_interval": best["test"]["cer_interval"],
        "test_wer": best["test"]["wer"],
        "seconds": result["seconds"],
    }


def table(content: Mapping[str, Any]) -> str:
    """Return the table as Markdown, a row a depth, under a line that states the schedule."""
    config = content["config"]
    head = ["layers", "parameters", "validation CER", "test CER", "interval", "test WER"]
    rows = [[*head, "training, s"]]
    for row in content["rows"]:
        rates = (row["validation_cer"], row["test_cer"], *row["test_cer_interval"], row["test_wer"])
        valid, test, low, high, wer = (f"{100 * rate:.2f}" for rate in rates)
        sizes, seconds = (row["layers"], f"{row['parameters']:,}"), f"{row['seconds']:,.0f}"
        rows.append([*sizes, valid, test, f"{low} to {high}", wer, seconds])
    return (
        f"{Path(config['data']).name}, {config['hidden_size']} {config['cell']} units a layer and "
        f"direction, skip {config['skip']}, {config['steps']:,} steps of {config['batch_size']} "
        f"utterances, seed {config['seed']}; best path, errors in %; the interval holds 95 % of "
        f"resampled test parts\n\n{sweep.markdown(*rows)}"
    )


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with sweep.command_line(Options, "speech_recognition.depth_sweep", arguments) as options:
        data = EXPERIMENT.data_at(options.config.data)
        config = dataclasses.replace(options.config, data=data)
        with run_folder_for(options.workdir, RUNS, Path(data).name) as workdir:
            sweep.run(depths_of(config, options.depths), workdir)


if __name__ == "__main__":
    main(sys.argv[1:])
