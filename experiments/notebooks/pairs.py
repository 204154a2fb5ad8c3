"""A notebook in two files: `NAME.md`, which is written, and `NAME.ipynb`, which is made.

In the text a cell has its code and its metadata and no outputs. Three things are the same in
every notebook: the header, the first code cell, which installs what is missing, and a cell
with the tag `sizes`. That one sets all sizes; its metadata `small` are assignments that the
tests run right after it, and `needs` of any cell names packages without which it is left out.
"""

import ast
import base64
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from experiments.common.errors import InputError

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
ADDRESS = "https://colab.research.google.com/github/deeprnn-jax/deeprnn_jax/blob/main"
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
# What GitHub and a reader's patience bear, in bytes and characters.
MAX_PICTURE, MAX_TEXT, MAX_FILE = 40_000, 5_000, 500_000

Notebook = Any  # nbformat's, a dictionary whose keys are attributes, too


def names() -> list[str]:
    """Return the names of all notebooks, in order."""
    return sorted(path.stem for path in FOLDER.glob("[0-9]*_*.md"))


def named(wanted: list[str]) -> list[str]:
    """Return the names that numbers or names mean; of none, all.

    Raises:
      InputError: there is none of that name.
    """
    there = names()
    known = {name.split("_")[0]: name for name in there} | {name: name for name in there}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(f"notebooks: no {', '.join(unknown)}; there are {', '.join(there)}")
    return [known[name] for name in wanted] or there


def badge(name: str) -> str:
    """Return the link by which Colab opens a notebook."""
    return f"{BADGE}({ADDRESS}/experiments/notebooks/{name}.ipynb)"


def first_cell() -> str:
    """Return the code of the first cell, of all notebooks."""
    return (FOLDER / "first_cell.py.txt").read_text(encoding="utf-8").strip()


def read_text(path: Path) -> Notebook:
    """Return the notebook that a text is, without outputs."""
    notebook = jupytext.read(path, fmt="md:myst")
    notebook.metadata = {
        "kernelspec": notebook.metadata.get("kernelspec", {}),
        "language_info": dict(LANGUAGE),
    }
    return with_ids(notebook)


def write_text(notebook: Notebook, path: Path) -> None:
    """Write a notebook's cells as text, below the header that all share."""
    body = jupytext.writes(notebook, fmt="md:myst").split("\n---\n", 1)[1]
    path.write_text(HEADER + body, encoding="utf-8")


def read_notebook(path: Path) -> Notebook:
    """Return the notebook of an `.ipynb` file."""
    return nbformat.read(path, as_version=4)


def write_notebook(notebook: Notebook, path: Path) -> None:
    """Write an `.ipynb` file."""
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def code_cells(notebook: Notebook) -> list[Any]:
    """Return the cells with code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def with_ids(notebook: Notebook) -> Notebook:
    """Name cells by their contents, so that making a notebook again changes no name."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
    return notebook


def completed(name: str) -> Notebook:
    """Return a notebook from its text, with the first cell of all and its code formatted.

    Raises:
      InputError: it has no code.
    """
    notebook = read_text(FOLDER / f"{name}.md")
    code = code_cells(notebook)
    if not code:
        raise InputError(f"notebooks: {name}.md has no code cell")
    code[0].source = first_cell()
    return with_ids(formatted(notebook, name))


def formatted(notebook: Notebook, name: str) -> Notebook:
    """Return a notebook with its code as ruff formats it, where that is installed."""
    if find_spec("ruff") is None:
        return notebook
    command = [sys.executable, "-m", "ruff", "format", "-q", "--stdin-filename"]
    done = subprocess.run(
        [*command, str(FOLDER / f"{name}.ipynb"), "-"],
        input=nbformat.writes(notebook),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        raise InputError(f"notebooks: {name}: {done.stderr.strip()}")
    return nbformat.reads(done.stdout, as_version=4)


def with_outputs_of(notebook: Notebook, old: Notebook) -> Notebook:
    """Give the cells whose code is the same in an older notebook the outputs that it has there."""
    left = code_cells(old)
    for cell in code_cells(notebook):
        same = next((one for one in left if one.source == cell.source), None)
        if same is not None:
            left.remove(same)
            cell.outputs, cell.execution_count = same.outputs, same.execution_count
    if "measured" in old.metadata:
        notebook.metadata["measured"] = old.metadata["measured"]
    return notebook


def faults(name: str) -> Iterator[str]:
    """Give in words what is wrong with a pair, without executing it."""
    text, made = FOLDER / f"{name}.md", FOLDER / f"{name}.ipynb"
    if not made.is_file():
        yield f"no {made.name}; build it"
        return
    notebook, written = read_notebook(made), read_text(text)
    if [_kept(cell) for cell in notebook.cells] != [_kept(cell) for cell in written.cells]:
        yield f"{made.name} is not made of {text.name} as it is now; build it"
    if not text.read_text(encoding="utf-8").startswith(HEADER):
        yield f"{text.name} has another header than all; build it"
    code = code_cells(notebook)
    if not code or code[0].source != first_cell():
        yield "the first code cell is not that of first_cell.py.txt; build it"
    if badge(name) not in notebook.cells[0].source:
        yield f"the first cell lacks the badge {badge(name)}"
    yield from _faults_of_sizes(code)
    yield from _faults_of_outputs(code)
    if len(nbformat.writes(notebook)) > MAX_FILE:
        yield f"{made.name} is larger than {MAX_FILE} bytes"


def _kept(cell: Any) -> tuple[str, str, str, dict[str, Any]]:
    return cell.cell_type, cell.id, cell.source, dict(cell.metadata)


def _faults_of_sizes(code: list[Any]) -> Iterator[str]:
    sizes = [cell for cell in code if "sizes" in cell.metadata.get("tags", ())]
    if len(sizes) != 1 or not isinstance(sizes[0].metadata.get("small"), str):
        yield "there must be one cell with the tag sizes, and `small` in its metadata"
        return
    for statement in ast.parse(sizes[0].metadata["small"]).body:
        if not isinstance(statement, ast.Assign):
            yield f"small: {ast.unparse(statement)} is no assignment"
            continue
        targets = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        unknown = [target for target in sorted(targets) if target not in sizes[0].source]
        if unknown:
            yield f"small: the cell of sizes has no {', '.join(unknown)}"


def _faults_of_outputs(code: list[Any]) -> Iterator[str]:
    for cell in code:
        head = cell.source.split("\n")[0]
        if cell.execution_count is None:
            yield f"not executed: {head}; build it"
        text = 0
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"ended in an error: {head}"
                continue
            data = output.get("data", {})
            text += len(output.get("text", "")) + len(data.get("text/html", ""))
            picture = len(base64.b64decode(data.get("image/png", "")))
            if picture > MAX_PICTURE:
                yield f"a picture of {picture} bytes, more than {MAX_PICTURE}: {head}"
        if text > MAX_TEXT:
            yield f"{text} characters of output, more than {MAX_TEXT}: {head}"
