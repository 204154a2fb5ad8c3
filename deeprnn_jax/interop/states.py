"""Hidden states from and to the forms that other libraries give them.

The state of a network is a tuple with one entry a layer, its leaves `[*B, size]`, or
`[D, *B, size]` with two directions. Elsewhere:

    torch   h_n, or (h_n, c_n), [L*D, *B, size]
    Keras   a list a layer: [h], [h, c]; both directions: [h, h], [h, c, h, c]
    Flax    a carry a layer: h, (c, h); both directions: (forward, reverse)
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.cells.elman import ElmanState
from deeprnn_jax.cells.gru import GRUState
from deeprnn_jax.cells.lstm import LSTMState
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop.assembly import import_library, join_directions, split_directions
from deeprnn_jax.layers.entries import as_held, by_layer
from deeprnn_jax.parameters import DeepState
from deeprnn_jax.types import State

_KINDS: dict[str, Any] = {"elman": ElmanState, "gru": GRUState, "lstm": LSTMState}


def state_from_torch(rnn: DeepRNN, state: Any) -> DeepState:
    """Make a network's state of torch's.

    Args:
      rnn: the network.
      state: h_n `[L*D, *B, H]`, or for an LSTM (h_n, c_n): tensors or arrays.

    Returns:
      The state for `apply` and `step`.

    Raises:
      ValueError: if the state is of another depth or kind.

    Example:
      >>> y, state = module(x)                                   # doctest: +SKIP
      >>> state = interop.state_from_torch(rnn, state)           # doctest: +SKIP
      >>> state, y = rnn.apply(params, x_after, state)           # doctest: +SKIP
    """
    kind = _one_kind("state_from_torch", rnn)
    leaves = [_to_array(leaf) for leaf in (state if isinstance(state, tuple | list) else [state])]
    rows = _directions(rnn) * len(rnn.plan.cells)
    if len(leaves) != len(kind._fields) or any(leaf.shape[:1] != (rows,) for leaf in leaves):
        raise ValueError(
            f"state_from_torch: state must be {', '.join(kind._fields)} with {rows} rows, "
            f"layers x directions, got shapes {[leaf.shape for leaf in leaves]}; is it "
            "of another module?"
        )
    states = [kind(*(leaf[row] for leaf in leaves)) for row in range(rows)]
    step = _directions(rnn)
    return _join(rnn, [states[i : i + step] for i in range(0, rows, step)])


def state_to_torch(rnn: DeepRNN, state: DeepState) -> Any:
    """Make torch's state of a network's.

    Args:
      rnn: the network.
      state: its state.

    Returns:
      h_n `[L*D, *B, H]`, or for an LSTM the tuple (h_n, c_n): torch tensors.

    Raises:
      ValueError: if the network's layers are of several kinds or sizes.
      ImportError: if torch is not installed.

    Example:
      >>> y, _ = module(x, interop.state_to_torch(rnn, state))   # doctest: +SKIP
    """
    _one_kind("state_to_torch", rnn)
    torch = import_library("state_to_torch", "torch")
    rows = [one for parts in _split("state_to_torch", rnn, state) for one in parts]
    if len({tuple(leaf.shape for leaf in row) for row in rows}) > 1:
        raise ValueError(
            "state_to_torch: all layers must have one size, as torch's do, got "
            f"{[row.h.shape[-1] for row in rows]}; convert the layers one at a time"
        )
    tensors = []
    for leaves in zip(*rows, strict=True):
        stacked = np.stack([np.asarray(leaf, np.float64) for leaf in leaves])
        tensors.append(torch.from_numpy(stacked).to(getattr(torch, str(leaves[0].dtype))))
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def state_from_keras(rnn: DeepRNN, states: Sequence[Sequence[Any]]) -> DeepState:
    """Make a network's state of those that Keras layers return.

    Args:
      rnn: the network.
      states: one list a layer, as `layer(x)` gives it after its output with
        `return_state=True`: [h], [h, c], [h, h] or [h, c, h, c], arrays `[B, H]`.

    Returns:
      The state for `apply` and `step`.

    Raises:
      ValueError: if the states are of other layers.

    Example:
      >>> y, *states = layer(x)                                  # doctest: +SKIP
      >>> state = interop.state_from_keras(rnn, [states])        # doctest: +SKIP
    """
    _check_count("state_from_keras", rnn, states)
    layers = []
    for index, (cell, leaves) in enumerate(zip(rnn.plan.cells, states, strict=True)):
        kind = _kind("state_from_keras", cell.name)
        size = len(kind._fields)
        if len(leaves) != size * _directions(rnn):
            raise ValueError(
                f"state_from_keras: layer {index} must have {kind._fields} for each of "
                f"{_directions(rnn)} direction(s), got {len(leaves)} arrays; is it of "
                "another layer?"
            )
        leaves = [_to_array(leaf) for leaf in leaves]
        layers.append([kind(*leaves[i : i + size]) for i in range(0, len(leaves), size)])
    return _join(rnn, layers)


def state_to_keras(rnn: DeepRNN, state: DeepState) -> list[list[Any]]:
    """Make what Keras layers take as `initial_state` of a network's state.

    Args:
      rnn: the network.
      state: its state.

    Returns:
      One list a layer, as in `state_from_keras`, of JAX arrays.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.lstm(8), bidirectional=True)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> [h.shape for h in state_to_keras(rnn, rnn.initial_state(params, 2))[0]]
      [(2, 8), (2, 8), (2, 8), (2, 8)]
    """
    rows = _split("state_to_keras", rnn, state)
    return [[leaf for one in parts for leaf in one] for parts in rows]


def state_from_flax(rnn: DeepRNN, carries: Sequence[Any]) -> DeepState:
    """Make a network's state of the carries of Flax cells.

    Args:
      rnn: the network.
      carries: one a layer: h `[*B, H]`, or (c, h) of an LSTM; with two directions a
        pair of them, forward and reverse, as `nn.Bidirectional` gives it.

    Returns:
      The state for `apply` and `step`.

    Raises:
      ValueError: if the carries are of other layers.

    Example:
      >>> import deeprnn_jax as drnn, jax.numpy as jnp
      >>> rnn = drnn.deep_rnn(drnn.gru(8))
      >>> state_from_flax(rnn, [jnp.zeros((2, 8))])[0].h.shape
      (2, 8)
    """
    _check_count("state_from_flax", rnn, carries)
    layers = []
    for index, (cell, carry) in enumerate(zip(rnn.plan.cells, carries, strict=True)):
        kind = _kind("state_from_flax", cell.name)
        parts = carry if _directions(rnn) == 2 else (carry,)
        leaves = [part if isinstance(part, tuple | list) else (part,) for part in parts]
        if any(len(row) != len(kind._fields) for row in leaves):
            raise ValueError(
                f"state_from_flax: the carry of layer {index} must be "
                f"{' of '.join(reversed(kind._fields))} of a {cell.name}, got "
                f"{jax.tree.map(jnp.shape, carry)}; is it of another cell?"
            )
        layers.append([kind(*reversed(row)) for row in leaves])
    return _join(rnn, layers)


def state_to_flax(rnn: DeepRNN, state: DeepState) -> list[Any]:
    """Make the carries of Flax cells of a network's state.

    Args:
      rnn: the network.
      state: its state.

    Returns:
      One carry a layer, as in `state_from_flax`.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> c, h = state_to_flax(rnn, rnn.initial_state(params, 2))[1]
      >>> c.shape
      (2, 8)
    """
    carries = []
    for parts in _split("state_to_flax", rnn, state):
        rows = [one[0] if len(one) == 1 else tuple(reversed(one)) for one in parts]
        carries.append(rows[0] if len(rows) == 1 else tuple(rows))
    return carries


def _directions(rnn: DeepRNN) -> int:
    return 1 if rnn.plan.merge is None else 2


def _kind(function: str, name: str) -> Any:
    """Give the state type of a cell that other libraries have."""
    if name not in _KINDS:
        raise ValueError(f"{function}: rnn must be of {', '.join(_KINDS)}, got {name!r}")
    return _KINDS[name]


def _one_kind(function: str, rnn: DeepRNN) -> Any:
    names = {cell.name for cell in rnn.plan.cells}
    if len(names) > 1:
        raise ValueError(
            f"{function}: rnn must repeat one cell, as torch's modules do, got {sorted(names)}; "
            "convert the layers one at a time"
        )
    return _kind(function, names.pop())


def _to_array(leaf: Any) -> Any:
    """Make a NumPy array of a torch tensor; leave any other as it is."""
    return leaf.detach().cpu().double().numpy() if hasattr(leaf, "detach") else leaf


def _split(function: str, rnn: DeepRNN, state: DeepState) -> list[list[State]]:
    """Give the state of each layer in each direction, leaves `[*B, size]`."""
    layers = by_layer(rnn.plan, state)
    _check_count(function, rnn, layers)
    return [split_directions(rnn.plan, one) for one in layers]


def _check_count(function: str, rnn: DeepRNN, layers: Sequence[Any]) -> None:
    if not isinstance(layers, tuple | list) or len(layers) != len(rnn.plan.cells):
        found = len(layers) if isinstance(layers, tuple | list) else type(layers).__name__
        raise ValueError(
            f"{function}: needs a list with one entry for each of {len(rnn.plan.cells)} "
            f"layers, got {found}"
        )


def _join(rnn: DeepRNN, layers: Sequence[Sequence[State]]) -> DeepState:
    """Make a network's state of that of each layer in each direction."""
    dtype = rnn.plan.precision.state
    layers = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), layers)
    return as_held(rnn.plan, [join_directions(parts) for parts in layers])
