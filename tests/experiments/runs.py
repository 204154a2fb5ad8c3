"""What a run has left in its folder, for tests to compare."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments.common.metrics import read_metrics


def bits(workdir: Path, step: int) -> dict[str, bytes]:
    """Return all of a checkpoint's arrays: parameters, optimiser, mean, carry and key."""
    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(
            (workdir / "checkpoints" / f"{step:08d}" / "arrays").absolute()
        )
    return {
        jax.tree_util.keystr(path): np.asarray(leaf).tobytes()
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def records(workdir: Path) -> list[dict[str, Any]]:
    """Return the records without what depends on the clock."""
    clock = ("seconds", "steps_per_second")
    return [
        {name: value for name, value in record.items() if name not in clock}
        for record in read_metrics(workdir)
    ]
