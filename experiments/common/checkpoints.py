"""Checkpoints that are whole or not there, and known to be undamaged.

Orbax writes the arrays; this module adds what a kill or a bad disk calls for. A
checkpoint is one folder named by its step:

    00000500/
      arrays/         orbax's files
      meta.json       what the caller adds: data position, metrics
      manifest.json   the SHA-256 of every other file

It is put together beside its place and renamed into it, so a folder of that name is
always complete. The manifest catches what happens later: a truncated file, a flipped
byte, a file lost in a copy.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from experiments.common.errors import InputError
from experiments.common.records import read_json, write_json

_ARRAYS, _META, _MANIFEST = "arrays", "meta.json", "manifest.json"
_UNFINISHED = "unfinished-"


class Restored(NamedTuple):
    """A checkpoint read back."""

    step: int
    state: Any  # the pytree, of the target's structure
    meta: dict[str, Any]


class DamagedCheckpointError(Exception):
    """A checkpoint's files are not those that were written."""


def save(folder: Path, step: int, state: Any, meta: dict[str, Any]) -> Path:
    """Write a checkpoint and return its folder.

    Args:
      folder: where the run's checkpoints are.
      step: the number of steps done; the checkpoint's name.
      state: a pytree of arrays; typed PRNG keys are allowed.
      meta: small values that belong to the state, as JSON.
    """
    final, building = folder / _name(step), folder / f"{_UNFINISHED}{_name(step)}"
    for leftover in folder.glob(f"{_UNFINISHED}*"):  # of a run that was killed
        shutil.rmtree(leftover)
    building.mkdir(parents=True)
    # As NumPy's: of several processes orbax would take a JAX array for a part of one.
    arrays = jax.device_get(_keys_to_data(state))
    with _checkpointer() as checkpointer:
        checkpointer.save((building / _ARRAYS).absolute(), arrays)
    write_json(building / _META, {"step": step, **meta})
    write_json(building / _MANIFEST, _checksums(building))
    if final.exists():  # damaged, or it would have been resumed from
        shutil.rmtree(final)
    os.replace(building, final)
    return final


def steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in a folder, oldest first."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.is_dir())


def verify(folder: Path, step: int) -> dict[str, Any]:
    """Return the meta data of a checkpoint after checking all its files.

    Raises:
      DamagedCheckpointError: names the first file that is missing or differs.
    """
    path = folder / _name(step)
    try:
        expected = read_json(path / _MANIFEST)
        found = _checksums(path)
        wrong = [name for name in expected if found.get(name) != expected[name]]
        if wrong:
            state = "differs" if wrong[0] in found else "is missing"
            raise DamagedCheckpointError(f"{path / wrong[0]} {state}")
        return read_json(path / _META)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DamagedCheckpointError(f"{path / _MANIFEST}: {error}") from error


def restore(folder: Path, step: int, target: Any) -> Restored:
    """Read one checkpoint.

    Args:
      folder: where the run's checkpoints are.
      step: which one.
      target: a pytree of the structure, shapes and dtypes that were saved; arrays or
        `jax.eval_shape`'s stand-ins for them.

    Raises:
      DamagedCheckpointError: see `verify`.
      InputError: there is no such checkpoint, or it is not of the target's form.
    """
    if not (folder / _name(step)).is_dir():
        raise InputError(
            f"restore: no checkpoint of step {step} in {folder}; there are {steps(folder)}"
        )
    meta = verify(folder, step)
    # Without a sharding orbax would ask for the devices that the checkpoint came from.
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
        jax.eval_shape(_keys_to_data, target),
    )
    arrays = (folder / _name(step) / _ARRAYS).absolute()
    with _checkpointer() as checkpointer:
        if _shapes(checkpointer.metadata(arrays).item_metadata) != _shapes(abstract):
            raise InputError(
                f"restore: {arrays} was written by another version, for parameters of another "
                "form; check that version out or start a new run"
            )
        restored = checkpointer.restore(arrays, abstract)
    # Not bound to that device, as a new run's are not: what is compiled serves for both.
    state = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), restored)
    return Restored(step, _data_to_keys(state, target), meta)


def restore_first(
    folder: Path, candidates: Sequence[int], target: Any, warn: Callable[[str], None] = print
) -> Restored | None:
    """Read the first undamaged checkpoint of several, warning of each damaged one.

    Args:
      folder: where the run's checkpoints are.
      candidates: steps in the order of preference, for example `best_first`'s.
      target: see `restore`.
      warn: is given one line for each damaged checkpoint.

    Returns:
      The checkpoint, or None when there are no candidates.

    Raises:
      InputError: every candidate is damaged.
    """
    damaged = []
    for step in candidates:
        try:
            return restore(folder, step, target)
        except DamagedCheckpointError as error:
            damaged.append(str(error))
            warn(f"checkpoint of step {step} is damaged and left out: {error}")
    if damaged:
        raise InputError(
            f"restore_first: every checkpoint in {folder} is damaged: "
            f"{'; '.join(damaged)}; start a new run"
        )
    return None


def best_first(folder: Path, name: str) -> list[int]:
    """Return the steps of the checkpoints by a number of their meta data.

    The smallest comes first, and of equal ones the first that was reached; those that
    lack the number come last, the newest first.
    """

    def rank(step: int) -> tuple[float, int]:
        try:
            value = read_json(folder / _name(step) / _META)[name]
        except (OSError, ValueError, KeyError, TypeError):  # damaged: `restore` says so
            value = None
        return (float("inf"), -step) if value is None else (value, step)

    return sorted(steps(folder), key=rank)


def keep_only(folder: Path, newest: int, also: tuple[int, ...] = ()) -> None:
    """Delete all but the `newest` last checkpoints and those of the steps in `also`."""
    for step in steps(folder)[:-newest]:
        if step not in also:
            shutil.rmtree(folder / _name(step))


def drop_later(folder: Path, step: int) -> None:
    """Delete the checkpoints after a step, which a resumed run makes anew."""
    for later in steps(folder):
        if later > step:
            shutil.rmtree(folder / _name(later))


def _checkpointer() -> ocp.StandardCheckpointer:
    """Return what writes and reads arrays, in this process alone: no other waits for it."""
    mine = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=mine, active_processes={mine}, barrier_sync_key_prefix=str(mine)
    )
    return ocp.StandardCheckpointer(multiprocessing_options=alone)


def _name(step: int) -> str:
    return f"{step:08d}"


def _checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a checkpoint but the manifest itself."""
    checksums = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(_MANIFEST):
            with path.open("rb") as file:
                checksums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return checksums


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    """Return the shapes of all arrays, sorted: orbax has other containers than were saved."""
    return sorted(tuple(leaf.shape) for leaf in jax.tree.leaves(tree))


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _keys_to_data(tree: Any) -> Any:
    """Replace typed PRNG keys by their bits."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, tree)


def _data_to_keys(tree: Any, target: Any) -> Any:
    """Turn bits back into keys where the target has a key."""
    return jax.tree.map(
        lambda x, like: jax.random.wrap_key_data(x) if _is_key(like) else x, tree, target
    )
