"""Runs of one experiment that differ in something, in one table.

A command that compares runs says which they are and how their results make a row. Each is
trained in its own folder below that of all, or taken from there: the same command on the same
folder goes on where it was. Everything known is written after every row.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from experiments.common.command import plain_errors
from experiments.common.errors import InputError
from experiments.common.experiment import Experiment
from experiments.common.metrics import curve_of, read_metrics
from experiments.common.plots import learning_curve
from experiments.common.records import environment, write_json
from experiments.common.training import finished_or_trained

T = TypeVar("T")

Results = Mapping[Path, Mapping[str, Any]]  # what runs came to, by their folders
Draw = Callable[[Path, Mapping[str, Any], Mapping[str, Path]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is compared.

    Attributes:
      experiment: which all runs are of.
      rows: by a row's name the configs of its runs, by the names of their folders.
      figures: from a row's name and the results of its runs to the row, as JSON.
      head: from the first run's result to what the JSON file holds above the rows.
      table: from what the JSON file holds to Markdown.
      draw: from a path, what the JSON file holds and, by the row's name, the folder of each
        row's first run to a picture; see `curves`.
      files: the names of table, JSON file and picture.
    """

    experiment: Experiment
    rows: Mapping[str, Mapping[str, Any]]
    figures: Callable[[str, Results], dict[str, Any]]
    head: Callable[[Mapping[str, Any]], dict[str, Any]]
    table: Callable[[Mapping[str, Any]], str]
    draw: Draw
    files: tuple[str, str, str]


def run(sweep: Sweep, folder: Path) -> dict[str, Any]:
    """Train what has not been trained yet below a folder, write and print what came out.

    Returns:
      What the JSON file holds: `head`, `rows` and `environment`.

    Raises:
      InputError: a run of other settings is there, or see `train`.
    """
    content: dict[str, Any] = {}
    folders: dict[str, Path] = {}
    markdown, record, picture = (folder / name for name in sweep.files)
    for name, configs in sweep.rows.items():
        results = {}
        for below, config in configs.items():
            print(f"\n== {name}, in {folder / below}/", flush=True)
            results[folder / below] = finished_or_trained(sweep.experiment, config, folder / below)
        folders[name] = next(iter(results))
        if not content:
            content = sweep.head(results[folders[name]]) | {"rows": []}
            content["environment"] = environment(sweep.experiment.packages)
        content["rows"].append(sweep.figures(name, results))
        table = sweep.table(content)
        markdown.write_text(table + "\n", encoding="utf-8")
        write_json(record, content)
        sweep.draw(picture, content, folders)
        print(f"\n{table}\n\nfiles: {folder}/ ({', '.join(sweep.files)}, a folder a run)")
    return content


def curves(scalar: str, ylabel: str, title: str, scale: float = 1.0) -> Draw:
    """Return what draws a scalar over the steps, a curve for each row's first run."""

    def draw(path: Path, content: Mapping[str, Any], folders: Mapping[str, Path]) -> None:
        found = {name: curve_of(read_metrics(run), scalar, scale) for name, run in folders.items()}
        learning_curve(path, found, {}, ylabel, title)

    return draw


def markdown(*rows: Sequence[Any]) -> str:
    """Return rows as a table in Markdown, the first one as its head."""
    head, *others = (f"| {' | '.join(map(str, row))} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *others])


# Between them a README shows what a command writes.
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"


def fill(readme: Path, text: str) -> None:
    """Put a text between the marks in a README, in place of what is there."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(f"{before}{BEGIN}{text}\n{END}{after}", encoding="utf-8")


def newest(runs: Path, preset: str, what: str) -> Path:
    """Return the newest folder of a preset.

    Args:
      runs: where all are.
      preset: the end of its name.
      what: what is not there if none is, as in `depth: no measurement`.

    Raises:
      InputError: there is none.
    """
    folders = sorted(runs.glob(f"[0-9]*-[0-9]*-{preset}"))
    if not folders:
        raise InputError(f"{what} of {preset} in {runs}; start one")
    return folders[-1]


@contextlib.contextmanager
def command_line(kind: type[T], name: str, arguments: Sequence[str]) -> Iterator[T]:
    """Give the options of `python -m experiments.<name>`; end in one line what cannot go on."""
    with plain_errors("go on with the same command, the folder of all runs as --workdir"):
        yield tyro.cli(kind, prog=f"python -m experiments.{name}", args=arguments)
