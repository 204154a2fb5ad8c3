"""Programs of `jax.export`, written to a file and called again, here or in a fresh process."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export

FRESH = """
import sys
from pathlib import Path

import jax
import numpy as np
from jax import export

import deeprnn_jax  # its trees are registered where it is imported

for path in map(Path, sys.argv[1:]):
    exported = export.deserialize(path.read_bytes())
    with np.load(path.with_suffix(".npz")) as stored:
        leaves = [stored[name] for name in stored.files]
    args, _ = jax.tree.unflatten(exported.in_tree, leaves)
    found = jax.tree.leaves(exported.call(*args))
    np.savez(path.with_suffix(".found.npz"), *found)
"""


def written_and_read(exported, **options):
    """Give what `serialize` wrote."""
    pytest.importorskip("flatbuffers")
    return export.deserialize(exported.serialize(**options))


def called_in_a_fresh_process(folder: Path, programs) -> dict:
    """Call programs where nothing of this process is left.

    Args:
      folder: for the files.
      programs: by name, what was exported and its arguments.

    Returns:
      By name, what was computed, as the same trees as here.
    """
    pytest.importorskip("flatbuffers")
    for name, (exported, args) in programs.items():
        (folder / name).write_bytes(exported.serialize())
        np.savez(folder / f"{name}.npz", *jax.tree.leaves(args))
    command = [sys.executable, "-W", "error", "-c", FRESH]
    subprocess.run(
        [*command, *(folder / name for name in programs)],
        check=True,
        cwd=Path(__file__).parents[1],
    )
    found = {}
    for name, (exported, _) in programs.items():
        with np.load(folder / f"{name}.found.npz") as stored:
            leaves = [stored[one] for one in stored.files]
        found[name] = jax.tree.unflatten(exported.out_tree, leaves)
    return found
