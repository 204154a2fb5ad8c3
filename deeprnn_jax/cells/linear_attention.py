"""Linear attention: a matrix memory that keys and values are added to."""

from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import initializers
from deeprnn_jax.cells.heads import (
    Decay,
    OutputNorm,
    decay_of,
    draw_widths,
    head_size,
    init_decay,
    normalize_heads,
    outer,
    read,
    split_heads,
    split_widths,
)
from deeprnn_jax.cells.units import add_bias, zeros_state
from deeprnn_jax.checks import Flag, Initializer, Size, one_of
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported

DecayOf = Annotated[Literal["head", "key"] | None, one_of(None, "head", "key")]
_TEMPERATURE = 16  # GLA's: a gate's logarithm is divided by it
_EPSILON = 1e-6  # the least that is divided by


@exported
class LinearAttentionParams(NamedTuple):
    """Weights of `linear_attention`; in the order q, k, v, a."""

    w_x: Array  # [I, 2*heads*K + H], and heads or heads*K more with a decay
    decay: Decay | Array | None  # of a head; of a key: b_a [heads*K]
    gain: Array | None  # [H], of the output's normalisation


@exported
class LinearAttentionState(NamedTuple):
    """State of `linear_attention`."""

    s: Array  # [*B, heads, K, V]


@exported
class NormalizedState(NamedTuple):
    """State of `linear_attention` with a normaliser."""

    s: Array  # [*B, heads, K, V]
    z: Array  # [*B, heads, K], the sum of the keys


@exported
class LinearAttentionGates(NamedTuple):
    """The decay of `linear_attention`."""

    a: Array  # [*B, heads, 1], or [*B, heads, K]


class _Inputs(NamedTuple):
    """What a step makes of its input."""

    q: Array  # [*B, heads, K]
    k: Array  # [*B, heads, K]
    v: Array  # [*B, heads, V]
    a: Array | None  # [*B, heads, 1 or K]


@factory
def linear_attention(
    hidden_size: Size,
    num_heads: Size = 1,
    *,
    key_size: Size | None = None,
    decay: DecayOf = None,
    normalizer: Flag = True,
    output_norm: OutputNorm = None,
    w_x_init: Initializer = initializers.glorot_uniform(),
) -> Cell:
    """Make a linear attention cell.

    Each head has a matrix S `[K, V]`:

        q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t
        S_t = a_t ⊙ S_{t-1} + k_t v_tᵀ
        y_t = norm(S_tᵀ q_t / √K)

        with `normalizer`, φ(u) = elu(u) + 1:
        S_t = a_t ⊙ S_{t-1} + φ(k_t) v_tᵀ
        z_t = a_t ⊙ z_{t-1} + φ(k_t)
        y_t = norm(S_tᵀ φ(q_t) / (z_t · φ(q_t)))

    The decay a_t is 1 (None), one number a head, or one a key's unit, for each row of S:

        "head":  a_t = exp(-exp(a_log) softplus(w_a · x_t + dt_bias))
        "key":   a_t = σ(W_a x_t + b_a)^(1/16)

    Args:
      hidden_size: H, the width of the output: that of all heads' values, heads·V.
      num_heads: how many heads there are; divides H.
      key_size: K, of a head's keys and queries; None: V.
      decay: None, "head" or "key".
      normalizer: whether y is a mean of values with positive weights, in place of a sum.
      output_norm: how each head's output is normalised: "rms", "layer", or None, not at all.
      w_x_init: initialiser of each of W_q, W_k, W_v and W_a, `[I, width]`.

    Returns:
      The cell; state `NormalizedState(s, z)`, or `LinearAttentionState(s)` without a
      normaliser; output y `[*B, H]`, which is no field of it.

    Raises:
      ValueError: if a size is not a positive int, the heads do not divide H, or an option is
        none of those named.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.linear_attention(8, num_heads=2, decay="key", normalizer=False)
      >>> cell.initial_state(cell.init(jax.random.key(0), 5), (7,)).s.shape
      (7, 2, 4, 4)

    References:
      Katharopoulos et al. 2020, "Transformers are RNNs", eq. 16-20 (None, with normaliser);
      without a normaliser: "head" has the decay of Dao and Gu 2024, "Transformers are SSMs"
      (Mamba2), and with w_a = 0 a constant one, as Sun et al. 2023 (RetNet, whose rotation is
      not here); "key" is Yang et al. 2023, "Gated linear attention transformers" (GLA), with
      W_a a whole matrix in place of one of rank 16.
    """
    value_size = head_size("linear_attention", hidden_size, num_heads)
    size = value_size if key_size is None else key_size
    more = {None: (), "head": (num_heads,), "key": (num_heads * size,)}[decay]
    widths = (num_heads * size, num_heads * size, hidden_size, *more)

    def init(key: Array, input_size: int) -> LinearAttentionParams:
        k_x, k_a = jax.random.split(key)
        own: Decay | Array | None = None
        if decay is not None:
            own = init_decay(k_a, num_heads) if decay == "head" else jnp.zeros(more, jnp.float32)
        return LinearAttentionParams(
            w_x=draw_widths(w_x_init, k_x, input_size, widths),
            decay=own,
            gain=None if output_norm is None else jnp.ones(hidden_size, jnp.float32),
        )

    def initial_state(
        params: LinearAttentionParams, batch_shape: tuple[int, ...]
    ) -> LinearAttentionState | NormalizedState:
        s = zeros_state(params, (*batch_shape, num_heads, size), value_size)
        if not normalizer:
            return LinearAttentionState(s)
        return NormalizedState(s, z=zeros_state(params, (*batch_shape, num_heads), size))

    def read_input(params: LinearAttentionParams, x: Array) -> _Inputs:
        q, k, v, *z_a = split_widths(x @ params.w_x, widths)
        if normalizer:
            q, k = _positive(q), _positive(k)
        else:
            q = q / size**0.5
        a = None
        if isinstance(params.decay, Decay):
            a = decay_of(params.decay, z_a[0])
        elif params.decay is not None:
            a = jnp.exp(jax.nn.log_sigmoid(add_bias(z_a[0], params.decay)) / _TEMPERATURE)
        q, k, v = (split_heads(one, num_heads) for one in (q, k, v))
        return _Inputs(q, k, v, None if a is None else split_heads(a, num_heads))

    def step(
        params: LinearAttentionParams, state: LinearAttentionState | NormalizedState, x: Array
    ) -> tuple[LinearAttentionState | NormalizedState, Array]:
        q, k, v, a = read_input(params, x)
        s = outer(k, v) + (state.s if a is None else a[..., None] * state.s)
        y = read(s, q)
        after = LinearAttentionState(s)
        if isinstance(state, NormalizedState):
            z = k + (state.z if a is None else a * state.z)
            sum_of_weights = jnp.einsum("...k,...k->...", z, q)
            y = y / jnp.maximum(sum_of_weights, _EPSILON)[..., None]
            after = NormalizedState(s, z)
        return after, normalize_heads(output_norm, params.gain, y)

    def gates(
        params: LinearAttentionParams, state: NormalizedState, x_proj: Array, h_proj: None
    ) -> LinearAttentionGates:
        del state, h_proj
        a = read_input(params, x_proj).a
        assert a is not None
        return LinearAttentionGates(a)

    return step_cell(
        init,
        initial_state,
        step,
        hidden_size,
        gates=gates if decay else None,
        output=False,
        state_map="affine",
    )


def _positive(u: Array) -> Array:
    """Give elu(u) + 1, which is exp(u) below 0 and there does not round to 0."""
    return jnp.where(u > 0, u + 1, jnp.exp(jnp.where(u > 0, 0.0, u)))
