"""Making the notebooks of their texts.

```
python -m experiments.notebooks build        # all; or `build 1 5`, or by name
python -m experiments.notebooks sync 1       # the text has changed, the code has not
python -m experiments.notebooks check
```
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import tyro

from experiments.common import sweep
from experiments.common.errors import InputError
from experiments.notebooks import pairs, table
from experiments.notebooks.execution import executed
from experiments.notebooks.pairs import Notebook


@dataclasses.dataclass(frozen=True)
class Command:
    """Make notebooks of their texts, or see whether they are."""

    do: tyro.conf.Positional[Literal["build", "sync", "check"]]
    """build: execute, and keep the outputs. sync: bring both files together without executing;
    cells whose code is the same keep their outputs. check: tell what is wrong."""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which notebooks, by number or by name; none: all."""


def main(arguments: Sequence[str]) -> None:
    """Do what the command line asks for."""
    with sweep.command_line(Command, "notebooks", arguments) as command:
        chosen = pairs.named(list(command.names))
        if command.do == "check":
            check(chosen)
            return
        for name in chosen:
            make(name, executed if command.do == "build" else synced(name))
        table.fill()


def make(name: str, outputs: Callable[[Notebook], Notebook]) -> None:
    """Write both files of a notebook from its text.

    Raises:
      InputError: the text was changed meanwhile; nothing is written.
    """
    print(f"{name} ...", flush=True)
    path = pairs.FOLDER / f"{name}.md"
    before = path.read_bytes()
    notebook = outputs(pairs.completed(name))
    if path.read_bytes() != before:
        raise InputError(f"notebooks: {path.name} was changed meanwhile; build it again")
    pairs.write_text(notebook, path)
    pairs.write_notebook(notebook, pairs.FOLDER / f"{name}.ipynb")
    for fault in pairs.faults(name):
        print(f"{name}: {fault}")
    for cell in pairs.code_cells(notebook):
        for output in cell.outputs:
            if output.get("name") == "stderr":
                print(f"{name}: a reader sees this, too:\n{output.text}")
    if "measured" in notebook.metadata:
        print(f"{name}: {notebook.metadata['measured']['seconds']} s")


def synced(name: str) -> Callable[[Notebook], Notebook]:
    """Return what gives a notebook the outputs that it has had."""
    path = pairs.FOLDER / f"{name}.ipynb"

    def outputs(notebook: Notebook) -> Notebook:
        if not path.is_file():
            return notebook
        return pairs.with_outputs_of(notebook, pairs.read_notebook(path))

    return outputs


def check(chosen: Sequence[str]) -> None:
    """Tell what is wrong with notebooks.

    Raises:
      SystemExit: something is.
    """
    found = [f"{name}: {fault}" for name in chosen for fault in pairs.faults(name)]
    if found:
        raise SystemExit("\n".join(found))
    print(f"{len(chosen)} notebooks, nothing wrong")
