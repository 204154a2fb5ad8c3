"""Cells that linen does not have, as its user would write them: a step of `nn.RNN`.

Both have our equations and read our weights, w_x and w_h as one Dense each.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.workload import DROPOUT_RATE, Workload, dropout_masks


def make_cells(workload: Workload) -> tuple[list[Any], list[Any]]:
    """Return cells and their parameters, one a layer, of lstm_norm or lstm_dropout."""
    layers = [layer.cell for layer in workload.params.layers]
    size, dtype = workload.row.hidden_size, jnp.dtype(workload.dtype)
    if workload.row.cell == "lstm_norm":
        return [_norm_cell(size, dtype) for _ in layers], [_norm_params(p) for p in layers]
    cells = [_dropout_cell(size, dtype, mask) for mask in dropout_masks(workload)]
    return cells, [_params(p) for p in layers]


def _gates(c: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    i, f, g, o = jnp.split(z, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


def _zeros(size: int, dtype: Any, input_shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    zeros = jnp.zeros((*input_shape[:-1], size), dtype)
    return zeros, zeros


def _norm_cell(size: int, dtype: Any) -> Any:
    from flax import linen as nn

    class NormLSTMCell(nn.RNNCellBase):
        """An LSTM with each product normalised, then scaled."""

        @nn.compact
        def __call__(self, carry: Any, inputs: Any) -> Any:
            c, h = carry
            x_proj = nn.Dense(4 * size, use_bias=False, dtype=dtype, name="x")(inputs)
            h_proj = nn.Dense(4 * size, use_bias=False, dtype=dtype, name="h")(h)
            x_proj = nn.LayerNorm(1e-5, use_bias=False, dtype=dtype, name="norm_x")(x_proj)
            h_proj = nn.LayerNorm(1e-5, use_bias=False, dtype=dtype, name="norm_h")(h_proj)
            b = self.param("b", nn.initializers.zeros, (4 * size,))
            c, h = _gates(c, x_proj + h_proj + b.astype(dtype))
            return (c, h), h

        @nn.nowrap
        def initialize_carry(self, rng: Any, input_shape: tuple[int, ...]) -> Any:
            return _zeros(size, dtype, input_shape)

        @property
        def num_feature_axes(self) -> int:
            return 1

    return NormLSTMCell()


def _dropout_cell(size: int, dtype: Any, mask: np.ndarray) -> Any:
    from flax import linen as nn

    scale = jnp.asarray(mask / (1 - DROPOUT_RATE), dtype)

    class DropoutLSTMCell(nn.RNNCellBase):
        """An LSTM whose recurrent product reads h through one mask at all steps."""

        @nn.compact
        def __call__(self, carry: Any, inputs: Any) -> Any:
            c, h = carry
            x_proj = nn.Dense(4 * size, use_bias=False, dtype=dtype, name="x")(inputs)
            h_proj = nn.Dense(4 * size, dtype=dtype, name="h")(h * scale)
            c, h = _gates(c, x_proj + h_proj)
            return (c, h), h

        @nn.nowrap
        def initialize_carry(self, rng: Any, input_shape: tuple[int, ...]) -> Any:
            return _zeros(size, dtype, input_shape)

        @property
        def num_feature_axes(self) -> int:
            return 1

    return DropoutLSTMCell()


def _params(params: Any) -> dict[str, Any]:
    return {"x": {"kernel": params.w_x}, "h": {"kernel": params.w_h, "bias": params.b}}


def _norm_params(params: Any) -> dict[str, Any]:
    return {
        "x": {"kernel": params.cell.w_x},
        "h": {"kernel": params.cell.w_h},
        "norm_x": {"scale": params.gain_x},
        "norm_h": {"scale": params.gain_h},
        "b": params.cell.b,
    }
