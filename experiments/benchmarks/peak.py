"""The most memory that one train step needs, seen from outside: a process for one entry.

Run by `memory`, which reads the one line of JSON that it prints.
"""

import contextlib
import ctypes
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks.grid import Row, parse_row
from experiments.benchmarks.peers.contract import NotRunError
from experiments.benchmarks.peers.registry import builder
from experiments.benchmarks.timing import describe
from experiments.benchmarks.workload import make_workload

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def _resident(field: str) -> int:
    """Return VmRSS, what is resident now, or VmHWM, its peak since the reset, in bytes."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise NotRunError(f"{_STATUS} has no {field}")


def peak_growth(entry: str, row: str, dtype: str, torch_threads: int | None) -> int:
    """Return by how many bytes the first train step raises the process's resident peak.

    The program is compiled, and its inputs are made, before; a train step of two time
    steps has woken the library's threads.

    Raises:
      NotRunError: the system does not tell, or the entry has no part in the row.
    """
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        raise NotRunError("this system does not tell a process's peak memory") from None
    whole = parse_row(row)
    _ready_step(entry, whole._replace(num_steps=2), dtype, torch_threads)()
    step = _ready_step(entry, whole, dtype, torch_threads)
    _give_back_freed()
    before = _resident("VmRSS")
    _CLEAR.write_text(_RESET_PEAK)
    result = step()
    growth = _resident("VmHWM") - before
    del result
    return growth


def _ready_step(entry: str, row: Row, dtype: str, torch_threads: int | None) -> Callable[[], Any]:
    """Return the compiled train step, not yet run."""
    program = builder(entry, torch_threads)(make_workload(row, dtype))
    if program.lower is None:
        return lambda: program.wait(program.train())
    compiled = program.lower().compile()
    return lambda: program.wait(compiled(*program.train_arguments))


def _give_back_freed() -> None:
    """Return to the system what compiling has left free: the step would be given it again."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def main(arguments: str) -> None:
    """Print the outcome as JSON."""
    options: dict[str, Any] = json.loads(arguments)
    try:
        outcome: dict[str, Any] = {"bytes": peak_growth(**options)}
    except NotRunError as error:
        outcome = {"not_run": str(error)}
    except Exception as error:  # the parent writes it down
        outcome = {"error": describe(error)}
    print(json.dumps(outcome))


if __name__ == "__main__":
    main(sys.argv[1])
