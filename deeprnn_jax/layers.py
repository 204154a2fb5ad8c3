"""A layer of a deep network: what is around its cell.

    u = norm(x)                                 from the second layer on
    y = merge(cell →(u), cell ←(u))             or cell(u)
    y = skip(x, dropout(y))                     no dropout after the last layer

All of it but the cell works on single time steps, so it means the same on one
step `[*B, ·]` and on a whole sequence `[T, *B, ·]`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.products import accumulation_dtype, add_bias, dot, scale_units
from deeprnn_jax.modifiers.precision import cast_floating
from deeprnn_jax.types import Array, Cell, Params

Merge = Callable[[Array, Array], Array]
SKIPS = (None, "residual", "highway", "dense")


class Layer(NamedTuple):
    """A layer's settings; two layers with equal settings have equal shapes."""

    cell: Cell
    input_size: int | None  # None: the first layer's, known from x
    merge: Merge | None  # None: one direction
    norm: bool
    skip: str | None  # "residual", "highway" or None
    dropout: float
    compute_dtype: Any


class NormParams(NamedTuple):
    """Layer normalisation between layers."""

    scale: Array  # [I]
    shift: Array  # [I]


class HighwayParams(NamedTuple):
    """The gate between a layer's output and its input."""

    w: Array  # [I, I]
    b: Array  # [I]


class LayerParams(NamedTuple):
    """Parameters of one layer; with two directions the cell's have a leading axis D."""

    cell: Params
    norm: NormParams | None
    highway: HighwayParams | None


def init_layer(layer: Layer, key: Array, input_size: int) -> LayerParams:
    """Draw a layer's parameters in float32."""
    if layer.merge is None:
        cell = layer.cell.init(key, input_size)
    else:
        keys = jax.random.split(key, 2)
        cell = jax.vmap(lambda k: layer.cell.init(k, input_size))(keys)
    norm = highway = None
    if layer.norm:
        norm = NormParams(jnp.ones(input_size), jnp.zeros(input_size))
    if layer.skip == "highway":
        k_highway = jax.random.fold_in(key, 1)
        w = initializers.glorot_uniform()(k_highway, (input_size, input_size))
        # Srivastava et al. 2015, section 2.1: a negative bias carries x at first
        highway = HighwayParams(w, jnp.full(input_size, -2.0))
    return LayerParams(cell, norm, highway)


def merged_size(merge: Merge | None, size: int) -> int:
    """Give the width of a layer's output from that of its cell's."""
    if merge is None:
        return size
    y = jax.ShapeDtypeStruct((1, size), jnp.float32)
    shape = getattr(jax.eval_shape(merge, y, y), "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != 1:
        raise ValueError(
            f"deep_rnn: merge must give one array [..., width] from two [..., H={size}], but "
            f"of two (1, {size}) it makes {shape}; work on the last axis alone"
        )
    return shape[-1]


def concatenate(y_forward: Array, y_reverse: Array) -> Array:
    """Merge two directions side by side."""
    return jnp.concatenate([y_forward, y_reverse], axis=-1)


def normalise_input(layer: Layer, params: LayerParams, x: Array) -> Array:
    """Apply the layer normalisation before the cell, computed in at least float32."""
    if params.norm is None:
        return x
    norm = cast_floating(params.norm, accumulation_dtype(x.dtype))
    # "stable": the default takes E[x²] - E[x]², whose error is 0.35 at mean 1000, std 1
    z = x.astype(norm.scale.dtype)
    # jax's stub does not know the argument
    z = jax.nn.standardize(z, epsilon=1e-5, algorithm="stable")  # pyright: ignore[reportCallIssue]
    return add_bias(scale_units(norm.scale, z), norm.shift).astype(layer.compute_dtype)


def drop_mask(layer: Layer, key: Array | None, shape: tuple[int, ...], is_last: Any) -> Any:
    """Draw what dropout keeps, bool `[T, *B, O]`; None where nothing is dropped."""
    if key is None or layer.dropout == 0.0:
        return None
    return jax.random.bernoulli(key, 1 - layer.dropout, shape) | is_last


def finish_output(
    layer: Layer, params: LayerParams, x: Array, y: Array, keep: Array | None, is_last: Any
) -> Array:
    """Apply dropout and the skip connection after the cell.

    Args:
      layer: the settings.
      params: the layer's parameters.
      x: the layer's input `[..., I]`.
      y: the merged output of its cells `[..., O]`.
      keep: what dropout keeps, `[..., O]`, or None.
      is_last: bool scalar, whether this is the last layer, which drops nothing.

    Returns:
      `[..., O]` in `compute_dtype`.
    """
    y = y.astype(layer.compute_dtype)
    if keep is not None:
        scale = jnp.where(is_last, 1.0, 1.0 - layer.dropout).astype(y.dtype)
        y = jnp.where(keep, y / scale, jnp.zeros_like(y))
    if layer.skip == "residual":
        return x + y
    if params.highway is not None:
        w = params.highway.w.astype(layer.compute_dtype)
        z = dot(x, w)
        gate = jax.nn.sigmoid(add_bias(z, params.highway.b.astype(z.dtype))).astype(y.dtype)
        return gate * y + (1 - gate) * x
    return y
