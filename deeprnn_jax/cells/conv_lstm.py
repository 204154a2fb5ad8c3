"""The convolutional LSTM: an LSTM over images, whose products are convolutions."""

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.images import ImageShape, KernelSize, convolve, kernel_of
from deeprnn_jax.cells.lstm import LSTMParams, LSTMState, Peepholes, lstm
from deeprnn_jax.cells.units import add_bias, zeros_state
from deeprnn_jax.checks import Activation, Bias, Flag, Initializer, Size
from deeprnn_jax.factories import factory, split_cell
from deeprnn_jax.types import Array, Cell


@factory
def conv_lstm(
    channels: Size,
    image_shape: ImageShape,
    kernel_size: KernelSize = 3,
    *,
    state_kernel_size: KernelSize | None = None,
    peepholes: Flag = False,
    forget_bias: Bias = 1.0,
    gate_activation: Activation = jax.nn.sigmoid,
    cell_activation: Activation = jnp.tanh,
    w_x_init: Initializer = initializers.glorot_uniform(),
    w_h_init: Initializer = initializers.orthogonal(),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a convolutional LSTM cell.

        i_t = σ(W_xi * x_t + W_hi * h_{t-1} + b_i)        [+ p_i ⊙ c_{t-1}]
        f_t = σ(W_xf * x_t + W_hf * h_{t-1} + b_f)        [+ p_f ⊙ c_{t-1}]
        g_t = act(W_xg * x_t + W_hg * h_{t-1} + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = σ(W_xo * x_t + W_ho * h_{t-1} + b_o)        [+ p_o ⊙ c_t]
        h_t = o_t ⊙ act(c_t)

    With * a convolution with zeros around the image, which keeps its shape. In brackets, inside
    σ: `peepholes`, a weight for each pixel and channel.

    Args:
      channels: C, of the state and of the output.
      image_shape: (height, width), (length,) or (depth, height, width).
      kernel_size: K, of the input's convolution, odd: an int, or one for each axis.
      state_kernel_size: likewise, of the state's; `kernel_size` unless given.
      peepholes: whether the gates see c.
      forget_bias: as in `lstm`.
      gate_activation: σ, elementwise.
      cell_activation: act, elementwise, for g and for c.
      w_x_init: initialiser of each gate's block of w_x, `[*K, I, C]`.
      w_h_init: initialiser of each gate's block of w_h, `[*K, C, C]`.
      b_init: initialiser of each gate's b, `[C]`.
      use_bias: whether there is a b (then `forget_bias` counts).

    Returns:
      The cell, for x `[T, *B, *image_shape, I]`; parameters `LSTMParams`, its w_x
      `[*K, I, 4*C]`; state `LSTMState(h, c)`, output y = h, `[*B, *image_shape, C]`.

    Raises:
      ValueError: if a size does not fit, or an activation or initialiser is no function.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.conv_lstm(8, image_shape=(16, 16)), num_layers=3)
      >>> params = rnn.init(jax.random.key(0), input_size=1)
      >>> state, y = rnn.apply(params, jnp.ones((10, 4, 16, 16, 1)), lengths=jnp.full(4, 7))
      >>> state[2].c.shape, y.shape
      ((4, 16, 16, 8), (10, 4, 16, 16, 8))

    References:
      Shi et al. 2015, "Convolutional LSTM network", eq. 3, where peepholes are always there.
      Without them, the cell of Keras's `ConvLSTM2D` and of Flax's `ConvLSTMCell`.
    """
    kernel = kernel_of("conv_lstm", "kernel_size", kernel_size, image_shape)
    state_kernel = kernel
    if state_kernel_size is not None:
        state_kernel = kernel_of("conv_lstm", "state_kernel_size", state_kernel_size, image_shape)
    cell = lstm(
        channels,
        forget_bias=forget_bias,
        gate_activation=gate_activation,
        cell_activation=cell_activation,
        b_init=b_init,
        use_bias=use_bias,
    )

    def init(key: Array, input_size: int) -> LSTMParams:
        k_cell, k_x, k_h, k_p = jax.random.split(key, 4)
        weights = None
        if peepholes:
            p = initializers.uniform()(k_p, (3, *image_shape, channels), jnp.float32)
            weights = Peepholes(i=p[0], f=p[1], o=p[2])
        return cell.init(k_cell, input_size)._replace(
            w_x=initializers.per_gate(w_x_init, k_x, 4, (*kernel, input_size, channels)),
            w_h=initializers.per_gate(w_h_init, k_h, 4, (*state_kernel, channels, channels)),
            peepholes=weights,
        )

    def initial_state(params: LSTMParams, batch_shape: tuple[int, ...]) -> LSTMState:
        zeros = zeros_state(params, (*batch_shape, *image_shape), channels)
        return LSTMState(h=zeros, c=zeros)

    def project_input(params: LSTMParams, x: Array) -> Array:
        return add_bias(convolve(x, params.w_x), params.b)

    def project_state(params: LSTMParams, state: LSTMState) -> Array:
        return convolve(state.h, params.w_h)

    return split_cell(
        init,
        initial_state,
        project_input,
        project_state,
        cell.update,
        channels,
        gates=cell.gates,
        output="h",
        image_shape=tuple(map(int, image_shape)),
    )
