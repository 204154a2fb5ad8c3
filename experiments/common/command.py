"""The command line that all experiments share: a task, and the settings of a run.

A preset, the corpus asked for, or the run to go on with, moves the defaults of the
settings; options that are given always win.
"""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import tyro

from experiments.common.devices import in_first, initialize
from experiments.common.errors import InputError
from experiments.common.experiment import Experiment
from experiments.common.records import RUN_FILE, new_run, newest_run, read_json
from experiments.common.settings import config_from_dict, differing_fields, option
from experiments.common.training import load_trained, train


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
    devices: int | None = None
    """Spread the rows of each batch over so many devices; else over one, or over all that
    several processes have. The same numbers to rounding."""
    distributed: bool = False
    """Be one of several processes that train together, by jax.distributed.initialize: what the
    three options below tell it, it finds out by itself under SLURM, Open MPI and on TPU pods."""
    coordinator_address: str | None = None
    """--distributed: host:port of the first process."""
    num_processes: int | None = None
    """--distributed: how many processes there are."""
    process_id: int | None = None
    """--distributed: which one this is; 0 is the first, which alone prints and writes."""

    # What asks for a trained model; else the first field that the experiment adds. Its other
    # fields belong to that one.
    WISHES: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
          InputError: names the options.
        """
        asked = [field.name for field in self._own if getattr(self, field.name) != field.default]
        wishes = self.WISHES or tuple(field.name for field in self._own[:1])
        named = [option(name) for name in wishes if name in asked]
        if asked and not named:
            belong = ", ".join(map(option, asked))
            raise InputError(f"Task: {belong} goes with {' or '.join(map(option, wishes))}; add it")
        if len(named) > 1:
            raise InputError(f"Task: give one of {' and '.join(named)}, got both")
        if named and self.resume:
            raise InputError(f"Task: --resume goes on with a training; leave it or {named[0]} away")
        told = [option(n) for n in _TOLD_TO_JAX if getattr(self, n) is not None]
        if told and not self.distributed:
            raise InputError(f"Task: {told[0]} goes with --distributed; add it")
        if named and (self.distributed or self.devices is not None):
            over = "--distributed" if self.distributed else "--devices"
            raise InputError(f"Task: {over} is for a training; leave it or {named[0]} away")

    @property
    def uses_trained(self) -> bool:
        """Whether a trained model is to be used, in place of training one."""
        return any(getattr(self, field.name) != field.default for field in self._own)

    @property
    def _own(self) -> list[dataclasses.Field[Any]]:
        """Return the fields that the experiment adds."""
        common = {field.name for field in dataclasses.fields(Task)}
        return [field for field in dataclasses.fields(self) if field.name not in common]


_TOLD_TO_JAX = ("coordinator_address", "num_processes", "process_id")


def main(experiment: Experiment, arguments: Sequence[str]) -> None:
    """Run an experiment's command line: parse, then train or use a trained model."""
    with plain_errors(after_stop=None):
        task, config = parse(experiment, arguments)
        if task.uses_trained:
            assert experiment.use is not None  # else nothing could be asked for
            experiment.use(task, load_trained(experiment, task.workdir, config, to_stderr))
            return
        if task.distributed:
            initialize(task.coordinator_address, task.num_processes, task.process_id)
        path = Path(config.data)
        data = (path.stem if path.is_file() else path.name).replace(":", "-") or "own"
        name = f"{data}-{config.cell}" if hasattr(config, "cell") else data
        with (
            plain_errors(),
            run_folder_for(task.workdir, experiment.runs, name) as workdir,
        ):
            train(experiment, config, workdir, resume=task.resume, devices=task.devices)


def to_stderr(line: str) -> None:
    """Say what does not belong to the output, which may be piped."""
    print(line, file=sys.stderr, flush=True)


def parse(experiment: Experiment, arguments: Sequence[str]) -> tuple[Any, Any]:
    """Return what is asked for, with the folder and the settings that follow from it.

    Which run is used, where there must be one, is told on the standard error: it may not be
    the one that the user thinks of, and the standard output may be piped.

    Args:
      experiment: whose command line it is.
      arguments: the words of the command line.

    Raises:
      InputError: a value out of range, or no run where one is needed, or one of another
        corpus or preset than the command line says.
      SystemExit: an unknown option, a malformed value, or --help.
    """
    options: dict[str, Any] = {
        "prog": f"python -m experiments.{experiment.name}",
        "args": arguments,
    }
    # The task is read first, because the settings' defaults follow from it.
    # Inside a dataclass, for of the outermost one tyro would tell errors in its own way.
    task_field = ("task", _unnamed(_task_type(experiment)))
    alone = dataclasses.make_dataclass("Alone", [task_field])
    wanted = tyro.cli(alone, add_help=False, return_unknown_args=True, **options)[0].task
    named = any(word.split("=")[0] == "--preset" for word in arguments)
    corpus = experiment.data_at(_data_asked_for(arguments))
    presets, stored = experiment.presets_on(corpus), None
    if wanted.resume or wanted.uses_trained:
        meant = _Meant(experiment, wanted.preset if named else None, corpus)
        workdir, stored = _run_meant(wanted, meant)
        wanted = dataclasses.replace(wanted, workdir=workdir)
    if stored is None and not named:
        suited = [key for key, one in presets.items() if one.data == corpus]
        wanted = dataclasses.replace(wanted, preset=suited[0] if suited else "default")
    config = presets[wanted.preset]
    if stored is not None:
        config = config_from_dict(type(config), stored)
    both = dataclasses.make_dataclass("Command", [task_field, ("config", _unnamed(type(config)))])
    command = tyro.cli(both, default=both(wanted, config), description=experiment.about, **options)
    if stored is not None:
        to_stderr(f"using {wanted.workdir}, trained on {stored.get('data')}")
    return command.task, dataclasses.replace(
        command.config, data=experiment.data_at(command.config.data)
    )


def _unnamed(kind: type) -> Any:
    """Return a field's type whose options are not named after the field."""
    return Annotated[kind, tyro.conf.arg(name="")]


def _task_type(experiment: Experiment) -> type[Task]:
    """Return the experiment's task, with the names of its presets as the choices."""
    names = Literal[tuple(experiment.presets)]  # type: ignore[valid-type]
    return dataclasses.make_dataclass(
        "Task",
        [("preset", names, dataclasses.field(default="default"))],
        bases=(experiment.task or Task,),
        frozen=True,
    )


class _Meant(NamedTuple):
    """What a command line tells of the run that it means."""

    experiment: Experiment
    preset: str | None  # None: not named
    corpus: str  # "": not named

    def suits(self, stored: Mapping[str, Any], *, on_other_data: bool = False) -> bool:
        """Tell whether a run of these settings can be meant.

        A run is of the preset from which it differs in the fewest settings: who trained with
        `--preset ptb-small --seed 1` means that run. What it learned from counts less than any
        other setting: `--preset` may have been given with `--data` of one's own.

        Args:
          stored: the run's settings.
          on_other_data: whether a preset alone means a run on other data than its own, too.
        """
        data = self.experiment.data_at(str(stored.get("data")))
        if self.corpus not in ("", data):
            return False
        if self.preset is None:
            return True
        presets = self.experiment.presets_on(data)

        def distance(config: Any) -> tuple[int, bool]:
            return len(differing_fields(config, stored, frozenset({"data"}))), config.data != data

        mine = presets[self.preset]
        if not (self.corpus or on_other_data or mine.data == data):
            return False
        return distance(mine) == min(map(distance, presets.values()))

    def newest(self) -> Path | None:
        """Return the folder of the newest run that suits; of a preset, on its own data first."""
        runs = self.experiment.runs
        anywhere = functools.partial(self.suits, on_other_data=True)
        return newest_run(runs, self.suits) or newest_run(runs, anywhere)

    def __str__(self) -> str:
        preset = f" of --preset {self.preset}" if self.preset is not None else ""
        return preset + (f" trained on {self.corpus}" if self.corpus else "")


def _run_meant(task: Task, meant: _Meant) -> tuple[Path, dict[str, Any] | None]:
    """Return the folder of the run to go on with: the one named, or the newest that suits.

    With it, the settings that its file holds, or None where there is no file.

    Raises:
      InputError: there is none, or the one named was trained on something else than the
        command line says.
    """
    name = meant.experiment.name
    workdir = task.workdir or meant.newest()
    if workdir is None or not workdir.is_dir():
        raise InputError(
            f"{name}: no run{meant} in {workdir or meant.experiment.runs}; train one first, or "
            "give its folder as --workdir"
        )
    file = workdir / RUN_FILE
    stored = read_json(file)["config"] if file.is_file() else None
    if stored is not None and not meant.suits(stored, on_other_data=True):
        raise InputError(
            f"{name}: the run in {workdir} is none{meant}, it was trained on "
            f"{stored.get('data')}; name another --workdir, or leave --preset and --data away"
        )
    return workdir, stored


def _data_asked_for(arguments: Sequence[str]) -> str:
    """Return what `--data` names, or an empty string."""

    def read(data: str = "") -> str:
        return data

    data, _ = tyro.cli(read, add_help=False, return_unknown_args=True, args=arguments)
    return data


@contextlib.contextmanager
def run_folder_for(workdir: Path | None, runs: Path, name: str) -> Iterator[Path]:
    """Give the folder to train in: the one asked for, or a new one below `runs`.

    Where the training ends before it has written anything, a new one is removed again, with
    the folders around it that are empty then.
    """
    if workdir is not None:
        yield workdir
        return
    folder = in_first(functools.partial(new_run, runs, name))
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # it holds a run, and stays
            for empty in (folder, runs, runs.parent):
                empty.rmdir()


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
