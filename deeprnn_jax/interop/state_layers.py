"""What all converters of states share: one state a layer and direction, and back."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.cells.elman import ElmanState
from deeprnn_jax.cells.gru import GRUState
from deeprnn_jax.cells.lstm import LSTMState
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop.assembly import join_directions, split_directions
from deeprnn_jax.layers.entries import as_held, by_layer
from deeprnn_jax.parameters import DeepState
from deeprnn_jax.types import State

_KINDS: dict[str, Any] = {"elman": ElmanState, "gru": GRUState, "lstm": LSTMState}


def num_directions(rnn: DeepRNN) -> int:
    """Give 1 or 2."""
    return 1 if rnn.plan.merge is None else 2


def kind_of(function: str, name: str) -> Any:
    """Give the state type of a cell that other libraries have."""
    if name not in _KINDS:
        raise ValueError(f"{function}: rnn must be of {', '.join(_KINDS)}, got {name!r}")
    return _KINDS[name]


def one_kind(function: str, rnn: DeepRNN) -> Any:
    """Give the state type of all layers."""
    names = {cell.name for cell in rnn.plan.cells}
    if len(names) > 1:
        raise ValueError(
            f"{function}: rnn must repeat one cell, as torch's modules do, got {sorted(names)}; "
            "convert the layers one at a time"
        )
    return kind_of(function, names.pop())


def to_array(leaf: Any) -> Any:
    """Make a NumPy array of a torch tensor; leave any other as it is."""
    return leaf.detach().cpu().double().numpy() if hasattr(leaf, "detach") else leaf


def split_layers(function: str, rnn: DeepRNN, state: DeepState) -> list[list[State]]:
    """Give the state of each layer in each direction, leaves `[*B, size]`."""
    layers = by_layer(rnn.plan, state)
    check_count(function, rnn, layers)
    return [split_directions(rnn.plan, one) for one in layers]


def check_count(function: str, rnn: DeepRNN, layers: Sequence[Any]) -> None:
    """Raise ValueError unless there is one entry a layer; a NamedTuple is one layer's state."""
    is_list = isinstance(layers, tuple | list) and not hasattr(layers, "_fields")
    if not is_list or len(layers) != len(rnn.plan.cells):
        found = len(layers) if is_list else type(layers).__name__
        raise ValueError(
            f"{function}: needs a list with one entry for each of {len(rnn.plan.cells)} "
            f"layers, got {found}"
        )


def join_layers(rnn: DeepRNN, layers: Sequence[Sequence[State]]) -> DeepState:
    """Make a network's state of that of each layer in each direction."""
    dtype = rnn.plan.precision.state
    layers = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), layers)
    return as_held(rnn.plan, [join_directions(parts) for parts in layers])


def from_carries(function: str, rnn: DeepRNN, carries: Sequence[Any], fields: str) -> DeepState:
    """Make a network's state of one carry a layer: an array, or a tuple; a pair of them.

    Args:
      function: the public function's name.
      rnn: the network.
      carries: one a layer; with two directions a pair, forward and reverse.
      fields: what an LSTM's tuple holds, "h c" or "c h".
    """
    check_count(function, rnn, carries)
    layers = []
    for index, (cell, carry) in enumerate(zip(rnn.plan.cells, carries, strict=True)):
        kind = kind_of(function, cell.name)
        names = [name for name in fields.split() if name in kind._fields]
        parts = carry if num_directions(rnn) == 2 else (carry,)
        rows = [part if isinstance(part, tuple | list) else (part,) for part in parts]
        if len(rows) != num_directions(rnn) or any(len(row) != len(names) for row in rows):
            raise ValueError(
                f"{function}: the carry of layer {index} must be {' and '.join(names)} of a "
                f"{cell.name} for each of {num_directions(rnn)} direction(s), got "
                f"{jax.tree.map(jnp.shape, carry)}; is it of another cell?"
            )
        layers.append([kind(**dict(zip(names, row, strict=True))) for row in rows])
    return join_layers(rnn, layers)
