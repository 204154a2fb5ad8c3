"""Networks and parameters from and to other libraries; Flax modules.

The core is time-major, `[T, *B, I]`, in gate order i, f, g, o and r, z, n; what
another library does otherwise is converted here, at the border. No library is
imported before it is used: torch, Keras and the others need not be installed.

    from_torch, to_torch       nn.RNN, nn.LSTM, nn.GRU, their cells and state dicts
    from_keras, to_keras       SimpleRNN, LSTM, GRU, Bidirectional, stacks of them
    from_linen, to_linen       flax.linen's cells and their parameters
    from_nnx, to_nnx           flax.nnx's cells
    from_haiku, to_haiku       parameters of hk.LSTM and hk.GRU
    from_equinox, to_equinox   eqx.nn.LSTMCell and GRUCell
    from_onnx, to_onnx         RNN, LSTM and GRU nodes of an ONNX model
    state_from_*, state_to_*   hidden states, in torch's, Keras's, Flax's and Haiku's form
    linen.DeepRNN, nnx.DeepRNN a network as a Flax module, called as Flax's own RNN
    linen.ScannedRNN           a network as purejaxrl and its like call theirs, with resets
    linen.RNN, nnx.RNN         any Flax cell, as Flax's own RNN, by `recurrence.scan`
    haiku.dynamic_unroll       any Haiku core, as `hk.dynamic_unroll`, likewise
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deeprnn_jax.interop.equinox import from_equinox, to_equinox
from deeprnn_jax.interop.haiku import from_haiku, to_haiku
from deeprnn_jax.interop.keras import from_keras, to_keras
from deeprnn_jax.interop.onnx import from_onnx, to_onnx
from deeprnn_jax.interop.states import (
    state_from_flax,
    state_from_haiku,
    state_from_keras,
    state_from_torch,
    state_to_flax,
    state_to_haiku,
    state_to_keras,
    state_to_torch,
)
from deeprnn_jax.interop.torch import from_torch, to_torch

if TYPE_CHECKING:
    from deeprnn_jax.interop import haiku, linen, nnx, onnx
    from deeprnn_jax.interop.linen_cells import from_linen, to_linen
    from deeprnn_jax.interop.nnx_cells import from_nnx, to_nnx

__all__ = [
    "from_equinox",
    "from_haiku",
    "from_keras",
    "from_linen",
    "from_nnx",
    "from_onnx",
    "from_torch",
    "haiku",
    "linen",
    "nnx",
    "onnx",
    "state_from_flax",
    "state_from_haiku",
    "state_from_keras",
    "state_from_torch",
    "state_to_flax",
    "state_to_haiku",
    "state_to_keras",
    "state_to_torch",
    "to_equinox",
    "to_haiku",
    "to_keras",
    "to_linen",
    "to_nnx",
    "to_onnx",
    "to_torch",
]


def __getattr__(name: str) -> Any:
    """Import what needs Flax when it is first asked for: Flax takes a while to load."""
    if name in ("linen", "nnx"):
        return import_module(f"{__name__}.{name}")
    if name in ("from_linen", "to_linen", "from_nnx", "to_nnx"):
        return getattr(import_module(f"{__name__}.{name.split('_')[1]}_cells"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
