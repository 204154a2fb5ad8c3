"""The minimal gated unit: one gate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import GatedProjection, add_bias, zeros_state
from deeprnn_jax.checks import Flag, Initializer, Size
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class MinimalGatedParams(NamedTuple):
    """Weights of `minimal_gated`; gates in the order f, n."""

    w_x: Array  # [I, 2*H]
    w_h: Array  # [H, 2*H]
    b: Array | None  # [2*H]


@exported
class MinimalGatedState(NamedTuple):
    """State of `minimal_gated`."""

    h: Array  # [*B, H]


@exported
class MinimalGatedGates(NamedTuple):
    """Activations of the gates of `minimal_gated`, each `[*B, H]`."""

    f: Array
    n: Array


@factory
def minimal_gated(
    hidden_size: Size,
    *,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = initializers.orthogonal(),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a minimal gated unit, a GRU whose one gate f both resets and updates.

        f_t = σ(W_xf x_t + W_hf h_{t-1} + b_f)
        n_t = tanh(W_xn x_t + W_hn (f_t ⊙ h_{t-1}) + b_n)
        h_t = (1 - f_t) ⊙ h_{t-1} + f_t ⊙ n_t

    Args:
      hidden_size: H, the width of the state and of the output.
      w_x_init: initialiser of each gate's block of w_x, `[I, H]`.
      w_h_init: initialiser of each gate's block of w_h, `[H, H]`.
      b_init: initialiser of each gate's b, `[H]`.
      use_bias: whether there is a b.

    Returns:
      The cell; state `MinimalGatedState(h)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if the size is not a positive int.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> drnn.minimal_gated(8).init(jax.random.key(0), 3).w_x.shape
      (3, 16)

    References:
      Zhou et al. 2016, "Minimal gated unit for recurrent neural networks", eq. 7.
    """

    def init(key: Array, input_size: int) -> MinimalGatedParams:
        k_x, k_h, k_b = jax.random.split(key, 3)
        return MinimalGatedParams(
            w_x=initializers.per_gate(w_x_init, k_x, 2, (input_size, hidden_size)),
            w_h=initializers.per_gate(w_h_init, k_h, 2, (hidden_size, hidden_size)),
            b=b_init(k_b, (2, hidden_size), jnp.float32).reshape(-1) if use_bias else None,
        )

    def initial_state(
        params: MinimalGatedParams, batch_shape: tuple[int, ...]
    ) -> MinimalGatedState:
        return MinimalGatedState(h=zeros_state(params, batch_shape, hidden_size))

    def project_input(params: MinimalGatedParams, x: Array) -> Array:
        return add_bias(x @ params.w_x, params.b)

    def project_state(params: MinimalGatedParams, state: MinimalGatedState) -> GatedProjection:
        return GatedProjection(state.h @ params.w_h[:, :hidden_size], state.h)

    def gates(
        params: MinimalGatedParams,
        state: MinimalGatedState,
        x_proj: Array,
        h_proj: GatedProjection,
    ) -> MinimalGatedGates:
        del state
        x_f, x_n = jnp.split(x_proj, 2, axis=-1)
        f = jax.nn.sigmoid(x_f + h_proj.gates)
        h_n = (f * h_proj.h) @ params.w_h[:, hidden_size:]
        return MinimalGatedGates(f, n=jnp.tanh(x_n + h_n))

    def update(
        params: MinimalGatedParams,
        state: MinimalGatedState,
        x_proj: Array,
        h_proj: GatedProjection,
    ) -> tuple[MinimalGatedState, Array]:
        f, n = gates(params, state, x_proj, h_proj)
        h = (1 - f) * state.h + f * n
        return MinimalGatedState(h), h

    return split_cell(
        init,
        initial_state,
        project_input,
        project_state,
        update,
        hidden_size,
        gates=gates,
        output="h",
    )
