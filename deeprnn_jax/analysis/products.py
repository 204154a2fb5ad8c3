"""Singular values of a product of thousands of Jacobians, the small ones too."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deeprnn_jax.analysis.vectors import drive, identity, push
from deeprnn_jax.checks import is_int
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.sequences import where_flag
from deeprnn_jax.types import Array

_MAX_SWEEPS = 30  # some eight are needed


class _Product(NamedTuple):
    """A product Q exp(D) R, whatever its singular values span."""

    q: Array  # [*B, N, N], orthonormal
    logs: Array  # [*B, N], of D, the largest first, or nearly so
    rows: Array  # [*B, N, N], R, the largest entry of a row 1


def singular_values(
    rnn: DeepRNN,
    params: DeepParams,
    x: Array,
    state: DeepState | None = None,
    *,
    every: int = 1,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
) -> Array:
    """Give the singular values of ∂s_t / ∂s_0 along a sequence, as logarithms.

        log σ_k(J_t J_{t-1} ... J_1)

    J_t is the Jacobian of step t, of all layers' states as one vector. The product is held as
    Q D R, D a diagonal of logarithms, R of rows of unit size, which a QR decomposition with
    sorted columns carries on from step to step; then one-sided Jacobi rotations, which work on
    logarithms too. So nothing overflows, and each singular value, the smallest too, is exact to
    rounding times R's condition, which in practice stays of order N, not to rounding of the
    largest.

    Args:
      rnn: a network of one direction.
      params: its parameters.
      x: `[T, *B, I]`, as `rnn.apply` takes it, as all that follow.
      state: the state before the first step, s_0.
      every: how many steps from one result to the next; a rest of T is left out.
      lengths: int `[*B]`.
      mask: bool `[T, *B]`.
      resets: bool `[T, *B]`; the product begins anew there.

    Returns:
      `[T // every, *B, N]`, the largest first, natural logarithms; -inf for zero.

    Raises:
      ValueError: if an argument does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(4), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> drnn.analysis.singular_values(rnn, params, jnp.ones((20, 5, 3)), every=10).shape
      (2, 5, 8)

    References:
      Bai et al. 2011, "Stable solutions of linear systems involving long chain of matrix
      multiplications"; Demmel and Veselić 1992, "Jacobi's method is more accurate than QR".
    """
    driven = drive("singular_values", rnn, params, x, state, lengths, mask, resets)
    num_steps = driven.real.shape[0]
    if not is_int(every) or every > num_steps:
        raise ValueError(
            f"singular_values: every must be an int from 1 to T={num_steps}, got {every!r}"
        )
    eye = identity(driven.start)
    first = _Product(eye, jnp.zeros_like(driven.start), eye)

    def step(carry: tuple[Array, _Product], inputs: Any) -> tuple[tuple[Array, _Product], None]:
        vector, product = carry
        product = where_flag(inputs[-1], first, product)
        vector, pushed = push(lambda s: driven.step(s, inputs), vector, product.q)
        return (vector, _multiply(pushed, product)), None

    def stretch(carry: tuple[Array, _Product], inputs: Any) -> tuple[Any, Array]:
        carry, _ = lax.scan(step, carry, inputs)
        return carry, _log_singular_values(carry[1].logs, carry[1].rows)

    count = num_steps // every
    inputs = jax.tree.map(
        lambda leaf: leaf[: count * every].reshape(count, every, *leaf.shape[1:]), driven.inputs
    )
    return lax.scan(stretch, (driven.start, first), inputs)[1]


def _multiply(pushed: Array, product: _Product) -> _Product:
    """Give J Q D R in the form of a product, from J Q."""
    sizes = jnp.log(jnp.linalg.norm(pushed, axis=-2)) + product.logs
    order = jnp.argsort(-sizes, axis=-1)
    logs = jnp.take_along_axis(product.logs, order, axis=-1)
    rows = jnp.take_along_axis(product.rows, order[..., None], axis=-2)
    q, r = jnp.linalg.qr(jnp.take_along_axis(pushed, order[..., None, :], axis=-1))
    # R D, each row over its largest entry: the rows before outweigh those that follow
    exponents = jnp.log(jnp.abs(r)) + logs[..., None, :]
    largest = jnp.max(exponents, axis=-1)
    finite = jnp.where(jnp.isfinite(largest), largest, jnp.zeros_like(largest))
    scaled = jnp.sign(r) * jnp.exp(exponents - finite[..., None])
    rows = scaled @ rows
    norms = jnp.max(jnp.abs(rows), axis=-1)
    safe = jnp.where(norms > 0, norms, jnp.ones_like(norms))
    return _Product(q, largest + jnp.log(norms), rows / safe[..., None])


def _log_singular_values(logs: Array, rows: Array) -> Array:
    """Give the logarithms of the singular values of exp(logs) [N] times rows [N, N], sorted."""
    *axes, size = logs.shape
    even = size + size % 2
    logs = jnp.pad(logs.reshape(-1, size), ((0, 0), (0, even - size)), constant_values=-jnp.inf)
    rows = jnp.pad(rows.reshape(-1, size, size), ((0, 0), (0, even - size), (0, 0)))
    found = jax.vmap(_rotate_rows)(logs, rows)[:, :size]
    return found.reshape(*axes, size)


def _rotate_rows(logs: Array, rows: Array) -> Array:
    """Turn pairs of rows until all are orthogonal: then their lengths are the singular values."""
    pairs = jnp.asarray(_rounds(len(logs)))
    enough = jnp.finfo(rows.dtype).eps * len(logs)

    def turn(carry: tuple[Array, Array, Array], pair: Array) -> tuple[Any, None]:
        logs, rows, worst = carry
        a, b = pair[0], pair[1]
        is_sorted = logs[a] >= logs[b]
        a, b = jnp.where(is_sorted, a, b), jnp.where(is_sorted, b, a)
        turned_logs, turned_rows, cosine = _turn(logs[a], rows[a], logs[b], rows[b])
        places = jnp.concatenate([a, b])
        logs, rows = logs.at[places].set(turned_logs), rows.at[places].set(turned_rows)
        return (logs, rows, jnp.maximum(worst, jnp.max(jnp.abs(cosine)))), None

    def sweep(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        logs, rows, _, count = carry
        start = logs, rows, jnp.zeros((), rows.dtype)
        return *lax.scan(turn, start, pairs)[0], count + 1

    def is_wanting(carry: tuple[Array, Array, Array, Array]) -> Array:
        return (carry[2] > enough) & (carry[3] < _MAX_SWEEPS)

    start = *_unit_rows(logs, rows), jnp.ones((), rows.dtype), jnp.zeros((), int)
    logs, *_ = lax.while_loop(is_wanting, sweep, start)
    return -jnp.sort(-logs)


def _turn(log_a: Array, a: Array, log_b: Array, b: Array) -> tuple[Array, Array, Array]:
    """Make rows exp(log_a) a and exp(log_b) b orthogonal, the first the longer; a, b of length 1.

    With ρ = exp(log_b - log_a) and ζ = a·b the tangent of the angle is ρ u, and what the long row
    loses to the short one is of order ρ², while u stays a number whatever ρ is.
    """
    gap = jnp.where(jnp.isfinite(log_b), log_b - log_a, jnp.full_like(log_b, -jnp.inf))
    ratio, cosine = jnp.exp(gap), jnp.sum(a * b, axis=-1)
    cosine = jnp.where(jnp.isfinite(log_b), cosine, jnp.zeros_like(cosine))
    apart = -jnp.expm1(2 * gap)
    below = apart + jnp.sqrt(apart * apart + 4 * jnp.square(cosine * ratio))
    u = -2 * cosine / jnp.where(below > 0, below, jnp.ones_like(below))
    c = lax.rsqrt(1 + jnp.square(u * ratio))
    long = c[:, None] * (a - (u * ratio * ratio)[:, None] * b)
    short = c[:, None] * (u[:, None] * a + b)
    logs, rows = jnp.concatenate([log_a, log_b]), jnp.concatenate([long, short])
    return *_unit_rows(logs, rows), cosine


def _unit_rows(logs: Array, rows: Array) -> tuple[Array, Array]:
    norms = jnp.linalg.norm(rows, axis=-1)
    safe = jnp.where(norms > 0, norms, jnp.ones_like(norms))
    return logs + jnp.log(norms), rows / safe[:, None]


def _rounds(size: int) -> np.ndarray:
    """Pair an even number of players so that each meets each: `[size - 1, 2, size / 2]`."""
    ring = np.arange(1, size)
    found = []
    for shift in range(size - 1):
        line = np.concatenate([[0], np.roll(ring, shift)])
        found.append([line[: size // 2], line[: size // 2 - 1 : -1]])
    return np.array(found)
