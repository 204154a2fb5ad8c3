"""The derivative of a step: from state to state and from input to state."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from deeprnn_jax import arguments
from deeprnn_jax.analysis.inputs import check_causal, check_run
from deeprnn_jax.analysis.vectors import drive, identity, layer_sizes, push, step_of, to_vector
from deeprnn_jax.checks import is_int
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.sequences import where_flag
from deeprnn_jax.types import Array


class Jacobian(NamedTuple):
    """Derivatives of the state after a step, as `to_vector` lays it out."""

    state: Array  # [*B, N, N], by the state before
    input: Array  # [*B, N, I], by the network's input


def jacobian(
    rnn: DeepRNN,
    params: DeepParams,
    state: DeepState,
    x_t: Array,
    *,
    layer: int | None = None,
) -> Jacobian:
    """Give the Jacobian of a step.

        ∂s_t / ∂s_{t-1}        ∂s_t / ∂x_t

    s: all fields of all layers' states as one vector a row, in the order of `to_vector`. Layer l
    depends on its own past and on that of the layers below: blocks on and below the diagonal.

    Args:
      rnn: a network of one direction.
      params: its parameters.
      state: before the step, leaves `[*B, ...]`.
      x_t: `[*B, I]`, as `rnn.step` takes it; of images I is all of one.
      layer: of one layer alone: its own block, and its state by the network's input.

    Returns:
      `Jacobian(state [*B, N, N], input [*B, N, I])`, in float32 or wider.

    Raises:
      ValueError: if an argument does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> state = rnn.initial_state(params, 5)
      >>> found = drnn.analysis.jacobian(rnn, params, state, jnp.ones((5, 3)))
      >>> found.state.shape, found.input.shape
      ((5, 32, 32), (5, 32, 3))
    """
    check_causal("jacobian", rnn)
    arguments.check_step("jacobian", state, x_t, False, rnn.plan.image_shape)
    (x_t,) = arguments.as_arrays(x_t)
    check_run("jacobian", rnn, params, x_t[None], state)
    part = _part_of("jacobian", rnn, params, layer)
    return _at(rnn, params, to_vector(rnn, params, state), x_t, part)


def jacobians(
    rnn: DeepRNN,
    params: DeepParams,
    x: Array,
    state: DeepState | None = None,
    *,
    layer: int | None = None,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
) -> Jacobian:
    """Give the Jacobians of all steps of a sequence: T of them at once, so mind the memory.

    Args:
      rnn: a network of one direction.
      params: its parameters.
      x: `[T, *B, I]`, as `rnn.apply` takes it, as all that follow.
      state: the state before the first step.
      layer: as in `jacobian`.
      lengths: int `[*B]`.
      mask: bool `[T, *B]`; at a masked step, the identity, and zero by the input.
      resets: bool `[T, *B]`; at a reset, by the initial state, with which the step begins.

    Returns:
      `Jacobian(state [T, *B, N, N], input [T, *B, N, I])`.

    Raises:
      ValueError: as `jacobian`.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> drnn.analysis.jacobians(rnn, params, jnp.ones((20, 5, 3)), layer=1).state.shape
      (20, 5, 8, 8)
    """
    driven = drive("jacobians", rnn, params, x, state, lengths, mask, resets)
    part = _part_of("jacobians", rnn, params, layer)
    first = to_vector(rnn, params, rnn.initial_state(params, driven.real.shape[1:]))

    def step(vector: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Jacobian]:
        x_t, is_real, is_new = inputs
        found = _at(rnn, params, where_flag(is_new, first, vector), x_t, part)
        still = Jacobian(identity(vector[..., part]), jnp.zeros_like(found.input))
        return driven.step(vector, inputs), where_flag(is_real, found, still)

    return lax.scan(step, driven.start, driven.inputs)[1]


def _part_of(function: str, rnn: DeepRNN, params: DeepParams, layer: int | None) -> slice:
    """Give where a layer's state lies in the vector; all of it, if none is named."""
    sizes = layer_sizes(rnn, params)
    if layer is None:
        return slice(0, sum(sizes))
    if not is_int(layer, at_least=0) or layer >= len(sizes):
        raise ValueError(
            f"{function}: layer must be None or an int in [0, L={len(sizes)}), got {layer!r}"
        )
    return slice(sum(sizes[:layer]), sum(sizes[: layer + 1]))


def _at(rnn: DeepRNN, params: DeepParams, vector: Array, x_t: Array, part: slice) -> Jacobian:
    """Give the Jacobian of a step at a vector `[*B, N]`, of a part of it."""
    step = step_of(rnn, params)
    flat = x_t.reshape(*vector.shape[:-1], -1)

    def of_state(own: Array) -> Array:
        return step(vector.at[..., part].set(own), x_t)[0][..., part]

    def of_input(flat: Array) -> Array:
        return step(vector, flat.reshape(x_t.shape))[0][..., part]

    own = vector[..., part]
    by_state = push(of_state, own, identity(own))[1]
    return Jacobian(by_state, push(of_input, flat, identity(flat))[1])
