"""Lyapunov exponents: how fast nearby trajectories part, in each direction."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deeprnn_jax.analysis.gradients import at_last_step
from deeprnn_jax.analysis.vectors import StepFn, drive, push, step_of, to_vector
from deeprnn_jax.checks import check_callable, check_floating, check_size, is_int
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.types import Array


class Spectrum(NamedTuple):
    """Lyapunov exponents, the largest first, in nats a step."""

    exponents: Array  # [*B, K]
    errors: Array  # [*B, K], their standard errors, over blocks of time; NaN with one block


def lyapunov_spectrum(
    rnn: DeepRNN,
    params: DeepParams,
    x: Array,
    state: DeepState | None = None,
    *,
    num_exponents: int | None = None,
    transient: int = 0,
    every: int = 1,
    num_blocks: int = 16,
    free_steps: int | None = None,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
) -> Spectrum:
    """Give a network's Lyapunov spectrum, driven by x or running on its own output.

        V_t = J_t Q_{t-1} = Q_t R_t        λ_k = mean of log |R_t[k, k]|

    J_t is the Jacobian of step t, of all layers' states as one vector; it is not made: K tangent
    vectors are pushed through the step, and made orthonormal again every so many steps. All K = N
    of them sum to the mean of log |det J_t|. Memory does not grow with T but for K numbers a step.

    Args:
      rnn: a network of one direction.
      params: its parameters.
      x: `[T, *B, I]`.
      state: the state before the first step.
      num_exponents: K, at most N; None: N.
      transient: steps at the start that do not count, in which the vectors find their directions.
      every: steps from one QR decomposition to the next; over them the largest exponent may
        outgrow the smallest by 10⁷ in float32, by 10¹⁵ in float64, or the small ones are lost.
      num_blocks: how many stretches of time the standard errors are taken over.
      free_steps: None: the exponents along x. A number: x is read first, then the network runs on
        for so many steps, y_t its next input, and these are the exponents of that. Its state then
        is (s, y), of N + I numbers; K is N still, unless more are asked for.
      lengths: int `[*B]`.
      mask: bool `[T, *B]`; masked steps do not count.
      resets: bool `[T, *B]`; the state jumps, the tangent vectors go on as they are.

    Returns:
      `Spectrum(exponents [*B, K], errors [*B, K])`, a row each; average rows of one process.

    Raises:
      ValueError: if an argument does not fit, or y is not as wide as x with `free_steps`.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> x = jax.random.normal(jax.random.key(1), (200, 5, 3))
      >>> drnn.analysis.lyapunov_spectrum(rnn, params, x, num_exponents=4).exponents.shape
      (5, 4)

    References:
      Benettin et al. 1980, "Lyapunov characteristic exponents for smooth dynamical systems";
      Vogt et al. 2022, "On Lyapunov exponents for RNNs", algorithm 1.
    """
    name = "lyapunov_spectrum"
    driven = drive(name, rnn, params, x, state, lengths, mask, resets)
    size = driven.start.shape[-1]
    num_exponents = size if num_exponents is None else num_exponents
    options = num_exponents, transient, every, num_blocks
    if free_steps is None:
        return _spectrum(name, driven.step, driven.start, driven.inputs, driven.real, *options)
    check_size(name, "free_steps", free_steps)
    end, y = rnn.apply(params, x, state, lengths=lengths, mask=mask, resets=resets)
    last = at_last_step(y, driven.real)
    if last.shape != x.shape[1:]:
        raise ValueError(
            f"{name}: with free_steps y must be as wide as x, I={x.shape[-1]}, for it is the next "
            f"input, got {last.shape[-1]}; make the network with output_size={x.shape[-1]}"
        )
    advance = step_of(rnn, params)

    def step(vector: Array, _: None) -> Array:
        x_t = vector[..., size:].reshape(last.shape).astype(x.dtype)
        after, y_t = advance(vector[..., :size], x_t)
        return jnp.concatenate([after, _flat(y_t, after)], axis=-1)

    vector = to_vector(rnn, params, end)
    start = jnp.concatenate([vector, _flat(last, vector)], axis=-1)
    real = jnp.ones((free_steps, *start.shape[:-1]), bool)
    return _spectrum(name, step, start, None, real, *options)


def lyapunov_spectrum_of(
    step: StepFn,
    start: Array,
    inputs: Any,
    *,
    num_steps: int | None = None,
    num_exponents: int | None = None,
    transient: int = 0,
    every: int = 1,
    num_blocks: int = 16,
) -> Spectrum:
    """Give the Lyapunov spectrum of any map: see `lyapunov_spectrum`.

    Args:
      step: `(s [*B, N], input of a step) -> s [*B, N]`, rows apart from each other.
      start: s before the first step.
      inputs: a tree of arrays `[T, ...]`, or None for a map that reads nothing.
      num_steps: T, with None for inputs.
      num_exponents: as in `lyapunov_spectrum`, as all that follow.
      transient: likewise.
      every: likewise.
      num_blocks: likewise.

    Returns:
      `Spectrum(exponents [*B, K], errors [*B, K])`, a step; of a flow, divide by the step's time.

    Raises:
      ValueError: if an argument does not fit.

    Example:
      >>> import jax.numpy as jnp, deeprnn_jax as drnn
      >>> def logistic(s, _):
      ...     return 4 * s * (1 - s)
      >>> start = jnp.array([0.3])
      >>> found = drnn.analysis.lyapunov_spectrum_of(logistic, start, None, num_steps=5000)
      >>> bool(abs(found.exponents[0] - jnp.log(2)) < 0.01)
      True
    """
    name = "lyapunov_spectrum_of"
    check_callable(name, "step", step, "lambda s, x_t: jnp.tanh(s @ w + x_t)")
    check_floating(name, "start", start)
    leaves = jax.tree.leaves(inputs)
    if (num_steps is None) != bool(leaves):
        raise ValueError(
            f"{name}: num_steps must be given with inputs=None, and only then, got {num_steps!r}"
        )
    num_steps = leaves[0].shape[0] if num_steps is None else num_steps
    check_size(name, "num_steps", num_steps)
    num_exponents = start.shape[-1] if num_exponents is None else num_exponents
    real = jnp.ones((num_steps, *start.shape[:-1]), bool)
    return _spectrum(name, step, start, inputs, real, num_exponents, transient, every, num_blocks)


def _flat(y: Array, like: Array) -> Array:
    return y.reshape(*like.shape[:-1], -1).astype(like.dtype)


def _spectrum(
    function: str,
    step: StepFn,
    start: Array,
    inputs: Any,
    real: Array,
    num_exponents: int,
    transient: int,
    every: int,
    num_blocks: int,
) -> Spectrum:
    """Push tangent vectors along a trajectory; see `lyapunov_spectrum`."""
    num_steps, size = real.shape[0], start.shape[-1]
    _check(function, num_steps, size, num_exponents, transient, every, num_blocks)
    # decompositions: at the last step and every so many before it, and where the transient ends
    time = np.arange(num_steps)
    is_due = ((num_steps - 1 - time) % every == 0) | (time == transient - 1)
    drawn = jax.random.normal(jax.random.key(0), (size, num_exponents), start.dtype)
    q = jnp.broadcast_to(jnp.linalg.qr(drawn)[0], (*start.shape[:-1], size, num_exponents))

    def decompose(v: Array) -> tuple[Array, Array]:
        q, r = jnp.linalg.qr(v)
        return q, jnp.log(jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1)))

    def wait(v: Array) -> tuple[Array, Array]:
        return v, jnp.zeros((*v.shape[:-2], num_exponents), v.dtype)

    def advance(carry: tuple[Array, Array], xs: Any) -> tuple[tuple[Array, Array], Array]:
        inputs, is_due = xs
        vector, v = push(lambda s: step(s, inputs), *carry)
        v, logs = lax.cond(is_due, decompose, wait, v)
        return (vector, v), logs

    _, logs = lax.scan(advance, (start, q), (inputs, jnp.asarray(is_due)))
    counted = num_steps - transient
    blocks = max(1, min(num_blocks, counted // every))
    # A step belongs to the block of the decomposition after it, in which its growth is seen.
    seen = time[is_due][np.searchsorted(time[is_due], time[transient:])] - transient
    return _averaged(logs[transient:], real[transient:], seen * blocks // counted, blocks)


def _averaged(logs: Array, real: Array, block: np.ndarray, num_blocks: int) -> Spectrum:
    """Average logs `[T, *B, K]` over real steps; errors by blocks of unequal numbers of them."""
    sums = jnp.zeros((num_blocks, *logs.shape[1:]), logs.dtype).at[block].add(logs)
    counts = jnp.zeros((num_blocks, *real.shape[1:]), logs.dtype)
    counts = counts.at[block].add(real.astype(logs.dtype))[..., None]
    total = jnp.sum(counts, 0)
    mean = jnp.sum(sums, 0) / total
    used = jnp.sum(counts > 0, 0).astype(logs.dtype)
    away = jnp.square(sums - mean[None] * counts)
    errors = jnp.sqrt(jnp.sum(away, 0) * used / (used - 1)) / total
    errors = jnp.where(used > 1, errors, jnp.full_like(errors, jnp.nan))
    order = jnp.argsort(-mean, axis=-1)
    return Spectrum(*(jnp.take_along_axis(one, order, axis=-1) for one in (mean, errors)))


def _check(
    function: str, num_steps: int, size: int, num_exponents: Any, transient: Any, every: Any,
    num_blocks: Any,
) -> None:  # fmt: skip
    check_size(function, "every", every)
    check_size(function, "num_blocks", num_blocks)
    if not is_int(num_exponents) or num_exponents > size:
        raise ValueError(
            f"{function}: num_exponents must be an int from 1 to N={size}, as many as the state "
            f"has numbers, got {num_exponents!r}"
        )
    if not is_int(transient, at_least=0) or transient >= num_steps:
        raise ValueError(
            f"{function}: transient must be an int in [0, T={num_steps}), got {transient!r}"
        )
