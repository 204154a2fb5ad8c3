"""The command line that all experiments share: a task, and the settings of a run.

A preset, the corpus asked for, or the run to go on with, moves the defaults of the
settings; options that are given always win.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import tyro

from experiments.common.errors import InputError
from experiments.common.records import RUN_FILE, new_run, newest_run, read_json
from experiments.common.settings import config_from_dict, differing_fields

T = TypeVar("T", bound="Task")
C = TypeVar("C")


@dataclasses.dataclass(frozen=True)
class Task:
    """What to do, apart from a run's settings; an experiment adds its own wishes."""

    preset: str = "default"
    """Settings to start from; the other options change them one by one. Without it, --data
    with a corpus that has settings of its own starts from those."""
    workdir: Path | None = None
    """The run's folder; else a new one, or where a trained one is needed the newest of the
    corpus or the preset that is named, if one is."""
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
    located: Callable[[str], str] = str,
) -> tuple[T, C]:
    """Return what is asked for, with the folder and the settings that follow from it.

    Which run is used, where there must be one, is told on the standard error: it may not be
    the one that the user thinks of, and the standard output may be piped.

    Args:
      arguments: the words of the command line.
      name: the experiment, as in `experiments.<name>`.
      about: what it does, for `--help`.
      task: the experiment's own Task.
      presets: configs by name, "default" among them.
      runs: where the experiment's runs are.
      data_field: the setting that `--data` stands for.
      located: from what `--data` names to what the settings hold of it; see `own_data`.

    Raises:
      InputError: a value out of range, or no run where one is needed, or one of another
        corpus or preset than the command line says.
      SystemExit: an unknown option, a malformed value, or --help.
    """
    options: dict[str, Any] = {"prog": f"python -m experiments.{name}", "args": arguments}
    # The task is read first, because the settings' defaults follow from it.
    wanted, _ = tyro.cli(task, add_help=False, return_unknown_args=True, **options)
    named = any(word.split("=")[0] == "--preset" for word in arguments)
    corpus = located(data_asked_for(arguments, data_field))
    stored = None
    if wanted.needs_run:
        preset = wanted.preset if named else None
        meant = _Meant(presets, data_field, located, preset, corpus)
        workdir, stored = _run_meant(wanted, name, runs, meant)
        wanted = dataclasses.replace(wanted, workdir=workdir)
    if stored is None and not named:
        suited = [key for key, one in presets.items() if getattr(one, data_field) == corpus]
        wanted = dataclasses.replace(wanted, preset=suited[0] if suited else "default")
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
    if stored is not None:
        print(f"using {wanted.workdir}, trained on {stored.get(data_field)}", file=sys.stderr)
    return command.task, command.config


class _Meant(NamedTuple):
    """What a command line tells of the run that it means."""

    presets: Mapping[str, Any]
    data_field: str
    located: Callable[[str], str]
    preset: str | None  # None: not named
    corpus: str  # "": not named

    def suits(self, stored: Mapping[str, Any]) -> bool:
        """Tell whether a run of these settings can be meant.

        A run is of the preset from which it differs in the fewest settings but the corpus: who
        trained with `--preset ptb-small --seed 1` means that run.
        """
        corpus = self.corpus if self.preset is None else self.corpus or self._corpus_of(self.preset)
        if corpus not in ("", self.located(str(stored.get(self.data_field)))):
            return False
        if self.preset is None:
            return True
        nearest = min(
            self.presets,
            key=lambda key: len(differing_fields(self.presets[key], stored, (self.data_field,))),
        )
        return nearest == self.preset

    def _corpus_of(self, preset: str) -> str:
        return getattr(self.presets[preset], self.data_field)

    def __str__(self) -> str:
        preset = f" of --preset {self.preset}" if self.preset is not None else ""
        return preset + (f" trained on {self.corpus}" if self.corpus else "")


def _run_meant(
    task: Task, name: str, runs: Path, meant: _Meant
) -> tuple[Path, dict[str, Any] | None]:
    """Return the folder of the run to go on with: the one named, or the newest that suits.

    With it, the settings that its file holds, or None where there is no file.

    Raises:
      InputError: there is none, or the one named was trained on something else than the
        command line says.
    """
    workdir = task.workdir or newest_run(runs, meant.suits)
    if workdir is None or not workdir.is_dir():
        raise InputError(
            f"{name}: no run{meant} in {workdir or runs}; train one first, or give "
            "its folder as --workdir"
        )
    file = workdir / RUN_FILE
    stored = read_json(file)["config"] if file.is_file() else None
    if stored is not None and not meant.suits(stored):
        raise InputError(
            f"{name}: the run in {workdir} is none{meant}, it was trained on "
            f"{stored.get(meant.data_field)}; name another --workdir, or leave --preset and "
            "--data away"
        )
    return workdir, stored


def data_asked_for(arguments: Sequence[str], data_field: str = "data") -> str:
    """Return what `--data` names, or an empty string.

    Args:
      arguments: the words of the command line.
      data_field: the setting that it stands for.
    """
    names = tyro.conf.arg(
        name=data_field, aliases=() if data_field == "data" else ("--data",), metavar="NAME"
    )

    def read(data: Annotated[str, names] = "") -> str:
        return data

    data, _ = tyro.cli(read, add_help=False, return_unknown_args=True, args=arguments)
    return data


@contextlib.contextmanager
def run_folder_for(workdir: Path | None, runs: Path, name: str) -> Iterator[Path]:
    """Give the folder to train in: the one asked for, or a new one below `runs`.

    A new one is removed again where the training ends before it has written anything.
    """
    if workdir is not None:
        yield workdir
        return
    folder = new_run(runs, name)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # it holds a run, and stays
            folder.rmdir()


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
