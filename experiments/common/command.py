"""The command line that all experiments share: a task, and the settings of a run.

A preset, the corpus asked for, or the run to go on with, moves the defaults of the
settings; options that are given always win.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from experiments.common.errors import InputError
from experiments.common.records import RUN_FILE, new_run, newest_run, read_json
from experiments.common.settings import config_from_dict

T = TypeVar("T", bound="Task")
C = TypeVar("C")


@dataclasses.dataclass(frozen=True)
class Task:
    """What to do, apart from a run's settings; an experiment adds its own wishes."""

    preset: str = "default"
    """Settings to start from; the other options change them one by one. Without it, --data
    with a corpus that has settings of its own starts from those."""
    workdir: Path | None = None
    """The run's folder; else a new one, or the newest where a trained one is needed."""
    resume: bool = False
    """Go on with a run that was interrupted, with its own settings."""

    @property
    def needs_run(self) -> bool:
        """Whether there must be a run already; say so for what a trained model does."""
        return self.resume


def parse(
    arguments: Sequence[str],
    *,
    name: str,
    about: str,
    task: type[T],
    presets: Mapping[str, C],
    runs: Path,
    data_field: str = "data",
) -> tuple[T, C]:
    """Return what is asked for, with the folder and the settings that follow from it.

    Args:
      arguments: the words of the command line.
      name: the experiment, as in `experiments.<name>`.
      about: what it does, for `--help`.
      task: the experiment's own Task.
      presets: configs by name, "default" among them.
      runs: where the experiment's runs are.
      data_field: the setting that `--data` stands for.

    Raises:
      InputError: a value out of range, or no run where one is needed.
      SystemExit: an unknown option, a malformed value, or --help.
    """
    options: dict[str, Any] = {"prog": f"python -m experiments.{name}", "args": arguments}
    # The task is read first, because the settings' defaults follow from it.
    wanted, _ = tyro.cli(task, add_help=False, return_unknown_args=True, **options)
    stored = None
    if wanted.needs_run:
        workdir = wanted.workdir or newest_run(runs)
        if workdir is None or not workdir.is_dir():
            raise InputError(
                f"{name}: no run in {workdir or runs}; train one first, or give "
                "its folder as --workdir"
            )
        wanted = dataclasses.replace(wanted, workdir=workdir)
        if (workdir / RUN_FILE).is_file():
            stored = read_json(workdir / RUN_FILE)["config"]
    if stored is None and not any(word.split("=")[0] == "--preset" for word in arguments):
        wanted = dataclasses.replace(wanted, preset=_preset_for(options, presets, data_field))
    config = presets[wanted.preset]
    if stored is not None:
        config = config_from_dict(type(config), stored)
    both = dataclasses.make_dataclass(
        "Command",
        [
            ("task", Annotated[task, tyro.conf.arg(name="")]),
            ("config", Annotated[type(config), tyro.conf.arg(name="")]),
        ],
    )
    command = tyro.cli(both, default=both(wanted, config), description=about, **options)
    return command.task, command.config


def _preset_for(options: dict[str, Any], presets: Mapping[str, Any], data_field: str) -> str:
    """Return the first preset that reads the corpus asked for, or the default."""
    names = tyro.conf.arg(
        name=data_field, aliases=() if data_field == "data" else ("--data",), metavar="NAME"
    )

    def read(data: Annotated[str, names] = "") -> str:
        return data

    data, _ = tyro.cli(read, add_help=False, return_unknown_args=True, **options)
    suited = [name for name, config in presets.items() if getattr(config, data_field) == data]
    return suited[0] if suited else "default"


def run_folder_for(task: Task, runs: Path, name: str) -> Path:
    """Return the folder to train in: the one asked for, or a new one below `runs`."""
    return task.workdir or new_run(runs, name)


@contextlib.contextmanager
def plain_errors(after_stop: str | None = "go on with --resume") -> Iterator[None]:
    """End with one line, and no traceback, where the input or the numbers are at fault.

    These may stand inside one another: the innermost tells what to do after Ctrl-C.

    Args:
      after_stop: what to do after Ctrl-C; None where there is nothing to go on with.

    Raises:
      SystemExit: in place of InputError, FloatingPointError and KeyboardInterrupt.
    """
    try:
        yield
    except (InputError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(f"\nstopped; {after_stop}" if after_stop else "\nstopped") from None
