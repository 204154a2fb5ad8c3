"""What has been measured: rows by name in one JSON file, each measured once."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.common.errors import InputError
from experiments.common.records import environment, read_json, write_json
from experiments.common.settings import as_stored
from experiments.depth.settings import Settings

Rows = Mapping[str, Callable[[], dict[str, Any]]]
# Where files lie says nothing of what is measured: which network a run is, is among the facts.
_WHERE = frozenset({"data_dir", "run"})


def by_depth(
    rows: Iterable[Mapping[str, Any]], label: Callable[[Mapping[str, Any]], str]
) -> dict[str, dict[int, Any]]:
    """Return rows by their label and number of layers, in their order."""
    found: dict[str, dict[int, Any]] = {}
    for row in rows:
        found.setdefault(label(row), {})[row["num_layers"]] = row
    return found


def measure(file: Path, settings: Settings, rows: Rows, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the rows that a file lacks; write it after each.

    Args:
      file: the record; one that is there is gone on with.
      settings: which it is of.
      rows: by name what measures each.
      facts: what else the rows depend on, such as the network that they are of.

    Returns:
      The record: `settings`, facts, and `rows`, each with its `seconds` and `environment`.

    Raises:
      InputError: the record that is there is of other settings or facts.
    """
    stored = {k: v for k, v in as_stored(settings).items() if k not in _WHERE}
    record: dict[str, Any] = {"settings": stored, **facts, "rows": {}}
    if file.is_file():
        before = read_json(file)
        odd = [*_odd(before["settings"], stored), *_odd(before, facts)]
        if odd:
            raise InputError(
                f"measure: {file} was measured with another {', '.join(odd)}; "
                "name another --workdir"
            )
        record["rows"] = before["rows"]
    file.parent.mkdir(parents=True, exist_ok=True)
    for name, one in rows.items():
        if name in record["rows"]:
            continue
        began = time.perf_counter()
        row = one()
        jax.clear_caches()  # of past rows: the programs of all would be too many for a process
        seconds = time.perf_counter() - began
        record["rows"][name] = row | {"seconds": seconds, "environment": environment()}
        write_json(file, record)
        print(f"{file.stem}: {name}, {seconds:.0f} s", flush=True)
    return record


def _odd(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names of what is not as it was, or was not there."""
    return sorted(name for name, value in now.items() if before.get(name, _odd) != value)
