"""A layer of a deep network: what is around its cell.

    u = norm(x)                                 from the second layer on
    y = merge(cell →(u), cell ←(u))             or cell(u)
    y = skip(x, dropout(y))                     no dropout after the last layer

All of it but the cell works on single time steps, so it means the same on one
step `[*B, ·]` and on a whole sequence `[T, *B, ·]`. A schedule calls `draw`,
then `enter`, the cell, and `leave`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, scale_units, standardize
from deeprnn_jax.checks import check_drawn
from deeprnn_jax.precision import accumulation_dtype, cast_floating, multiply
from deeprnn_jax.random_keys import map_keys
from deeprnn_jax.types import Array, Cell, Noise, Params, State, exported

Merge = Callable[[Array, Array], Array]
SKIPS = (None, "residual", "highway", "dense")


class Layer(NamedTuple):
    """A layer's settings; two layers with equal settings have equal shapes."""

    cell: Cell
    input_size: int | None  # None: the first layer's, known from x
    merge: Merge | None  # None: one direction
    norm: bool
    skip: str | None  # "residual", "highway" or None
    dropout: float  # after every layer but the last
    locked: bool  # whether dropout has one mask a sequence
    compute_dtype: Any


@exported
class NormParams(NamedTuple):
    """Layer normalisation between layers."""

    scale: Array  # [I]
    shift: Array  # [I]


@exported
class HighwayParams(NamedTuple):
    """The gate between a layer's output and its input."""

    w: Array  # [I, I]
    b: Array  # [I]


@exported
class LayerParams(NamedTuple):
    """Parameters of one layer; with two directions the cell's have a leading axis D."""

    cell: Params
    norm: NormParams | None = None
    highway: HighwayParams | None = None


class Lane(NamedTuple):
    """One direction of a layer's cell, ready to run a sequence."""

    params: Params  # with what is drawn for this sequence
    initial: State  # after a reset, leaves [*B, ...]
    noise: Noise  # of every step, leaves [T, *B, ...], or None


class Dropout(NamedTuple):
    """What dropout does to a layer's output."""

    keep: Array  # bool, of y's shape; with one mask a sequence, of T = 1
    scale: Array  # [T, 1, ..., 1] likewise: what is kept is divided by it


def init_layer(layer: Layer, k_cell: Array, k_highway: Array) -> LayerParams:
    """Draw a layer's parameters in float32, from a key for the cell and one for the highway."""
    input_size = layer.input_size
    assert input_size is not None
    if layer.merge is None:
        cell = layer.cell.init(k_cell, input_size)
    else:
        both = jax.random.split(k_cell, 2)
        cell = map_keys(lambda k: layer.cell.init(k, input_size), both)
    norm = highway = None
    if layer.norm:
        norm = NormParams(jnp.ones(input_size), jnp.zeros(input_size))
    if layer.skip == "highway":
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


def add(y_forward: Array, y_reverse: Array) -> Array:
    """Merge two directions by their sum."""
    return y_forward + y_reverse


def draw(
    layer: Layer, params: LayerParams, key: Array | None, shape: tuple[int, ...], is_last: Any
) -> tuple[list[Lane], Dropout | None]:
    """Draw what a layer draws before its loop.

    Args:
      layer: the settings.
      params: the layer's parameters.
      key: the layer's random key, or None outside training.
      shape: of the steps, `(T, *B)`.
      is_last: whether this is the last layer, which drops nothing; a bool, or one of JAX's.

    Returns:
      A lane a direction, and what dropout does, or None.
    """
    # one more than there are directions at most, whatever there are
    k_drop, *k_cells = [None] * 3 if key is None else jax.random.split(key, 3)
    cells = [params.cell]
    if layer.merge is not None:
        cells = [jax.tree.map(lambda leaf, d=d: leaf[d], params.cell) for d in (0, 1)]
    lanes = [_draw_lane(layer.cell, *one, shape) for one in zip(cells, k_cells, strict=False)]
    if k_drop is None or layer.dropout == 0 or is_last is True:
        return lanes, None
    width = merged_size(layer.merge, layer.cell.output_size)
    times = (1,) if layer.locked else shape[:1]
    of_step = (*shape[1:], *layer.cell.image_shape, width)
    keep = jax.random.bernoulli(k_drop, 1 - layer.dropout, (*times, *of_step))
    scale = jnp.where(is_last, 1.0, 1.0 - layer.dropout).astype(layer.compute_dtype)
    return lanes, Dropout(keep | is_last, jnp.full((*times, *(1,) * len(of_step)), scale))


def _draw_lane(cell: Cell, params: Params, key: Array | None, shape: tuple[int, ...]) -> Lane:
    noise = None
    if key is not None and cell.draw is not None:
        found: Any = cell.draw(params, key, shape)
        check_drawn(cell, found, shape)
        params, noise = found
    return Lane(params, cell.initial_state(params, shape[1:]), noise)


def enter(layer: Layer, params: LayerParams, x: Array) -> Array:
    """Give what a layer's cell reads: x, or x normalised, computed in at least float32."""
    if params.norm is None:
        return x
    norm = cast_floating(params.norm, accumulation_dtype(x.dtype))
    z = standardize(x.astype(norm.scale.dtype), epsilon=1e-5)
    return add_bias(scale_units(norm.scale, z), norm.shift).astype(layer.compute_dtype)


def leave(
    layer: Layer, params: LayerParams, x: Array, ys: list[Array], dropout: Dropout | None
) -> Array:
    """Give a layer's output: directions merged, dropout, and the skip connection.

    Args:
      layer: the settings.
      params: the layer's parameters.
      x: the layer's input `[..., I]`.
      ys: the output of its cell in each direction `[..., H]`.
      dropout: what it does to `[..., O]`, or None.

    Returns:
      `[..., O]` in `compute_dtype`.
    """
    ys = [y.astype(layer.compute_dtype) for y in ys]
    y = ys[0] if layer.merge is None else layer.merge(*ys)
    y = y.astype(layer.compute_dtype)
    if dropout is not None:
        y = jnp.where(dropout.keep, y / dropout.scale, jnp.zeros_like(y))
    if layer.skip == "residual":
        return x + y
    if params.highway is not None:
        z = multiply(x, params.highway.w, layer.compute_dtype)
        gate = jax.nn.sigmoid(add_bias(z, params.highway.b.astype(z.dtype))).astype(y.dtype)
        return gate * y + (1 - gate) * x
    return y
