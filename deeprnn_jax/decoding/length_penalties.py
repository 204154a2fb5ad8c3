"""What a hypothesis' log-probability is divided by, so that long ones are not put last.

    score(y) = log p(y) / penalty(|y|)

A penalty is a function from lengths to positive divisors; any other of that form will
do. Lengths are floating point, and count the end token.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from deeprnn_jax.checks import check_callable
from deeprnn_jax.decoding.arguments import describe, is_known, is_real
from deeprnn_jax.types import Array

LengthPenalty = Callable[[Any], Any]  # lengths, any array or number -> divisors


def gnmt_penalty(alpha: Array | float = 0.6) -> LengthPenalty:
    """Divide by ((5 + length) / 6)^alpha.

    Args:
      alpha: 0 leaves the log-probability as it is; the paper found 0.6 to 0.7 best.
        An array may be traced; then it is not looked at.

    Returns:
      The penalty, 1 at length 1.

    Raises:
      ValueError: if alpha is not one finite number.

    Example:
      >>> from deeprnn_jax.decoding import gnmt_penalty
      >>> gnmt_penalty(1.0)(7.0)
      2.0

    References:
      Wu et al. 2016 (GNMT), eq. 14, without its coverage penalty.
    """
    _check_alpha("gnmt_penalty", alpha)
    return lambda lengths: ((5.0 + lengths) / 6.0) ** alpha


def power_penalty(alpha: Array | float = 1.0) -> LengthPenalty:
    """Divide by length^alpha; with 1, the score is the mean log-probability of a token.

    Args:
      alpha: 0 leaves the log-probability as it is. An array may be traced; then it is
        not looked at.

    Returns:
      The penalty.

    Raises:
      ValueError: if alpha is not one finite number.

    Example:
      >>> from deeprnn_jax.decoding import power_penalty
      >>> power_penalty(0.5)(16.0)
      4.0

    References:
      Wu et al. 2016 (GNMT), section 7, before eq. 14; with alpha 1, Cho et al. 2014.
    """
    _check_alpha("power_penalty", alpha)
    return lambda lengths: lengths**alpha


def make_factors(length_penalty: LengthPenalty | None, max_steps: int, dtype: Any) -> Array:
    """Give 1 / penalty of lengths 1 ... max_steps, or raise ValueError.

    Factors, for XLA turns some divisions by one number into products with its inverse and
    leaves others: with products alone, equal log-probabilities have equal scores.
    """
    if length_penalty is None:
        return jnp.ones(max_steps, dtype)
    check_callable("beam_search", "length_penalty", length_penalty, "gnmt_penalty(0.6)")
    # NumPy's, so that what does not depend on traced numbers can be looked at under jit.
    divisors: Any = length_penalty(np.arange(1, max_steps + 1, dtype=dtype))
    if np.shape(divisors) != (max_steps,):
        raise ValueError(
            "beam_search: length_penalty must give a divisor for each length "
            f"[max_steps={max_steps}], got shape {np.shape(divisors)}"
        )
    if is_known(divisors):
        values = np.asarray(divisors)
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(
                "beam_search: length_penalty must give finite divisors above 0, got "
                f"{values.min()} to {values.max()}"
            )
    return 1.0 / jnp.asarray(divisors).astype(dtype)


def _check_alpha(function: str, alpha: Any) -> None:
    is_one = is_real(alpha) and np.shape(alpha) == ()
    if not is_one or (is_known(alpha) and not np.isfinite(np.asarray(alpha))):
        got = repr(alpha) if is_one else describe(alpha)
        raise ValueError(f"{function}: alpha must be a finite number, got {got}; 0 is none")
