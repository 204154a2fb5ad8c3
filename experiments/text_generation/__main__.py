"""The command line: parse, then train or write."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.common.errors import InputError
from experiments.common.records import RUN_FILE, new_run, newest_run, read_json
from experiments.text_generation.config import Config, config_from_dict
from experiments.text_generation.configs import PRESETS
from experiments.text_generation.generate import load_writer, stream_text
from experiments.text_generation.train import train

RUNS = Path("runs/text_generation")


@dataclasses.dataclass(frozen=True)
class Task:
    """What to do, apart from a run's settings."""

    preset: Literal["default", "ten-minutes", "tinyshakespeare"] = "default"
    """Settings to start from; the other options change them one by one."""
    workdir: Path | None = None
    """The run's folder; else a new one, or with --resume and --generate the newest one."""
    resume: bool = False
    """Go on with a run that was interrupted, with its own settings."""
    generate: str | None = None
    """Write on from this text with a trained model, instead of training."""


@dataclasses.dataclass(frozen=True)
class Command:
    """Train a recurrent language model on text, or write with a trained one."""

    task: Annotated[Task, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Task)
    config: Annotated[Config, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Config)


def parse(arguments: Sequence[str]) -> Command:
    """Return what is asked for, with the folder and the defaults that follow from it.

    A preset, or the run to go on with, moves the defaults of the settings; options that
    are given always win. So the task is read first, and then the whole line.

    Raises:
      InputError: a value out of range, or no run where one is needed.
      SystemExit: an unknown option, a malformed value, or --help.
    """
    options = {"prog": "python -m experiments.text_generation", "args": arguments}
    task, _ = tyro.cli(Task, add_help=False, return_unknown_args=True, **options)
    config = PRESETS[task.preset]
    if task.resume or task.generate is not None:
        workdir = task.workdir or newest_run(RUNS)
        if workdir is None or not workdir.is_dir():
            raise InputError(
                f"text_generation: no run in {workdir or RUNS}; train one first, or give "
                "its folder as --workdir"
            )
        task = dataclasses.replace(task, workdir=workdir)
        if (workdir / RUN_FILE).is_file():
            config = config_from_dict(read_json(workdir / RUN_FILE)["config"])
    return tyro.cli(Command, default=Command(task, config), **options)


def write(workdir: Path, prompt: str, config: Config) -> None:
    """Print a prompt and what the model writes after it, as it is written."""
    writer = load_writer(workdir, warn=lambda line: print(line, file=sys.stderr))
    pieces = stream_text(writer, prompt, config.sample_length, config.sampling, config.seed)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    try:
        command = parse(arguments)
        task, config = command.task, command.config
        if task.generate is not None and task.workdir is not None:
            write(task.workdir, task.generate, config)
            return
        name = f"{Path(config.corpus).stem}-{config.cell}"
        train(config, task.workdir or new_run(RUNS, name), resume=task.resume)
    except (InputError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; go on with --resume") from None


if __name__ == "__main__":
    main(sys.argv[1:])
