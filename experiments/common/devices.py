"""Training on several devices, which may be those of several processes.

The rows of a batch, and of what it hands to the next, are spread over the devices; parameters
and optimiser are whole on each, and XLA adds the gradients up. The numbers are those of one
device but for the order of sums; so is dropout, for JAX draws the same wherever an array lies.

Several processes (`jax.distributed`) all make the same batches, and each puts its own rows on its
devices. The first one alone evaluates, prints and writes, and tells the others what they need.
"""

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.common.errors import InputError
from experiments.common.updates import TrainState

T = TypeVar("T")

_BLOCK = 1024  # bytes; of what is handed on, so that few sizes are compiled


class Rows(NamedTuple):
    """Where the rows of a batch lie: an axis; None of what has no rows, or is no array."""

    batch: tuple[int | None, ...]  # of each leaf of a batch, in their order
    carry: int | None = None  # of all that a batch hands to the next


class Spread(NamedTuple):
    """How a training lies on its devices."""

    mesh: Mesh
    rows: Rows

    @property
    def of_state(self) -> TrainState:
        """Return where the parts of a state lie."""
        whole: Any = self._along(None)
        return TrainState(whole, whole, whole, whole, self._along(self.rows.carry), whole)

    def put_state(self, state: TrainState) -> TrainState:
        """Put a state on the devices; every process gives the same."""
        parts: Any = zip(self.of_state, state, strict=True)
        return TrainState(*(jax.tree.map(partial(_put, place), part) for place, part in parts))

    def put_batch(self, batch: Any) -> Any:
        """Put a batch on the devices; every process gives all of it, and keeps its rows."""
        leaves, treedef = jax.tree.flatten(batch)
        pairs = zip(leaves, self.rows.batch, strict=True)
        return treedef.unflatten(_put(self._along(axis), leaf) for leaf, axis in pairs)

    def whole(self, state: TrainState) -> TrainState:
        """Return a state on one device of this process; every process has to ask for it."""
        gathered = state._replace(carry=jax.device_put(state.carry, self._along(None)))
        return jax.tree.map(lambda leaf: leaf.addressable_data(0), gathered)

    def _along(self, axis: int | None) -> NamedSharding:
        axes = () if axis is None else (*(None,) * axis, "data")
        return NamedSharding(self.mesh, PartitionSpec(*axes))


def _put(sharding: NamedSharding, leaf: Any) -> jax.Array:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(sharding, jax.random.key_data(leaf)))
    array = np.asarray(leaf)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def spread_over(devices: int | None, rows: Rows | None, batch_size: int) -> Spread | None:
    """Return how a training lies on so many devices; None: it is on one, with no mesh.

    Args:
      devices: how many; None: one, or all that several processes have.
      rows: where the rows of its batches lie, if that is known.
      batch_size: how many rows a batch has.

    Raises:
      InputError: there are not so many devices, or the rows cannot be spread over them.
    """
    there, processes = jax.device_count(), jax.process_count()
    least = 1 if processes == 1 else there
    number = least if devices is None else devices
    if not least <= number <= there:
        expected = f"from 1 to {there}, as many as JAX finds"
        if processes > 1:
            expected = f"{there}, all that the {processes} processes have"
        raise InputError(f"train: devices must be {expected}, got {number}; leave it away")
    if number == 1:
        return None
    if rows is None:
        raise InputError(
            f"train: devices must be 1 where a problem does not tell its rows, got {number}; "
            "leave it away, or give Problem its rows"
        )
    if batch_size % number:
        raise InputError(
            f"train: batch_size must be a multiple of devices={number}, got {batch_size}; "
            "change one of them"
        )
    mesh = jax.make_mesh(
        (number,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:number]
    )
    return Spread(mesh, rows)


def initialize(address: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Make this process one of several, before JAX has looked for devices.

    Args:
      address: host and port of the first process; None, here and below: JAX finds it out.
      num_processes: how many there are.
      process_id: which one this is.

    Raises:
      InputError: it can be neither found out nor used.
    """
    try:
        jax.distributed.initialize(address, num_processes, process_id)
    except ValueError as error:
        raise InputError(
            f"initialize: jax.distributed must be told what it does not find out, got: {error} "
            "Give --coordinator-address, --num-processes and --process-id"
        ) from error


def is_first() -> bool:
    """Tell whether this is the first process, or the only one."""
    return jax.process_index() == 0


def say(text: str) -> None:
    """Print a text, in the first process alone."""
    if is_first():
        print(text, flush=True)


def in_first(do: Callable[[], T]) -> T:
    """Return in every process what a function, called in the first alone, returns there.

    Raises:
      Exception: in the first process what the function raises.
      InputError: in the others, with its text.
    """
    if jax.process_count() == 1:
        return do()
    outcome, cause = (None, ""), None
    if is_first():
        try:
            outcome = do(), ""
        except Exception as error:
            outcome, cause = (None, str(error) or repr(error)), error
    value, failure = pickle.loads(_from_first(pickle.dumps(outcome)))
    if cause is not None:
        raise cause
    if failure:
        raise InputError(failure)
    return value


def _from_first(content: bytes) -> bytes:
    """Return in every process what the first one gives, with zeros at its end."""
    number = np.int32(-(-len(content) // _BLOCK))
    blocks = np.zeros((int(multihost_utils.broadcast_one_to_all(number)), _BLOCK), np.uint8)
    if is_first():
        blocks.reshape(-1)[: len(content)] = np.frombuffer(content, np.uint8)
    return multihost_utils.broadcast_one_to_all(blocks).tobytes()
