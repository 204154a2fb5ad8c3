"""The quasi-recurrent network: gates by a convolution over time, then pooling."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.units import add_bias, zeros_state
from deeprnn_jax.checks import Activation, Bias, Flag, Initializer, Size
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported

# The gates that each pooling has weights for, in the order i, f, g, o.
POOLINGS = {"f": "fg", "fo": "fgo", "ifo": "ifgo"}


@exported
class QRNNParams(NamedTuple):
    """Weights of `qrnn`; the gates that the pooling has, in the order i, f, g, o."""

    w_x: Array  # [k*I, G*H]: the rows of x_t, of x_{t-1}, ...
    b: Array | None  # [G*H]


@exported
class QRNNState(NamedTuple):
    """State of `qrnn`."""

    c: Array  # [*B, H]
    window: tuple[Array, ...]  # k - 1 of [*B, G*H]: the inputs' part in the next step, ...


@exported
class QRNNGates(NamedTuple):
    """Activations of the gates of `qrnn`, each `[*B, H]`."""

    i: Array
    f: Array
    g: Array
    o: Array


@factory
def qrnn(
    hidden_size: Size,
    activation: Activation = jnp.tanh,
    *,
    width: Size = 2,
    pooling: Literal["f", "fo", "ifo"] = "fo",
    forget_bias: Bias = 0.0,
    w_x_init: Initializer = initializers.glorot_uniform(),
    b_init: Initializer = initializers.zeros,
    use_bias: Flag = True,
) -> Cell:
    """Make a quasi-recurrent cell: gates of the last k inputs, none of the state.

        u_t = Σ_j W_j x_{t-j} + b,    j = 0 ... k - 1
        i_t, f_t, o_t = σ(u_t), each its own part; g_t = act(its part)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        h_t = o_t ⊙ c_t

    Pooling "ifo" has all gates; "fo" no weights for i, which is 1 - f; "f" none for o
    either, which is 1, so that h is c. x is 0 before the first step and before a reset; a
    masked step is none of the k. Given x, c_t is linear in c_{t-1}, unit by unit.

    The state holds no x but sums of products: of what W_1 x_t + W_2 x_{t-1} + ... the next
    step adds to its own W_0 x, of what the one after it adds, and so on.

    Args:
      hidden_size: H, the width of c and of the output.
      activation: act, elementwise.
      width: k, how many inputs a gate sees.
      pooling: which gates there are: "f", "fo" or "ifo".
      forget_bias: added to b_f at initialisation: a number, or an initialiser. An
        initialiser, as `initializers.chrono(t_max)`, also gives b_i = -b_f.
      w_x_init: initialiser of each gate's block of w_x, `[k*I, H]`.
      b_init: initialiser of each gate's b, `[H]`.
      use_bias: whether there is a b (then `forget_bias` counts).

    Returns:
      The cell; state `QRNNState(c, window)`, output y = h `[*B, H]`.

    Raises:
      ValueError: if a size is not a positive int, or the pooling none of the three.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.qrnn(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), 3)
      >>> params.layers[0].cell.w_x.shape
      (6, 24)

    References:
      Bradbury et al. 2016, "Quasi-recurrent neural networks", eq. 1-5; g is their z. Their
      equations have no bias. Their zoneout, on f, is `zoneout(cell, {"c": rate})`.
    """
    if pooling not in list(POOLINGS):
        raise ValueError(
            f"qrnn: pooling must be 'f', 'fo' or 'ifo', got {pooling!r}; 'fo' is the paper's usual"
        )
    names = POOLINGS[pooling]
    num_gates = len(names)

    def init_bias(k_b: Array, k_f: Array) -> Array:
        b_f = initializers.constant_or(forget_bias)(k_f, (hidden_size,), jnp.float32)
        b = b_init(k_b, (num_gates, hidden_size), jnp.float32).at[names.index("f")].add(b_f)
        if callable(forget_bias) and "i" in names:
            b = b.at[0].add(-b_f)
        return b.reshape(num_gates * hidden_size)

    def init(key: Array, input_size: int) -> QRNNParams:
        k_x, k_b, k_f = jax.random.split(key, 3)
        shape = (width * input_size, hidden_size)
        return QRNNParams(
            w_x=initializers.per_gate(w_x_init, k_x, num_gates, shape),
            b=init_bias(k_b, k_f) if use_bias else None,
        )

    def initial_state(params: QRNNParams, batch_shape: tuple[int, ...]) -> QRNNState:
        later = (zeros_state(params, batch_shape, num_gates * hidden_size),) * (width - 1)
        return QRNNState(c=zeros_state(params, batch_shape, hidden_size), window=later)

    def convolve(
        params: QRNNParams, window: tuple[Array, ...], x: Array
    ) -> tuple[tuple[Array, ...], Array]:
        """Give the next window and this step's sum; each product is of x_t alone."""
        now, *later = (x @ w for w in jnp.split(params.w_x, width))
        if window:
            now = now + window[0]
            later = [*(a + b for a, b in zip(later, window[1:], strict=False)), later[-1]]
        return tuple(later), add_bias(now, params.b)

    def open_gates(u: Array) -> QRNNGates:
        part = dict(zip(names, jnp.split(u, num_gates, axis=-1), strict=True))
        # σ(-u) is 1 - σ(u) without its rounding: with a long memory that is what g comes in by.
        i = jax.nn.sigmoid(part["i"] if "i" in part else -part["f"])
        f, g = jax.nn.sigmoid(part["f"]), activation(part["g"])
        return QRNNGates(i, f, g, o=jax.nn.sigmoid(part["o"]) if "o" in part else jnp.ones_like(f))

    def step(params: QRNNParams, state: QRNNState, x: Array) -> tuple[QRNNState, Array]:
        window, u = convolve(params, state.window, x)
        i, f, g, o = open_gates(u)
        c = f * state.c + i * g
        return QRNNState(c, window), c if pooling == "f" else o * c

    def gates(params: QRNNParams, state: QRNNState, x_proj: Array, h_proj: None) -> QRNNGates:
        del h_proj
        return open_gates(convolve(params, state.window, x_proj)[1])

    output = "c" if pooling == "f" else False
    return step_cell(
        init, initial_state, step, hidden_size, gates=gates, output=output, state_map="affine"
    )
