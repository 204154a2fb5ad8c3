"""The mLSTM: a matrix memory for each head, with an exponential input gate."""

from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.heads import (
    OutputNorm,
    draw_widths,
    head_size,
    normalize_heads,
    outer,
    read,
    split_heads,
    split_widths,
)
from deeprnn_jax.cells.units import add_bias, zeros_state
from deeprnn_jax.checks import Bias, Initializer, Size, one_of
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported

InputGate = Annotated[Literal["exp", "sigmoid"], one_of("exp", "sigmoid")]
_EPSILON = 1e-6  # of the denominator, as published


@exported
class MLSTMParams(NamedTuple):
    """Weights of `mlstm`; in the order q, k, v, o, i, f, the last two one a head."""

    w_x: Array  # [I, 2*heads*K + 2*H + 2*heads]
    b: Array  # [2*heads*K + 2*H + 2*heads]
    gain: Array | None  # [H], of the output's normalisation


@exported
class MLSTMState(NamedTuple):
    """State of `mlstm`; c and n are e^m times as large as they stand here."""

    c: Array  # [*B, heads, K, V]
    n: Array  # [*B, heads, K]
    m: Array  # [*B, heads], the logarithm that i and f are scaled by


@exported
class SigmoidMLSTMState(NamedTuple):
    """State of `mlstm` with a sigmoid input gate."""

    c: Array  # [*B, heads, K, V]
    n: Array  # [*B, heads, K]


@exported
class MLSTMGates(NamedTuple):
    """Activations of the gates of `mlstm`; exponential ones divided by e^m."""

    i: Array  # [*B, heads]
    f: Array  # [*B, heads]
    o: Array  # [*B, H]


class _Inputs(NamedTuple):
    """What a step makes of its input."""

    q: Array  # [*B, heads, K]
    k: Array  # [*B, heads, K]
    v: Array  # [*B, heads, V]
    gates: MLSTMGates
    m: Array  # [*B, heads]


def three_to_six(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Give forget biases from 3 to 6, in equal steps over the heads."""
    del key
    return jnp.linspace(3.0, 6.0, shape[0], dtype=dtype)


@factory
def mlstm(
    hidden_size: Size,
    num_heads: Size = 1,
    *,
    key_size: Size | None = None,
    input_gate: InputGate = "exp",
    forget_bias: Bias = three_to_six,
    output_norm: OutputNorm = None,
    w_x_init: Initializer = initializers.glorot_uniform(),
) -> Cell:
    """Make an mLSTM cell.

    Each head has a matrix C `[K, V]`, which is written to by a key and read by a query:

        q_t = W_q x_t + b_q,    k_t = (W_k x_t + b_k) / √K,    v_t = W_v x_t + b_v
        i_t = exp(w_i · x_t + b_i)                     or σ, by `input_gate`
        f_t = σ(w_f · x_t + b_f)
        o_t = σ(W_o x_t + b_o)
        C_t = f_t C_{t-1} + i_t k_t v_tᵀ
        n_t = f_t n_{t-1} + i_t k_t
        y_t = o_t ⊙ norm(C_tᵀ q_t / max(|n_t · q_t|, 1))

    So that no exponential overflows, m_t = max(log f_t + m_{t-1}, log i_t) is carried along,
    and i, f, C and n stand divided by e^m; y does not change. m is 0 before the first step, as
    is all of the state. σ for the input gate needs no m.

    Args:
      hidden_size: H, the width of the output: that of all heads' values, heads·V.
      num_heads: how many heads there are; divides H.
      key_size: K, of a head's keys and queries; None: V.
      input_gate: "exp", or "sigmoid": the mLSTMsig.
      forget_bias: b_f at initialisation: a number, or an initialiser `[heads]`.
      output_norm: how each head's output is normalised, before the output gate: "rms",
        "layer", or None, not at all.
      w_x_init: initialiser of W_q, W_k, W_v and W_o, `[I, heads*K]` or `[I, H]`.

    Returns:
      The cell; state `MLSTMState(c, n, m)`, or `SigmoidMLSTMState(c, n)`; output y `[*B, H]`,
      which is no field of it.

    Raises:
      ValueError: if a size is not a positive int, the heads do not divide H, or an option is
        none of those named.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.mlstm(8, num_heads=2, key_size=3)
      >>> params = cell.init(jax.random.key(0), 5)
      >>> cell.initial_state(params, (7,)).c.shape
      (7, 2, 3, 4)

    References:
      Beck et al. 2024, "xLSTM: Extended long short-term memory", eq. 19-27. Their code adds
      1e-6 to the denominator when that is divided by e^m, as here, and starts w_i and w_f at 0,
      b_i at N(0, 0.1²), b_f from 3 to 6; it computes i and f of q, k and v in place of x. The
      mLSTMsig: Beck et al. 2025, "Tiled flash linear attention", with the normaliser n, which they
      can leave out.
    """
    value_size = head_size("mlstm", hidden_size, num_heads)
    size = value_size if key_size is None else key_size
    products = (num_heads * size, num_heads * size, hidden_size, hidden_size)
    widths = (*products, num_heads, num_heads)

    def init(key: Array, input_size: int) -> MLSTMParams:
        k_x, k_i, k_f = jax.random.split(key, 3)
        w_x = draw_widths(w_x_init, k_x, input_size, products)
        b_i = 0.1 * jax.random.normal(k_i, (num_heads,), jnp.float32)
        b_f = initializers.constant_or(forget_bias)(k_f, (num_heads,), jnp.float32)
        return MLSTMParams(
            w_x=jnp.pad(w_x, ((0, 0), (0, 2 * num_heads))),
            b=jnp.concatenate([jnp.zeros(sum(products), jnp.float32), b_i, b_f]),
            gain=None if output_norm is None else jnp.ones(hidden_size, jnp.float32),
        )

    def initial_state(
        params: MLSTMParams, batch_shape: tuple[int, ...]
    ) -> MLSTMState | SigmoidMLSTMState:
        c = zeros_state(params, (*batch_shape, num_heads, size), value_size)
        n = zeros_state(params, (*batch_shape, num_heads), size)
        if input_gate == "sigmoid":
            return SigmoidMLSTMState(c, n)
        return MLSTMState(c, n, m=zeros_state(params, batch_shape, num_heads))

    def read_input(params: MLSTMParams, state: MLSTMState | SigmoidMLSTMState, x: Array) -> _Inputs:
        q, k, v, o, z_i, z_f = split_widths(add_bias(x @ params.w_x, params.b), widths)
        q, k, v = (split_heads(one, num_heads) for one in (q, k / size**0.5, v))
        o = jax.nn.sigmoid(o)
        if isinstance(state, SigmoidMLSTMState):
            gates = MLSTMGates(jax.nn.sigmoid(z_i), jax.nn.sigmoid(z_f), o)
            return _Inputs(q, k, v, gates, m=jnp.zeros_like(z_i))
        kept = jax.nn.log_sigmoid(z_f) + state.m
        m = jnp.maximum(kept, z_i)
        return _Inputs(q, k, v, MLSTMGates(jnp.exp(z_i - m), jnp.exp(kept - m), o), m)

    def step(
        params: MLSTMParams, state: MLSTMState | SigmoidMLSTMState, x: Array
    ) -> tuple[MLSTMState | SigmoidMLSTMState, Array]:
        q, k, v, (i, f, o), m = read_input(params, state, x)
        k = i[..., None] * k
        c = f[..., None, None] * state.c + outer(k, v)
        n = f[..., None] * state.n + k
        y = read(c, q) * _normalizer(n, q, m)[..., None]
        y = o * normalize_heads(output_norm, params.gain, y)
        if isinstance(state, SigmoidMLSTMState):
            return SigmoidMLSTMState(c, n), y
        return MLSTMState(c, n, m), y

    def gates(
        params: MLSTMParams, state: MLSTMState | SigmoidMLSTMState, x_proj: Array, h_proj: None
    ) -> MLSTMGates:
        del h_proj
        return read_input(params, state, x_proj).gates

    return step_cell(
        init,
        initial_state,
        step,
        hidden_size,
        gates=gates,
        output=False,
        state_map="affine" if input_gate == "sigmoid" else None,
    )


def _normalizer(n: Array, q: Array, m: Array) -> Array:
    """Give 1 / (max(|n·q|, e^-m) + ε), [*B, heads], without an e^-m that overflows."""
    dot = jnp.einsum("...k,...k->...", n, q)
    scale = jnp.exp(jnp.minimum(m, 0.0))
    floor = jnp.exp(-jnp.maximum(m, 0.0))
    return scale / (jnp.maximum(scale * jnp.abs(dot), floor) + scale * _EPSILON)
