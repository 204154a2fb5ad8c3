"""CTC: labels from the network's outputs of every step, blanks and repetitions taken out.

    B(a a - a b b) = a a b            - is the blank

`ctc_greedy` follows the most probable alignment; `prefix_beam` adds up those that give
the same labels.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import check_floating, check_lengths
from deeprnn_jax.decoding.arguments import check_index
from deeprnn_jax.decoding.indexing import pick, put
from deeprnn_jax.decoding.log_probs import log_softmax
from deeprnn_jax.sequences import make_steps, where_flag
from deeprnn_jax.types import Array, exported


@exported
class BestPath(NamedTuple):
    """The labels of the most probable alignment."""

    labels: Array  # int32 [*B, T]; blank past the length
    lengths: Array  # int32 [*B], how many labels
    log_probs: Array  # [*B], of the alignment, not of the labels; -inf where there is none


def ctc_greedy(logits: Array, lengths: Array | None = None, *, blank: int = 0) -> BestPath:
    """Give the labels of the most probable alignment: of each step's largest logit.

    The labels' own probability is the sum over all of their alignments, which may be
    largest for others: see `ctc_prefix_beam`. The lower index wins among equal logits.

    Args:
      logits: `[T, *B, V]`, floating point; what stands past a row's length is not read.
        A real step with NaN or +inf among its logits, or with nothing but -inf, is
        taken for a blank, and its row's log-probability is -inf.
      lengths: int `[*B]`, the real steps of each row; None: all T.
      blank: the index of the blank.

    Returns:
      A `BestPath`, its log-probabilities in float32 or wider.

    Raises:
      ValueError: if logits are not floating point `[T, *B, V]`, lengths do not fit them,
        or `blank` is outside [0, V).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from deeprnn_jax.decoding import ctc_greedy
      >>> logits = 9 * jax.nn.one_hot(jnp.array([1, 1, 0, 1, 2, 2]), 3)
      >>> best = ctc_greedy(logits)
      >>> best.labels.tolist(), best.lengths.tolist()
      ([1, 1, 2, 0, 0, 0], 3)

    References:
      Graves et al. 2006, section 3.2, "best path decoding".
    """
    log_probs, mask = read_logits("ctc_greedy", logits, lengths, blank)
    return _follow(logits, log_probs, mask, blank=blank)


@partial(jax.jit, static_argnames="blank")
def _follow(logits: Array, log_probs: Array, mask: Array, *, blank: int) -> BestPath:
    """Follow the best path of logits `[T, *B, V]` whose log-probabilities are given."""
    num_steps, *batch_shape, _ = logits.shape
    # The logits' largest: unequal logits may have equal log-probabilities, by rounding.
    path = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    best = pick(log_probs, path[..., None])[..., 0]
    path = jnp.where(mask & (best > -jnp.inf), path, blank)
    before = jnp.concatenate([jnp.full((1, *batch_shape), blank, jnp.int32), path])[:-1]
    is_label = (path != blank) & (path != before)
    count = jnp.cumsum(is_label, axis=0, dtype=jnp.int32)
    # The n-th label goes to place n - 1; what is no label, past the end, where it is dropped.
    places = jnp.moveaxis(jnp.where(is_label, count - 1, num_steps), 0, -1)
    path = jnp.moveaxis(path, 0, -1)
    return BestPath(
        labels=put(jnp.full_like(path, blank), places, path),
        lengths=is_label.sum(axis=0, dtype=jnp.int32),
        log_probs=jnp.where(mask, best, 0.0).sum(axis=0),
    )


def read_logits(function: str, logits: Any, lengths: Any, blank: Any) -> tuple[Array, Array]:
    """Give log-probabilities `[T, *B, V]` and the mask `[T, *B]` of real steps.

    A masked step is a certain blank: it leaves the labels, and their probabilities, as
    they are.

    Args:
      function: the public function's name.
      logits: `[T, *B, V]`, as the caller gave them.
      lengths: int `[*B]`, or None.
      blank: the index of the blank.

    Raises:
      ValueError: if one of them does not fit.
    """
    check_floating(function, "logits", logits)
    if logits.ndim < 2 or logits.shape[-1] < 1:
        raise ValueError(
            f"{function}: logits must be [T, *B, V] with V of 1 or more, got shape {logits.shape}"
        )
    num_steps, *batch_shape, size = logits.shape
    check_index(function, "blank", blank, size)
    if lengths is not None:
        check_lengths(function, lengths, num_steps, tuple(batch_shape))
    return _masked_log_probs(logits, lengths, blank=blank)


@partial(jax.jit, static_argnames="blank")
def _masked_log_probs(logits: Array, lengths: Array | None, *, blank: int) -> tuple[Array, Array]:
    mask = make_steps(lengths, None, None, logits.shape[0]).mask
    if mask is None:
        mask = jnp.ones(logits.shape[:-1], bool)
    log_probs = log_softmax(logits)
    return where_flag(mask, log_probs, _certain_blanks(log_probs, log_probs.shape, blank)), mask


def split_steps(log_probs: Array, blank: int) -> Array:
    """Give `[T, *B, V]` as `[N, S, *B, V]`, filled up with certain blanks.

    S is about √T, and where T is symbolic, that of 1,000 steps.
    """
    num_steps, *rest = log_probs.shape
    part = max(math.isqrt(num_steps), 1) if isinstance(num_steps, int) else 32
    num_parts = -(-num_steps // part)
    past = _certain_blanks(log_probs, (num_parts * part - num_steps, *rest), blank)
    return jnp.concatenate([log_probs, past]).reshape(num_parts, part, *rest)


def _certain_blanks(like: Array, shape: tuple[int, ...], blank: int) -> Array:
    certain = jnp.where(jnp.arange(shape[-1]) == blank, 0.0, -jnp.inf)
    return jnp.broadcast_to(certain.astype(like.dtype), shape)
