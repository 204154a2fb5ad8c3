"""The gated recurrent unit, with the reset gate after or before the product."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import GatedProjection, add_bias, zeros_state
from deeprnn_jax.checks import Activation, Bias, Flag, Initializer, Size
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.types import Array, Cell, GatesFn, exported


@exported
class GRUParams(NamedTuple):
    """Weights of `gru`; gates in the order r, z, n."""

    w_x: Array  # [I, 3*H]
    w_h: Array  # [H, 3*H]
    b: Array | None  # [3*H]
    b_hn: Array | None  # [H], the candidate's recurrent bias; reset_after only


@exported
class GRUState(NamedTuple):
    """State of `gru`."""

    h: Array  # [*B, H]


@exported
class GRUGates(NamedTuple):
    """Activations of the gates of `gru`, each `[*B, H]`."""

    r: Array
    z: Array
    n: Array


@factory
def gru(
    hidden_size: Size,
    *,
    reset_after: Flag = True,
    update_bias: Bias = 0.0,
    gate_activation: Activation = jax.nn.sigmoid,
    activation: Activation = jnp.tanh,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = initializers.orthogonal(),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a gated recurrent unit.

        r_t = σ(W_xr x_t + W_hr h_{t-1} + b_r)
        z_t = σ(W_xz x_t + W_hz h_{t-1} + b_z)
        n_t = act(W_xn x_t + b_n + r_t ⊙ (W_hn h_{t-1} + b_hn))     reset_after=True
        n_t = act(W_xn x_t + b_n + W_hn (r_t ⊙ h_{t-1}))            reset_after=False
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    The first is the variant of cuDNN, torch and Flax; the second that of Cho 2014.
    They are different functions, with different weights.

    Args:
      hidden_size: H, the width of the state and of the output.
      reset_after: whether the reset gate comes after the recurrent product.
      update_bias: added to b_z at initialisation: a number, or an initialiser as
        `initializers.chrono(t_max)`.
      gate_activation: σ, elementwise.
      activation: act, elementwise.
      w_x_init: initialiser of each gate's block of w_x, `[I, H]`.
      w_h_init: initialiser of each gate's block of w_h, `[H, H]`.
      b_init: initialiser of each gate's b, and of b_hn, `[H]`.
      use_bias: whether there are b and b_hn.

    Returns:
      The cell; state `GRUState(h)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if the size is not a positive int or an activation no function.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.gru(8)
      >>> cell.init(jax.random.key(0), 3).w_h.shape
      (8, 24)

    References:
      Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder",
      eq. 5-8, with their bias-free form given biases. Their z keeps the old state,
      as here; Haiku's and Chung's does the opposite.
    """

    def init_bias(k_b: Array, k_z: Array) -> Array:
        b = b_init(k_b, (3, hidden_size), jnp.float32)
        b_z = initializers.constant_or(update_bias)(k_z, (hidden_size,), jnp.float32)
        return b.at[1].add(b_z).reshape(3 * hidden_size)

    def init(key: Array, input_size: int) -> GRUParams:
        k_x, k_h, k_b, k_z, k_n = jax.random.split(key, 5)
        b_hn = None
        if use_bias and reset_after:
            b_hn = b_init(k_n, (hidden_size,), jnp.float32)
        return GRUParams(
            w_x=initializers.per_gate(w_x_init, k_x, 3, (input_size, hidden_size)),
            w_h=initializers.per_gate(w_h_init, k_h, 3, (hidden_size, hidden_size)),
            b=init_bias(k_b, k_z) if use_bias else None,
            b_hn=b_hn,
        )

    def initial_state(params: GRUParams, batch_shape: tuple[int, ...]) -> GRUState:
        return GRUState(h=zeros_state(params, batch_shape, hidden_size))

    def project_input(params: GRUParams, x: Array) -> Array:
        return add_bias(x @ params.w_x, params.b)

    def project_state_after(params: GRUParams, state: GRUState) -> Array:
        h_proj = state.h @ params.w_h
        if params.b_hn is None:
            return h_proj
        # Here and not in `update`: its gradient then is deferred with w_h's.
        return add_bias(h_proj, jnp.pad(params.b_hn, (2 * hidden_size, 0)))

    def project_state_before(params: GRUParams, state: GRUState) -> GatedProjection:
        gates = state.h @ params.w_h[:, : 2 * hidden_size]
        return GatedProjection(gates, state.h)

    def gates_after(params: GRUParams, state: GRUState, x_proj: Array, h_proj: Array) -> GRUGates:
        del params, state
        x_r, x_z, x_n = jnp.split(x_proj, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(h_proj, 3, axis=-1)
        r = gate_activation(x_r + h_r)
        z = gate_activation(x_z + h_z)
        return GRUGates(r, z, n=activation(x_n + r * h_n))

    def gates_before(
        params: GRUParams, state: GRUState, x_proj: Array, h_proj: GatedProjection
    ) -> GRUGates:
        del state
        x_r, x_z, x_n = jnp.split(x_proj, 3, axis=-1)
        h_r, h_z = jnp.split(h_proj.gates, 2, axis=-1)
        r = gate_activation(x_r + h_r)
        z = gate_activation(x_z + h_z)
        h_n = (r * h_proj.h) @ params.w_h[:, 2 * hidden_size :]
        return GRUGates(r, z, n=activation(x_n + h_n))

    gates = cast(GatesFn, gates_after if reset_after else gates_before)

    def update(
        params: GRUParams, state: GRUState, x_proj: Array, h_proj: Array
    ) -> tuple[GRUState, Array]:
        _, z, n = gates(params, state, x_proj, h_proj)
        h = (1 - z) * n + z * state.h
        return GRUState(h), h

    return split_cell(
        init,
        initial_state,
        project_input,
        project_state_after if reset_after else project_state_before,
        update,
        hidden_size,
        gates=gates,
        output="h",
    )
