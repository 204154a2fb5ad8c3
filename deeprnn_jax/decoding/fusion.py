"""A language model's part in a search over label sequences: shallow fusion.

score(y) = log p(y | x) + weight · log p_LM(y) + ...
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from deeprnn_jax.decoding.arguments import as_per_row, as_tokens, check_index
from deeprnn_jax.decoding.indexing import pick
from deeprnn_jax.decoding.log_probs import log_softmax
from deeprnn_jax.decoding.states import (
    StateAxes,
    check_state_axes,
    repeat_state,
    take_state,
    where_state,
)
from deeprnn_jax.decoding.steps import DecoderState, TokenStepFn, settle_state
from deeprnn_jax.types import Array


class LanguageModel(NamedTuple):
    """A language model over the labels, for `ctc_prefix_beam`.

    Its softmax is over all V logits, the blank's too: a model that does not know the
    blank gives it -inf, or has the end of a sequence in its place.
    """

    step_fn: TokenStepFn  # (state, tokens [*B, K]) -> (state, logits [*B, K, V])
    state: DecoderState  # any pytree with the batch axes [*B]
    start_token: Array | int  # int [*B], or one for all rows: what it reads first
    weight: Array | float = 1.0  # of its log-probabilities; one for all rows, or [*B]
    end_token: int | None = None  # what a whole sequence ends with; None: that is not scored
    state_axes: StateAxes = 0  # as in `beam_search`


class Fusion(NamedTuple):
    """What a language model says of each hypothesis and of each of its extensions."""

    state: DecoderState
    log_probs: Array  # [*B, K, V], weighted, of the next label
    total: Array  # [*B, K], weighted, of all labels so far


def start_fusion(
    function: str, model: Any, shape: tuple[int, ...], size: int, dtype: Any
) -> tuple[LanguageModel, Fusion]:
    """Check a language model and let it read its first token.

    Args:
      function: the public function's name.
      model: what the caller gave.
      shape: `(*B, K)`.
      size: V, how many logits it must give.
      dtype: of the scores.

    Returns:
      The model, with its weight as `[*B]`, and what it says of the empty sequence.

    Raises:
      ValueError: if the model does not fit.
    """
    if not isinstance(model, LanguageModel):
        raise ValueError(
            f"{function}: language_model must be a LanguageModel or None, got "
            f"{type(model).__name__}; make one with LanguageModel(step_fn, state, start_token)"
        )
    start = as_tokens(function, "start_token", model.start_token)
    *batch_axes, beam_size = shape
    batch_shape = tuple(batch_axes)
    if start.shape not in ((), batch_shape):
        raise ValueError(
            f"{function}: start_token must be an int or [*B] = {batch_shape}, got shape "
            f"{start.shape}"
        )
    tokens = jnp.broadcast_to(start[..., None], shape)
    check_state_axes(function, model.state, model.state_axes, batch_shape)
    state = repeat_state(model.state, model.state_axes, len(batch_shape), beam_size)
    state, logits = settle_state(function, "the model's step_fn", model.step_fn, state, tokens)
    if logits.shape[-1] != size:
        raise ValueError(
            f"{function}: the language model must give as many logits as there are labels and "
            f"blank, V={size}, got {logits.shape[-1]}"
        )
    if model.end_token is not None:
        check_index(function, "the model's end_token", model.end_token, size)
    weight = as_per_row(function, "the model's weight", model.weight, batch_shape, dtype)
    model = model._replace(weight=weight)
    return model, _read_labels(model, state, tokens, jnp.zeros(tokens.shape, dtype))


def advance_fusion(
    model: LanguageModel, fusion: Fusion, sources: Array, labels: Array, is_extended: Array
) -> Fusion:
    """Let the model read the new labels of a beam.

    Args:
      model: the model, with a weight `[*B]`.
      fusion: what it said of the beam before.
      sources: int32 `[*B, K]`, which hypothesis of that beam each one was.
      labels: int32 `[*B, K]`, what it was extended by, where `is_extended`.
      is_extended: bool `[*B, K]`.
    """
    beam_size, size = fusion.log_probs.shape[-2:]
    flat = fusion.log_probs.reshape(*sources.shape[:-1], beam_size * size)
    index = sources * size + labels
    gain = jnp.where(is_extended, pick(flat, index), 0.0)
    total = pick(fusion.total, sources) + gain
    stayed = take_state(fusion.state, model.state_axes, sources)
    log_probs = jnp.take_along_axis(fusion.log_probs, sources[..., None], axis=-2)
    # Shapes are fixed: the model reads in every hypothesis, and is not heard in most.
    read = _read_labels(model, stayed, labels, total)
    return Fusion(
        state=where_state(is_extended, model.state_axes, read.state, stayed),
        log_probs=jnp.where(is_extended[..., None], read.log_probs, log_probs),
        total=total,
    )


def end_fusion(model: LanguageModel, fusion: Fusion) -> Array:
    """Give the weighted log-probabilities of whole sequences, `[*B, K]`."""
    if model.end_token is None:
        return fusion.total
    return fusion.total + fusion.log_probs[..., model.end_token]


def _read_labels(model: LanguageModel, state: DecoderState, tokens: Array, total: Array) -> Fusion:
    state, logits = model.step_fn(state, tokens)
    weight = jnp.asarray(model.weight)[..., None, None]
    log_probs = log_softmax(logits).astype(total.dtype)
    # What cannot be stays so, also with a negative weight; a weight of 0 turns the model off.
    weighted = jnp.where(log_probs > -jnp.inf, weight * log_probs, -jnp.inf)
    return Fusion(state, jnp.where(weight == 0, 0.0, weighted), total)
