"""Running a notebook from top to bottom, in a process of its own."""

import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError

from experiments.common.errors import InputError
from experiments.notebooks.pairs import LANGUAGE, ROOT, Notebook, code_cells

# Run behind all cells, and left out again: the kernel alone knows on what it ran, and how long
# its threads and the processes that it started had a core.
ON_WHAT = """\
import json, os
from experiments.common.records import environment
print(json.dumps(environment() | {"core_seconds": sum(os.times()[:4])}))"""


class ThisPython(KernelSpecManager):
    """The interpreter that runs now, whatever kernels the user has installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return how to start it."""
        argv = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f"]
        return KernelSpec(
            argv=[*argv, "{connection_file}"], display_name="Python 3", language="python"
        )


@contextlib.contextmanager
def surroundings() -> Iterator[tuple[Path, dict[str, str]]]:
    """Give an empty folder to run in, and an environment free of the user's own settings.

    `experiments` can be imported there. A backend of matplotlib is left out, for notebooks
    have their own.
    """
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        env = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {
            "PYTHONPATH": os.pathsep.join(paths),
            "IPYTHONDIR": str(Path(folder, "ipython")),
            "JUPYTER_CONFIG_DIR": str(Path(folder, "jupyter")),
            "JUPYTER_PLATFORM_DIRS": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        work = Path(folder, "work")
        work.mkdir()
        yield work, env | own


def run(notebook: Notebook, timeout: float, env: Mapping[str, str] | None = None) -> None:
    """Execute all cells; their outputs are put into them.

    Args:
      notebook: what is executed.
      timeout: seconds that a cell may take.
      env: what to set in the environment besides.

    Raises:
      InputError: a cell ended in an error.
    """
    with surroundings() as (folder, variables):
        manager = AsyncKernelManager(
            kernel_spec_manager=ThisPython(), connection_file=str(folder.parent / "kernel.json")
        )
        if os.name == "posix":  # of TCP a kernel warns that others could listen
            manager.transport, manager.ip = "ipc", str(folder.parent / "kernel")
        client = nbclient.NotebookClient(
            notebook,
            km=manager,
            timeout=timeout,
            startup_timeout=300,
            record_timing=False,
            coalesce_streams=True,
            store_widget_state=False,
        )
        try:
            client.execute(cwd=str(folder), env=variables | dict(env or {}), cleanup_kc=True)
        except CellExecutionError as error:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # a kernel colours its tracebacks
            raise InputError(f"notebooks: {plain}") from None


def executed(notebook: Notebook, timeout: float = 900.0) -> Notebook:
    """Return a notebook with its outputs, and in its metadata how long it took and on what."""
    notebook.cells.append(nbformat.v4.new_code_cell(ON_WHAT))
    start = time.perf_counter()
    run(notebook, timeout)
    seconds = time.perf_counter() - start
    told = json.loads(notebook.cells.pop().outputs[0]["text"])
    notebook.metadata["measured"] = {
        "seconds": round(seconds),
        "core_seconds": round(told["core_seconds"]),
        "python": told["python"],
        "jax": told["packages"]["jax"],
        "device": told["device"],
        "processor": told["processor"],
        "cores": told["cores"],
    }
    return stripped(notebook)


def stripped(notebook: Notebook) -> Notebook:
    """Take away what differs from one run to the next and tells a reader nothing."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = dict(LANGUAGE)
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            _strip(output)
    return notebook


def _strip(output: Any) -> None:
    """Leave a picture's name away, which has its size alone."""
    data = output.get("data", {})
    if "image/png" in data and data.get("text/plain", "").startswith("<Figure size"):
        data["text/plain"] = "<Figure>"
