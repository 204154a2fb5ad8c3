"""Forecasts for a user's own file with a trained run: of prices, or of hours."""

import dataclasses
from pathlib import Path

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.stock_prediction.kinds import kind_of


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What to do, apart from a run's settings."""

    predict: Path | None = None
    """Forecast what follows in this CSV file with a trained run, instead of training."""
    output: Path | None = None
    """With --predict: write the forecasts for all days of the file, or all hours, to this CSV."""

    def __post_init__(self) -> None:
        """Refuse an output that cannot be written, before anything is read, by an InputError."""
        super().__post_init__()
        if self.output is None:
            return
        out = self.output.expanduser()
        if not out.parent.is_dir():
            raise InputError(f"Task: there is no folder {out.parent} to write {out.name} to")
        if out.is_dir():
            raise InputError(f"Task: --output is the folder {out}; give a file in it")


def use(task: Task, trained: Trained) -> None:
    """Print what follows in the file, beside the baselines' forecast, and write all of it.

    Raises:
      InputError: the file cannot be used: see `daily.files` for a run on prices; for one on
        hours it must have hourly values of the same variables.
    """
    assert task.predict is not None  # or there would be no task
    output = None if task.output is None else task.output.expanduser()
    print(kind_of(trained.config).use.forecast(trained, task.predict.expanduser(), output))
