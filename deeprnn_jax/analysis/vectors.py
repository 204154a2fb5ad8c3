"""A network as a map of vectors: its state, flat, and its step as a function of that alone."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import arguments, parameters
from deeprnn_jax.analysis.inputs import check_causal, check_run
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.layers.entries import as_held, by_layer
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.sequences import make_steps, where_flag, zero_where_masked
from deeprnn_jax.types import Array

StepFn = Callable[[Array, Any], Array]  # (vector [*B, N], what a step reads) -> vector


def to_vector(rnn: DeepRNN, params: DeepParams, state: DeepState) -> Array:
    """Give a network's state as one vector a row.

    In the order of layers, in each that of its state's fields, in each that of its axes; what an
    instrument gives by index of the state is in this order.

    Args:
      rnn: a network of one direction.
      params: its parameters.
      state: leaves `[*B, ...]`.

    Returns:
      `[*B, N]`, in float32 or wider.

    Raises:
      ValueError: if the network has two directions, or not all of its state is floating point.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> vector = drnn.analysis.to_vector(rnn, params, rnn.initial_state(params, 5))
      >>> vector.shape, drnn.analysis.to_state(rnn, params, vector)[1].c.shape
      ((5, 32), (5, 8))
    """
    _check("to_vector", rnn, params)
    leaves = jax.tree.leaves(by_layer(rnn.plan, state))
    row = jax.tree.leaves(_shapes(rnn, params, ()))
    wide = [leaf.astype(rnn.plan.precision.accumulate) for leaf in leaves]
    shapes = [leaf.shape[: leaf.ndim - one.ndim] for leaf, one in zip(leaves, row, strict=True)]
    flat = [leaf.reshape(*shape, -1) for leaf, shape in zip(wide, shapes, strict=True)]
    return jnp.concatenate(flat, axis=-1)


def to_state(rnn: DeepRNN, params: DeepParams, vector: Array) -> DeepState:
    """Give a network's state from one vector a row: `to_vector`'s inverse.

    Args:
      rnn: a network of one direction.
      params: its parameters.
      vector: `[*B, N]`.

    Returns:
      The state, leaves `[*B, ...]`, as the network holds it.

    Raises:
      ValueError: as `to_vector`; if the vector is not as wide as the state.
    """
    _check("to_state", rnn, params)
    shapes = _shapes(rnn, params, vector.shape[:-1])
    sizes = layer_sizes(rnn, params)
    if vector.shape[-1] != sum(sizes):
        raise ValueError(
            f"to_state: vector must be [*B, N={sum(sizes)}], as wide as the state, got shape "
            f"{vector.shape}"
        )
    leaves, structure = jax.tree.flatten(shapes)
    found, start = [], 0
    for leaf in leaves:
        stop = start + math.prod(leaf.shape[vector.ndim - 1 :])
        found.append(vector[..., start:stop].reshape(leaf.shape).astype(leaf.dtype))
        start = stop
    return as_held(rnn.plan, jax.tree.unflatten(structure, found))


def layer_sizes(rnn: DeepRNN, params: DeepParams) -> list[int]:
    """Give how many numbers a row's state has in each layer."""
    return [
        sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(one))
        for one in _shapes(rnn, params, ())
    ]


def _shapes(rnn: DeepRNN, params: DeepParams, batch_shape: tuple[int, ...]) -> Any:
    """Give the shapes of a state, one entry a layer."""

    def first(params: DeepParams) -> Any:
        return by_layer(rnn.plan, parameters.initial_state(rnn.plan, params, batch_shape))

    return jax.eval_shape(first, params)


def _check(function: str, rnn: Any, params: Any) -> None:
    check_causal(function, rnn)
    parameters.check_params(function, rnn.plan, params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(_shapes(rnn, params, ())):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"{function}: all of the state must be floating point to have derivatives, got "
                f"{leaf.dtype} for state{jax.tree_util.keystr(path)}"
            )


def step_of(rnn: DeepRNN, params: DeepParams) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Give a network's step of vectors, `(vector, x_t) -> (vector, y_t)`."""

    def step(vector: Array, x_t: Array) -> tuple[Array, Array]:
        state, y_t = rnn.step(params, to_state(rnn, params, vector), x_t)
        return to_vector(rnn, params, state), y_t

    return step


class Driven(NamedTuple):
    """A network on its way through a sequence."""

    step: StepFn  # a masked step does nothing; a reset sets the vector, and not its tangent
    start: Array  # [*B, N]
    inputs: Any  # what the steps read, leaves [T, *B, ...]
    real: Array  # bool [T, *B]
    resets: Array  # bool [T, *B]


def drive(
    function: str,
    rnn: DeepRNN,
    params: DeepParams,
    x: Array,
    state: DeepState | None,
    lengths: Array | None,
    mask: Array | None,
    resets: Array | None,
) -> Driven:
    """Check what a network is run with, and make its step a function of vectors."""
    check_causal(function, rnn)
    check_run(function, rnn, params, x, state)
    image_shape = rnn.plan.image_shape
    arguments.check_flags_of_steps(function, x, lengths, mask, resets, image_shape)
    x, lengths, mask, resets = arguments.as_arrays(x, lengths, mask, resets)
    axes = arguments.steps_shape(x, image_shape)
    steps = make_steps(lengths, mask, resets, axes[0])
    real = jnp.ones(axes, bool) if steps.mask is None else steps.mask
    new = jnp.zeros(axes, bool) if steps.resets is None else steps.resets
    first = to_vector(rnn, params, rnn.initial_state(params, axes[1:]))
    advance = step_of(rnn, params)

    def step(vector: Array, inputs: tuple[Array, Array, Array]) -> Array:
        x_t, is_real, is_new = inputs
        vector = _jump(is_new, first, vector)
        return where_flag(is_real, advance(vector, x_t)[0], vector)

    start = first if state is None else to_vector(rnn, params, state)
    return Driven(step, start, (zero_where_masked(x, steps.mask), real, new), real, new)


@jax.custom_jvp
def _jump(flag: Array, to: Array, vector: Array) -> Array:
    """Give the one vector where the flag is set, else the other, whose tangent always goes on."""
    return where_flag(flag, to, vector)


@_jump.defjvp
def _jump_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    return _jump(*primals), tangents[2]


def identity(vector: Array) -> Array:
    """Give the identity matrix `[*B, N, N]` for vectors `[*B, N]`."""
    size = vector.shape[-1]
    eye = jnp.eye(size, dtype=vector.dtype).reshape(*(1,) * (vector.ndim - 1), size, size)
    return jnp.broadcast_to(eye, (*vector.shape, size))


def push(step: Callable[[Array], Array], at: Array, tangents: Array) -> tuple[Array, Array]:
    """Give a map's value, and its derivative times tangents `[*B, N, K]`."""
    forward = partial(jax.jvp, step, (at,))
    value, pushed = jax.vmap(lambda v: forward((v,)), in_axes=-1, out_axes=(None, -1))(tangents)
    return value, pushed
