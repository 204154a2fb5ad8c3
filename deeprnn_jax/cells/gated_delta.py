"""Gated DeltaNet: a matrix memory that forgets, and corrects what it holds under a key."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

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
from deeprnn_jax.cells.units import zeros_state
from deeprnn_jax.checks import Flag, Initializer, Size
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported


@exported
class GatedDeltaParams(NamedTuple):
    """Weights of `gated_delta`; in the order q, k, v, b, a, the last two one a head."""

    w_x: Array  # [I, 2*heads*K + H + 2*heads], or one heads less without decay
    decay: Decay | None
    gain: Array | None  # [H], of the output's normalisation


@exported
class GatedDeltaState(NamedTuple):
    """State of `gated_delta`."""

    s: Array  # [*B, heads, K, V]


@exported
class GatedDeltaGates(NamedTuple):
    """Activations of the gates of `gated_delta`, each `[*B, heads]`."""

    b: Array
    a: Array | None  # None without decay


class _Inputs(NamedTuple):
    """What a step makes of its input."""

    q: Array  # [*B, heads, K]
    k: Array  # [*B, heads, K]
    v: Array  # [*B, heads, V]
    gates: GatedDeltaGates


@factory
def gated_delta(
    hidden_size: Size,
    num_heads: Size = 1,
    *,
    key_size: Size | None = None,
    decay: Flag = True,
    negative_eigenvalues: Flag = False,
    output_norm: OutputNorm = None,
    w_x_init: Initializer = initializers.glorot_uniform(),
) -> Cell:
    """Make a Gated DeltaNet cell.

    Each head has a matrix S `[K, V]`, which forgets by a, and then replaces what it gives
    for the key k_t by v_t, as far as b says:

        q_t, k_t = l2(silu(W_q x_t)), l2(silu(W_k x_t))
        v_t = silu(W_v x_t)
        b_t = σ(w_b · x_t)                             2 σ with `negative_eigenvalues`
        a_t = exp(-exp(a_log) softplus(w_a · x_t + dt_bias))
        S̃_t = a_t S_{t-1}
        S_t = S̃_t + b_t k_t (v_t - S̃_tᵀ k_t)ᵀ
        y_t = norm(S_tᵀ q_t / √K)

    S_{t-1} is multiplied by a (I - b k kᵀ), whose eigenvalues are a, and a (1 - b) along k.
    With b in (0, 2) that one can be negative, which counting modulo 2 needs. `decay=False`:
    a = 1, which is DeltaNet.

    Args:
      hidden_size: H, the width of the output: that of all heads' values, heads·V.
      num_heads: how many heads there are; divides H.
      key_size: K, of a head's keys and queries; None: V.
      decay: whether there is an a.
      negative_eigenvalues: whether b is in (0, 2) in place of (0, 1).
      output_norm: how each head's output is normalised: "rms", "layer", or None, not at all.
      w_x_init: initialiser of each of W_q, W_k, W_v, w_b and w_a, `[I, width]`.

    Returns:
      The cell; state `GatedDeltaState(s)`, output y `[*B, H]`, which is no field of it.

    Raises:
      ValueError: if a size is not a positive int, the heads do not divide H, or an option is
        none of those named.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.gated_delta(8, num_heads=2, key_size=3, negative_eigenvalues=True)
      >>> cell.initial_state(cell.init(jax.random.key(0), 5), (7,)).s.shape
      (7, 2, 3, 4)

    References:
      Yang, Kautz and Hatamizadeh 2024, "Gated delta networks: Improving Mamba2 with delta
      rule", eq. 10; DeltaNet: Yang et al. 2024, "Parallelizing linear transformers with the
      delta rule"; negative eigenvalues: Grazzi et al. 2024, "Unlocking state-tracking in
      linear RNNs through negative eigenvalues". As published, around it belong a short
      convolution of q, k and v (here of x, by a layer before), the norm "rms", a gate.
    """
    value_size = head_size("gated_delta", hidden_size, num_heads)
    size = value_size if key_size is None else key_size
    widths = (num_heads * size, num_heads * size, hidden_size) + (num_heads,) * (1 + decay)

    def init(key: Array, input_size: int) -> GatedDeltaParams:
        k_x, k_a = jax.random.split(key)
        return GatedDeltaParams(
            w_x=draw_widths(w_x_init, k_x, input_size, widths),
            decay=init_decay(k_a, num_heads) if decay else None,
            gain=None if output_norm is None else jnp.ones(hidden_size, jnp.float32),
        )

    def initial_state(params: GatedDeltaParams, batch_shape: tuple[int, ...]) -> GatedDeltaState:
        return GatedDeltaState(s=zeros_state(params, (*batch_shape, num_heads, size), value_size))

    def read_input(params: GatedDeltaParams, x: Array) -> _Inputs:
        q, k, v, z_b, *z_a = split_widths(x @ params.w_x, widths)
        q, k, v = (split_heads(jax.nn.silu(one), num_heads) for one in (q, k, v))
        b = jax.nn.sigmoid(z_b) * (2 if negative_eigenvalues else 1)
        a = None if params.decay is None else decay_of(params.decay, z_a[0])
        return _Inputs(_unit(q), _unit(k), v, GatedDeltaGates(b, a))

    def step(
        params: GatedDeltaParams, state: GatedDeltaState, x: Array
    ) -> tuple[GatedDeltaState, Array]:
        q, k, v, (b, a) = read_input(params, x)
        s = state.s if a is None else a[..., None, None] * state.s
        s = s + outer(k, b[..., None] * (v - read(s, k)))
        y = normalize_heads(output_norm, params.gain, read(s, q / size**0.5))
        return GatedDeltaState(s), y

    def gates(
        params: GatedDeltaParams, state: GatedDeltaState, x_proj: Array, h_proj: None
    ) -> GatedDeltaGates:
        del state, h_proj
        return read_input(params, x_proj).gates

    return step_cell(init, initial_state, step, hidden_size, gates=gates, output=False)


def _unit(z: Array) -> Array:
    """Give z [..., K] with length 1; one that is near 0 stays so."""
    return z * lax.rsqrt(jnp.sum(jnp.square(z), axis=-1, keepdims=True) + 1e-6)
