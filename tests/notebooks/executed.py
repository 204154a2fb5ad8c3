"""`python -m tests.notebooks.executed NAME.md`: run a notebook small, and export for a TPU.

A process of its own, for Jupyter's event loops and sockets warn when they are collected, and
tests take warnings for errors. The last line of its output is the names of what was exported.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat

from experiments.notebooks import execution, pairs

WATCH = "from tests.notebooks import lowering\n\nlowering.watch()"
TELL = "import json\n\nprint(json.dumps(lowering.exported))"


def tested(notebook):
    """Give the cells that are run here: small, watched, without what is not installed."""
    cells = [nbformat.v4.new_code_cell(WATCH)]
    for cell in pairs.code_cells(notebook):
        if any(find_spec(name) is None for name in cell.metadata.get("needs", ())):
            continue
        cells.append(cell)
        if "sizes" in cell.metadata.get("tags", ()):
            cells.append(nbformat.v4.new_code_cell(cell.metadata["small"]))
    return nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(TELL)])


def main(path: Path) -> None:
    """Run a notebook's text."""
    notebook = tested(pairs.read_text(path))
    execution.run(notebook, timeout=200.0)
    print(notebook.cells[-1].outputs[0]["text"], end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
