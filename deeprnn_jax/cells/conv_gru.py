"""The convolutional GRU: a GRU over images, whose products are convolutions."""

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.gru import GRUGates, GRUParams, GRUState, gru
from deeprnn_jax.cells.images import ImageShape, KernelSize, convolve, kernel_of
from deeprnn_jax.cells.units import GatedProjection, add_bias, zeros_state
from deeprnn_jax.checks import Activation, Bias, Flag, Initializer, Size
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.types import Array, Cell


@factory
def conv_gru(
    channels: Size,
    image_shape: ImageShape,
    kernel_size: KernelSize = 3,
    *,
    state_kernel_size: KernelSize | None = None,
    update_bias: Bias = 0.0,
    gate_activation: Activation = jax.nn.sigmoid,
    activation: Activation = jnp.tanh,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = initializers.orthogonal(),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a convolutional gated recurrent unit.

        r_t = σ(W_xr * x_t + W_hr * h_{t-1} + b_r)
        z_t = σ(W_xz * x_t + W_hz * h_{t-1} + b_z)
        n_t = act(W_xn * x_t + W_hn * (r_t ⊙ h_{t-1}) + b_n)
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    With * a convolution with zeros around the image, which keeps its shape.

    Args:
      channels: C, of the state and of the output.
      image_shape: (height, width), (length,) or (depth, height, width).
      kernel_size: K, of the input's convolution, odd: an int, or one for each axis.
      state_kernel_size: likewise, of the state's; `kernel_size` unless given.
      update_bias: as in `gru`.
      gate_activation: σ, elementwise.
      activation: act, elementwise.
      w_x_init: initialiser of each gate's block of w_x, `[*K, I, C]`.
      w_h_init: initialiser of each gate's block of w_h, `[*K, C, C]`.
      b_init: initialiser of each gate's b, `[C]`.
      use_bias: whether there is a b.

    Returns:
      The cell, for x `[T, *B, *image_shape, I]`; parameters `GRUParams`, its w_x
      `[*K, I, 3*C]`; state `GRUState(h)`, output y = h, `[*B, *image_shape, C]`.

    Raises:
      ValueError: if a size does not fit, or an activation or initialiser is no function.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.conv_gru(8, image_shape=(100,), kernel_size=5), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> rnn.apply(params, jnp.ones((10, 4, 100, 3)))[1].shape
      (10, 4, 100, 8)

    References:
      Ballas et al. 2016, "Delving deeper into convolutional networks for learning video
      representations", eq. 7-10 (GRU-RCN), given biases. Their z is 1 - z here, which keeps
      the old state as in `gru`.
    """
    kernel = kernel_of("conv_gru", "kernel_size", kernel_size, image_shape)
    state_kernel = kernel
    if state_kernel_size is not None:
        state_kernel = kernel_of("conv_gru", "state_kernel_size", state_kernel_size, image_shape)
    cell = gru(
        channels, reset_after=False, update_bias=update_bias, b_init=b_init, use_bias=use_bias
    )

    def init(key: Array, input_size: int) -> GRUParams:
        k_cell, k_x, k_h = jax.random.split(key, 3)
        return cell.init(k_cell, input_size)._replace(
            w_x=initializers.per_gate(w_x_init, k_x, 3, (*kernel, input_size, channels)),
            w_h=initializers.per_gate(w_h_init, k_h, 3, (*state_kernel, channels, channels)),
        )

    def initial_state(params: GRUParams, batch_shape: tuple[int, ...]) -> GRUState:
        return GRUState(h=zeros_state(params, (*batch_shape, *image_shape), channels))

    def project_input(params: GRUParams, x: Array) -> Array:
        return add_bias(convolve(x, params.w_x), params.b)

    def project_state(params: GRUParams, state: GRUState) -> GatedProjection:
        return GatedProjection(convolve(state.h, params.w_h[..., : 2 * channels]), state.h)

    def gates(
        params: GRUParams, state: GRUState, x_proj: Array, h_proj: GatedProjection
    ) -> GRUGates:
        del state
        x_r, x_z, x_n = jnp.split(x_proj, 3, axis=-1)
        h_r, h_z = jnp.split(h_proj.gates, 2, axis=-1)
        r = gate_activation(x_r + h_r)
        z = gate_activation(x_z + h_z)
        h_n = convolve(r * h_proj.h, params.w_h[..., 2 * channels :])
        return GRUGates(r, z, n=activation(x_n + h_n))

    def update(
        params: GRUParams, state: GRUState, x_proj: Array, h_proj: GatedProjection
    ) -> tuple[GRUState, Array]:
        _, z, n = gates(params, state, x_proj, h_proj)
        h = (1 - z) * n + z * state.h
        return GRUState(h), h

    return split_cell(
        init,
        initial_state,
        project_input,
        project_state,
        update,
        channels,
        gates=gates,
        output="h",
        image_shape=tuple(map(int, image_shape)),
    )
