"""Scalars over the steps of a run: JSON lines for programs, TensorBoard for eyes."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

METRICS_FILE = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return the records of a run, oldest first; a torn last line is left out."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:  # the write that a kill cut short
            break
    return records


def curve_of(
    records: Sequence[Mapping[str, float]], name: str, scale: float = 1.0
) -> list[tuple[int, float]]:
    """Return the `(step, value)` points of the records that hold a scalar.

    Args:
      records: what `read_metrics` gives.
      name: of the scalar; not every record has those of the validation.
      scale: what the values are multiplied by: 100 for a share to be shown in percent.
    """
    return [(int(record["step"]), scale * record[name]) for record in records if name in record]


class MetricsLog:
    """Write one record a step into a run's folder.

    A run that goes on from step `start` first drops its records after that step:
    they are about to be made again, and no step may appear twice.
    """

    def __init__(self, folder: Path, start: int = 0):
        """Open the log.

        Args:
          folder: the run's folder.
          start: the step of the checkpoint that the run goes on from; 0 for a new run.
        """
        path = folder / METRICS_FILE
        kept = [record for record in read_metrics(folder) if record["step"] <= start]
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text("".join(map(_line, kept)), encoding="utf-8")
        os.replace(temporary, path)
        self._lines = path.open("a", encoding="utf-8")
        # The board hides what an earlier try had written from this step on.
        self._board = SummaryWriter(
            str(folder / "tensorboard"), purge_step=start + 1 if start else None
        )

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record the scalars of one step; `step` must be later than the last one."""
        self._lines.write(_line({"step": step, **scalars}))
        self._lines.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close both files."""
        self._lines.close()
        self._board.close()


def _line(record: Mapping[str, float]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
