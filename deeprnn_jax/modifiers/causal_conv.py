"""A causal convolution over time before a cell."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, scale_units, zeros_state
from deeprnn_jax.checks import Activation, CellArgument, Initializer, Size
from deeprnn_jax.factories import factory
from deeprnn_jax.modifiers.lift import lift_params
from deeprnn_jax.types import Array, Cell, Params, Projection, State, exported, read_input


@exported
class CausalConvParams(NamedTuple):
    """Parameters of `causal_conv`: the cell's, and the convolution's."""

    cell: Params
    w: Array  # [width, I]; w[j] is for the input of j steps ago
    b: Array  # [I]


@exported
class CausalConvState(NamedTuple):
    """State of `causal_conv`: the earlier inputs, and the cell's state."""

    window: tuple[Array, ...]  # width - 1 arrays [*B, I], the newest first
    cell: State


@factory
def causal_conv(
    cell: CellArgument,
    width: Size = 4,
    activation: Activation | None = None,
    *,
    w_init: Initializer = initializers.uniform(),
    b_init: Initializer = initializers.zeros,
) -> Cell:
    """Let a cell read its input through a causal convolution, each channel on its own.

        u_t = act(Σ_j w_j ⊙ x_{t-j} + b),    j = 0, ..., width - 1
        y_t = cell(u_t)

    The earlier inputs are a part of the state: before a sequence, and after a reset, they are
    zero; a masked step is not one of them. In the reverse direction they are the later ones.

    Args:
      cell: any cell; it reads u, as wide as x.
      width: how many inputs u_t is made of, x_t among them; with 1, x_t alone.
      activation: act, elementwise; None: none.
      w_init: initialiser of the channels' weights `[I, width]`; U(±1/√width) by default.
      b_init: initialiser of b `[I]`.

    Returns:
      The cell; parameters `CausalConvParams(cell, w, b)`, state `CausalConvState(window, cell)`.
      Modifiers that work on a field of the state, as `zoneout`, go on the cell inside.

    Raises:
      ValueError: if the width is not a positive int, or the activation no function.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.causal_conv(drnn.gru(8), width=4, activation=jax.nn.silu)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> params.w.shape, len(cell.initial_state(params, (2,)).window)
      ((4, 3), 3)

    References:
      De et al. 2024 (Griffin), section 2.3, and Beck et al. 2024 (xLSTM), figures 10-11: width
      4, before the recurrence. The default draw is torch's for a convolution of single channels,
      but b is zero; Griffin's draws w from N(0, 0.01/width).
    """

    def init(key: Array, input_size: int) -> CausalConvParams:
        k_cell, k_w, k_b = jax.random.split(key, 3)
        return CausalConvParams(
            cell=cell.init(k_cell, input_size),
            w=w_init(k_w, (input_size, width), jnp.float32).T,
            b=b_init(k_b, (input_size,), jnp.float32),
        )

    def initial_state(params: CausalConvParams, batch_shape: tuple[int, ...]) -> CausalConvState:
        empty = zeros_state(params.w, batch_shape, params.w.shape[-1])
        return CausalConvState((empty,) * (width - 1), cell.initial_state(params.cell, batch_shape))

    def convolve(params: CausalConvParams, inputs: tuple[Array, ...]) -> Projection:
        """Give what the cell makes of u_t, of the inputs x_t, x_{t-1}, ... before it."""
        size = params.w.shape[-1]
        if inputs[0].shape[-1] != size:
            raise ValueError(
                f"causal_conv: x must end in I={size} features, as the parameters were initialised "
                f"for, got {inputs[0].shape}"
            )
        terms = [scale_units(w, x) for w, x in zip(params.w, inputs, strict=True)]
        u = add_bias(sum(terms[1:], terms[0]), params.b)
        return cell.project_input(params.cell, u if activation is None else activation(u))

    project_state = cell.project_state

    def project_cell_state(params: CausalConvParams, state: CausalConvState) -> Projection:
        assert project_state is not None
        return project_state(params.cell, state.cell)

    def update(
        params: CausalConvParams, state: CausalConvState, x: Array, h_proj: Projection, *noise: Any
    ) -> tuple[CausalConvState, Array]:
        inputs = (x, *state.window)
        x_proj = convolve(params, inputs)
        after, y = cell.update(params.cell, state.cell, x_proj, h_proj, *noise)
        return CausalConvState(inputs[:-1], after), y

    cell_gates = cell.gates

    def gates(params: CausalConvParams, state: CausalConvState, x: Array, h_proj: Any) -> Any:
        assert cell_gates is not None
        x_proj = convolve(params, (x, *state.window))
        return cell_gates(params.cell, state.cell, x_proj, h_proj)

    lifted = lift_params(cell)
    # y is a field of the state inside, if of any; the window depends on the input alone
    return lifted._replace(
        init=init,
        initial_state=initial_state,
        project_input=read_input,
        project_state=project_state and project_cell_state,
        update=update,
        gates=cell_gates and gates,
        output=False,
        state_map=cell.state_map,
    )
