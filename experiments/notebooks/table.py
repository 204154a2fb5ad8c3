"""The table of all notebooks, from what they record of themselves."""

from experiments.common import sweep
from experiments.notebooks import pairs
from experiments.notebooks.pairs import Notebook


def fill() -> None:
    """Write it into the README."""
    made = [(name, pairs.FOLDER / f"{name}.ipynb") for name in pairs.names()]
    rows = [row(name, pairs.read_notebook(path)) for name, path in made if path.is_file()]
    head = ("", "notebook", "what you will have", "", "seconds", "of one core", "measured with")
    sweep.fill(pairs.FOLDER / "README.md", sweep.markdown(head, *rows))


def row(name: str, notebook: Notebook) -> tuple[str, ...]:
    """Return a notebook's row."""
    title, promise = title_and_promise(notebook)
    measured = notebook.metadata.get("measured")
    seconds, of_one_core, on = "", "", ""
    if measured is not None:
        seconds, of_one_core = str(measured["seconds"]), str(measured["core_seconds"])
        device = measured["device"]
        where = f"{measured['cores']} x {measured['processor']}" if device == "cpu" else device
        on = f"jax {measured['jax']}, Python {measured['python']}, {where}"
    number, link = name.split("_")[0], f"[{title}]({name}.ipynb)"
    return number, link, promise, pairs.badge(name), seconds, of_one_core, on


def title_and_promise(notebook: Notebook) -> tuple[str, str]:
    """Return what a notebook is called, and the first sentence below its badge."""
    lines = notebook.cells[0].source.splitlines()
    prose = " ".join(line for line in lines[1:] if line and not line.startswith("[!["))
    return lines[0].removeprefix("# "), prose.split(". ")[0].removesuffix(".") + "."
