"""The S5 cell: a diagonal state-space model in continuous time, held over each step."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.cells.diagonal import (
    Pair,
    advance,
    draw_feedthrough,
    draw_open,
    feed_through,
    multiply,
    read_out,
    scale_pairs,
)
from deeprnn_jax.cells.units import zeros_state
from deeprnn_jax.checks import Flag, Size, check_size, is_number
from deeprnn_jax.factories import factory, step_cell
from deeprnn_jax.types import Array, Cell, exported

_LARGEST_REAL = -1e-4  # of Λ, where it is clipped


@exported
class S5Params(NamedTuple):
    """Weights of `s5`; of each two conjugate numbers of the state, one: N = P/2."""

    lambda_re: Array  # [N]
    lambda_im: Array  # [N]
    log_step: Array  # [N], log Δ
    w_x: Array  # [I, 2*N], Re B and Im B side by side
    w_y: Array  # [2*N, H], Re C above Im C
    d: Array  # [H] where I = H, else [I, H]


@exported
class S5State(NamedTuple):
    """State of `s5`: complex numbers as two real arrays."""

    re: Array  # [*B, N]
    im: Array  # [*B, N]


@factory
def s5(
    hidden_size: Size,
    *,
    state_size: int | None = None,
    blocks: Size = 1,
    dt_min: float = 0.001,
    dt_max: float = 0.1,
    clip: Flag = True,
) -> Cell:
    """Make an S5 cell: dh/dt = Λ ⊙ h + B x, with x held over each step of length Δ.

        h_t = exp(ΛΔ) ⊙ h_{t-1} + (exp(ΛΔ) - 1) / Λ ⊙ (B x_t)
        y_t = 2 Re(C h_t) + D x_t

    h, Λ, B and C are complex, in real arrays. Of a real system with P numbers, whose
    eigenvalues come in conjugate pairs, one of each pair is kept: N = P/2. D is one number a
    unit where x has H features, as published; where it has not, a matrix.

    At the start Λ is that of `blocks` copies of the normal part of HiPPO-LegS, which
    remembers polynomials of the past; B and C are drawn real and turned into its
    eigenvectors' coordinates; each Δ is log-uniform in [dt_min, dt_max]: about a hundredth
    to one over the steps to be remembered. lambda_re, lambda_im and log_step get a smaller
    learning rate and no weight decay (published: w_x too): by these names, as the example of
    `lru` does.

    Args:
      hidden_size: H, the width of the output.
      state_size: P, how many numbers the real system has; None: H.
      blocks: how many equal blocks P is made of.
      dt_min: the smallest Δ at the start.
      dt_max: the largest.
      clip: whether Re Λ is taken as -1e-4 where it is above, so that |exp(ΛΔ)| < 1 always.

    Returns:
      The cell; state `S5State(re, im)`, each `[*B, P/2]`; output y `[*B, H]`.

    Raises:
      ValueError: if a size is not a positive int, P is no multiple of 2·blocks, or the steps
        are not in order above 0.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> drnn.s5(8, state_size=32, blocks=2).init(jax.random.key(0), 3).lambda_im.shape
      (16,)

    References:
      Smith et al. 2023, "Simplified state space layers for sequence modeling", eq. 6 and
      appendix B. Deviations: B is drawn with variance 1/I, theirs with 1/P; Re Λ is clipped
      unless asked otherwise; D may be a matrix; eigenvectors have a real first coordinate,
      so that a key gives the same parameters on every machine.
    """
    size = hidden_size if state_size is None else state_size
    check_size("s5", "state_size", size)
    if size % (2 * blocks):
        raise ValueError(
            f"s5: state_size must be a multiple of 2 * blocks = {2 * blocks}, got {size}; it is "
            "hidden_size unless given"
        )
    if not (is_number(dt_min) and is_number(dt_max) and 0 < dt_min <= dt_max):
        raise ValueError(
            f"s5: dt_min and dt_max must be numbers with 0 < dt_min <= dt_max, got {dt_min!r} and "
            f"{dt_max!r}; for example 0.001 and 0.1"
        )

    def init(key: Array, input_size: int) -> S5Params:
        k_step, k_x, k_y, k_d = jax.random.split(key, 4)
        draw = jax.nn.initializers.lecun_normal()
        imaginary, vectors = _hippo(size // blocks)
        v = Pair(*(jnp.asarray(np.kron(np.eye(blocks), one), jnp.float32) for one in vectors))
        b = draw(k_x, (input_size, size), jnp.float32)
        c_re, c_im = (draw(k, (size, hidden_size), jnp.float32) for k in jax.random.split(k_y))
        c = Pair(v.re.T @ c_re - v.im.T @ c_im, v.re.T @ c_im + v.im.T @ c_re)  # C V
        low, high = math.log(dt_min), math.log(dt_max)
        return S5Params(
            lambda_re=jnp.full(size // 2, -0.5, jnp.float32),
            lambda_im=jnp.asarray(np.tile(imaginary, blocks), jnp.float32),
            log_step=low + (high - low) * draw_open(k_step, size // 2),
            w_x=jnp.concatenate([b @ v.re, -b @ v.im], axis=-1),  # V* B
            w_y=jnp.concatenate(c),
            d=draw_feedthrough(k_d, input_size, hidden_size),
        )

    def initial_state(params: S5Params, batch_shape: tuple[int, ...]) -> S5State:
        re, im = (zeros_state(params, batch_shape, size // 2) for _ in range(2))
        return S5State(re, im)

    def step(params: S5Params, state: S5State, x: Array) -> tuple[S5State, Array]:
        eigenvalue, gain = _hold(params, clip)
        b = scale_pairs(gain, Pair(*jnp.split(params.w_x, 2, axis=-1)))
        h = advance(eigenvalue, Pair(*state), x @ jnp.concatenate(b, axis=-1))
        return S5State(*h), 2 * read_out(h, params.w_y) + feed_through(params.d, x)

    return step_cell(init, initial_state, step, hidden_size, output=False, state_map="affine")


def _hippo(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Decompose HiPPO-LegS's normal part, -1/2 + S with S = -Sᵀ, into its eigenvectors.

    Returns:
      Of each pair of conjugate eigenvalues the imaginary part below 0, `[size/2]`, and the
      eigenvector's real and imaginary parts, `[2, size, size/2]`.
    """
    scale = np.sqrt(2 * np.arange(size) + 1.0)
    lower = np.tril(np.outer(scale, scale), -1)
    values, vectors = np.linalg.eigh(0.5j * (lower - lower.T))
    vectors = vectors * np.exp(-1j * np.angle(vectors[0]))
    vectors = vectors[:, : size // 2]
    return values[: size // 2], np.stack([vectors.real, vectors.imag])


def _hold(params: S5Params, clip: bool) -> tuple[Pair, Pair]:
    """Give exp(ΛΔ) and (exp(ΛΔ) - 1) / Λ, what one step and its input come to, each [N]."""
    delta = jnp.exp(params.log_step)
    real = jnp.minimum(params.lambda_re, _LARGEST_REAL) if clip else params.lambda_re
    z = Pair(real * delta, params.lambda_im * delta)
    mean = _mean_exponential(z)
    grown = jnp.exp(z.re)
    eigenvalue = Pair(grown * jnp.cos(z.im), grown * jnp.sin(z.im))
    return eigenvalue, Pair(delta * mean.re, delta * mean.im)


def _mean_exponential(z: Pair) -> Pair:
    """Give (e^z - 1) / z, and 1 at z = 0; with a derivative that does not cancel."""
    square = z.re**2 + z.im**2
    is_small = square < 0.02**2
    grown = jnp.expm1(z.re)
    less_one = Pair(  # e^z - 1, without cancellation in its real part
        grown * jnp.cos(z.im) - 2 * jnp.sin(z.im / 2) ** 2,
        (grown + 1) * jnp.sin(z.im),
    )
    # no 0 / 0 in the branch that is not taken: its gradient would be NaN
    over = jnp.where(is_small, 1.0, square)
    far = multiply(less_one, Pair(z.re / over, -z.im / over))
    near = Pair(jnp.ones_like(z.re), jnp.zeros_like(z.im))
    for k in range(8, 1, -1):  # 1 + z/2 (1 + z/3 (1 + ...)): z^8 / 9! is below 1e-19
        term = multiply(near, Pair(z.re / k, z.im / k))
        near = Pair(1 + term.re, term.im)
    return Pair(*(jnp.where(is_small, n, f) for n, f in zip(near, far, strict=True)))
