"""The command line: parse, then train or forecast."""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.own_data import located
from experiments.stock_prediction.config import CORPORA, Config
from experiments.stock_prediction.configs import PRESETS
from experiments.stock_prediction.predict import predict
from experiments.stock_prediction.train import train

RUNS = Path("runs/stock_prediction")


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What to do, apart from a run's settings."""

    preset: Literal["default", "acl18", "etth1"] = "default"
    """Settings to start from; the other options change them one by one. Without it, --data
    with a corpus that has settings of its own starts from those."""
    predict: Path | None = None
    """Forecast what follows in this CSV file with a trained run, instead of training."""
    output: Path | None = None
    """With --predict: write the forecasts for all days of the file, or all hours, to this CSV."""

    @property
    def needs_run(self) -> bool:
        """Whether there must be a run already."""
        return self.resume or self.predict is not None


def parse(arguments: Sequence[str]) -> tuple[Task, Config]:
    """Return what is asked for; see `common.command.parse`."""
    return command.parse(
        arguments,
        name="stock_prediction",
        about="Train recurrent networks on prices or hours, or forecast with trained ones.",
        task=Task,
        presets=PRESETS,
        runs=RUNS,
        located=partial(located, corpora=CORPORA),
    )


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with command.plain_errors():
        task, config = parse(arguments)
        if task.predict is not None and task.workdir is not None:
            print(predict(task.workdir, task.predict, output=task.output))
            return
        if task.output is not None:
            raise InputError("stock_prediction: --output goes with --predict FILE.csv")
        name = f"{Path(config.data).stem}-{config.cell}"
        with command.run_folder_for(task.workdir, RUNS, name) as workdir:
            train(config, workdir, resume=task.resume)


if __name__ == "__main__":
    main(sys.argv[1:])
