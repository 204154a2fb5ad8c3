"""Hidden states from and to the forms that other libraries give them.

The state of a network is a tuple with one entry a layer, its leaves `[*B, size]`, or
`[D, *B, size]` with two directions. Elsewhere:

    torch   h_n, or (h_n, c_n), [L*D, *B, size]
    Keras   a list a layer: [h], [h, c]; both directions: [h, h], [h, c, h, c]
    Flax    a carry a layer: h, (c, h); both directions: (forward, reverse)
    Haiku   a state a layer: h, hk.LSTMState(h, c); both directions: (forward, reverse)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop.assembly import import_library
from deeprnn_jax.interop.state_layers import (
    check_count,
    from_carries,
    join_layers,
    kind_of,
    num_directions,
    one_kind,
    split_layers,
    to_array,
)
from deeprnn_jax.parameters import DeepState


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
    kind = one_kind("state_from_torch", rnn)
    leaves = [to_array(leaf) for leaf in (state if isinstance(state, tuple | list) else [state])]
    rows = num_directions(rnn) * len(rnn.plan.cells)
    if len(leaves) != len(kind._fields) or any(leaf.shape[:1] != (rows,) for leaf in leaves):
        raise ValueError(
            f"state_from_torch: state must be {', '.join(kind._fields)} with {rows} rows, "
            f"layers x directions, got shapes {[leaf.shape for leaf in leaves]}; is it "
            "of another module?"
        )
    states = [kind(*(leaf[row] for leaf in leaves)) for row in range(rows)]
    step = num_directions(rnn)
    return join_layers(rnn, [states[i : i + step] for i in range(0, rows, step)])


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
    one_kind("state_to_torch", rnn)
    torch = import_library("state_to_torch", "torch")
    rows = [one for parts in split_layers("state_to_torch", rnn, state) for one in parts]
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
    check_count("state_from_keras", rnn, states)
    layers = []
    for index, (cell, leaves) in enumerate(zip(rnn.plan.cells, states, strict=True)):
        kind = kind_of("state_from_keras", cell.name)
        size = len(kind._fields)
        if len(leaves) != size * num_directions(rnn):
            raise ValueError(
                f"state_from_keras: layer {index} must have {kind._fields} for each of "
                f"{num_directions(rnn)} direction(s), got {len(leaves)} arrays; is it of "
                "another layer?"
            )
        leaves = [to_array(leaf) for leaf in leaves]
        layers.append([kind(*leaves[i : i + size]) for i in range(0, len(leaves), size)])
    return join_layers(rnn, layers)


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
    rows = split_layers("state_to_keras", rnn, state)
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
    return from_carries("state_from_flax", rnn, carries, "c h")


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
    for parts in split_layers("state_to_flax", rnn, state):
        rows = [one[0] if len(one) == 1 else tuple(reversed(one)) for one in parts]
        carries.append(rows[0] if len(rows) == 1 else tuple(rows))
    return carries


def state_from_haiku(rnn: DeepRNN, states: Sequence[Any]) -> DeepState:
    """Make a network's state of those of Haiku's cores.

    Args:
      rnn: the network.
      states: one a layer, as an `hk.DeepRNN` has them in a tuple, and of one core alone
        [state]: h `[*B, H]`, or `hk.LSTMState(h, c)`; with two directions a pair of them,
        forward and reverse.

    Returns:
      The state for `apply` and `step`.

    Raises:
      ValueError: if the states are of other layers.

    Example:
      >>> import deeprnn_jax as drnn, jax.numpy as jnp
      >>> rnn = drnn.deep_rnn(drnn.gru(8, reset_after=False))
      >>> state_from_haiku(rnn, [jnp.zeros((2, 8))])[0].h.shape
      (2, 8)
    """
    return from_carries("state_from_haiku", rnn, states, "h c")


def state_to_haiku(rnn: DeepRNN, state: DeepState) -> tuple[Any, ...]:
    """Make the states of Haiku's cores of a network's.

    Args:
      rnn: the network.
      state: its state.

    Returns:
      One state a layer, as in `state_from_haiku`: what an `hk.DeepRNN` takes.

    Raises:
      ImportError: if an LSTM's is to be made and Haiku is not installed.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8, reset_after=False), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> [h.shape for h in state_to_haiku(rnn, rnn.initial_state(params, 2))]
      [(2, 8), (2, 8)]
    """
    states = []
    for parts in split_layers("state_to_haiku", rnn, state):
        rows = [
            one[0] if len(one) == 1 else import_library("state_to_haiku", "haiku").LSTMState(*one)
            for one in parts
        ]
        states.append(rows[0] if len(rows) == 1 else tuple(rows))
    return tuple(states)
