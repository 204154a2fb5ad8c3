"""The command line: parse, then train, translate or evaluate."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from experiments.common import command
from experiments.common.errors import InputError
from experiments.machine_translation.config import Config
from experiments.machine_translation.configs import presets_on
from experiments.machine_translation.lines import lines_of
from experiments.machine_translation.own_pairs import located
from experiments.machine_translation.predict import evaluate_files, translate_aloud
from experiments.machine_translation.train import train

RUNS = Path("runs/machine_translation")


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What to do, apart from a run's settings."""

    preset: Literal["default", "multi30k"] = "default"
    """Settings to start from; the other options change them one by one."""
    translate: tuple[str, ...] | None = None
    """Translate these sentences with a trained model; "-": the lines of the standard input."""
    evaluate: tuple[Path, Path] | None = None
    """Translate the lines of one file and compare with those of another; .gz will do, too."""

    @property
    def needs_run(self) -> bool:
        """Whether there must be a run already."""
        return self.resume or self.translate is not None or self.evaluate is not None


def parse(arguments: Sequence[str]) -> tuple[Task, Config]:
    """Return what is asked for; see `common.command.parse`."""
    return command.parse(
        arguments,
        name="machine_translation",
        about="Train a recurrent translator with attention, or translate with a trained one.",
        task=Task,
        presets=presets_on(located(command.data_asked_for(arguments))),
        runs=RUNS,
        located=located,
    )


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with command.plain_errors():
        task, config = parse(arguments)
        if task.translate is not None and task.evaluate is not None:
            raise InputError("main: give either --translate or --evaluate, got both")
        if task.workdir is not None and task.translate is not None:
            lines = task.translate
            if lines == ("-",):
                lines = lines_of(sys.stdin.buffer.read(), "the standard input")
            translate_aloud(task.workdir, lines, config)
        elif task.workdir is not None and task.evaluate is not None:
            evaluate_files(task.workdir, *task.evaluate, config)
        else:
            data = Path(config.data).name.replace(":", "-")
            name = f"{data}-{config.attention}"
            with command.run_folder_for(task.workdir, RUNS, name) as workdir:
                train(config, workdir, resume=task.resume)


if __name__ == "__main__":
    main(sys.argv[1:])
