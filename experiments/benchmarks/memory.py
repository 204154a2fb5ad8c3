"""Measures in bytes: what a train step needs beside its weights and inputs."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.benchmarks.grid import Row
from experiments.benchmarks.peers.contract import Program
from experiments.benchmarks.steps import Timing
from experiments.benchmarks.timing import describe

ROOT = Path(__file__).parents[2]
TIME_LIMIT = 600.0  # seconds for one process


def measure_memory(
    programs: Mapping[str, Program], row: Row, dtype: str, torch_threads: int | None
) -> dict[str, Timing]:
    """Measure the train step's memory in two ways, once each.

    Args:
      programs: by entry.
      row: the row.
      dtype: of the products.
      torch_threads: that torch may use.

    Returns:
      "memory-xla", what the compiler sets aside for temporaries and outputs, and
      "memory-resident", by how much the first step raises a fresh process's peak. The
      second sees what a library allocates by itself, and the pages that XLA never
      touches it does not count.
    """
    resident: Timing = {"unit": "bytes", "samples": {}, "errors": {}, "not_run": {}}
    for entry in programs:
        outcome = _ask_process(entry, row, dtype, torch_threads)
        if "bytes" in outcome:
            resident["samples"][entry] = [outcome["bytes"]]
        elif "not_run" in outcome:
            resident["not_run"][entry] = outcome["not_run"]
        else:
            resident["errors"][entry] = outcome["error"]
    return {"memory-xla": planned_memory(programs), "memory-resident": resident}


def planned_memory(programs: Mapping[str, Program], with_outputs: bool = True) -> Timing:
    """Return what the compiler sets aside for temporaries, and for outputs or not."""
    planned: Timing = {"unit": "bytes", "samples": {}, "errors": {}}
    for entry, program in programs.items():
        if program.lower is not None:
            try:
                analysis = program.lower().compile().memory_analysis()
                outputs = analysis.output_size_in_bytes if with_outputs else 0
                planned["samples"][entry] = [analysis.temp_size_in_bytes + outputs]
            except Exception as error:  # written down; the others go on
                planned["errors"][entry] = describe(error)
    return planned


def _ask_process(entry: str, row: Row, dtype: str, torch_threads: int | None) -> dict[str, Any]:
    """Return what `peak` prints."""
    if jax.default_backend() != "cpu":
        return {"not_run": "a process's memory is not the accelerator's; see memory-xla"}
    options = {"entry": entry, "row": row.name, "dtype": dtype, "torch_threads": torch_threads}
    command = [sys.executable, "-m", "experiments.benchmarks.peak", json.dumps(options)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIME_LIMIT, check=True
        )
        return json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or "no message").splitlines()[-1]
        return {"error": f"the process ended with {error.returncode}: {last}"}
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        return {"error": describe(error)}
