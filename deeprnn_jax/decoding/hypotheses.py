"""What a beam search finds: live hypotheses, a pool of finished ones, and their tokens.

A step stores, for each live hypothesis, its token and the rank of the one it extends.
Finished hypotheses are a step and a rank in it. So no step copies whole sequences; the
tokens are traced back once, at the end.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.decoding.indexing import pick, places_in
from deeprnn_jax.decoding.steps import DecoderState
from deeprnn_jax.types import Array, exported


@exported
class Hypotheses(NamedTuple):
    """The N best hypotheses of each row, the best first."""

    tokens: Array  # int32 [*B, N, max_steps]; end_token past the length
    lengths: Array  # int32 [*B, N], tokens after start_token, the end_token included
    scores: Array  # [*B, N], what they are ordered by; -inf where there is no hypothesis
    log_probs: Array  # [*B, N], of the whole hypothesis
    finished: Array  # bool [*B, N], whether it ends with end_token


class Pool(NamedTuple):
    """Finished hypotheses, the best first."""

    scores: Array  # [*B, N]
    log_probs: Array  # [*B, N]
    steps: Array  # int32 [*B, N], the step that drew end_token
    slots: Array  # int32 [*B, N], the live hypothesis before that step


class Search(NamedTuple):
    """All that a step of the search changes."""

    step: Array  # int32
    state: DecoderState
    tokens: Array  # int32 [*B, K], the last of each live hypothesis
    log_probs: Array  # [*B, K], the largest first
    pool: Pool
    token_history: Array  # int32 [max_steps, *B, K]
    parent_history: Array  # int32 [max_steps, *B, K]


@partial(jax.jit, static_argnames=("max_steps", "num_results", "dtype"))
def start_search(
    state: DecoderState, tokens: Array, max_steps: int, num_results: int, dtype: Any
) -> Search:
    """Give a search with one live hypothesis, the empty one, and none finished."""
    batch_shape, beam_size = tokens.shape[:-1], tokens.shape[-1]
    is_first = jnp.arange(beam_size) == 0
    log_probs = jnp.where(is_first, 0.0, -jnp.inf).astype(dtype)
    nothing = jnp.full((*batch_shape, num_results), -jnp.inf, dtype)
    nowhere = jnp.zeros(nothing.shape, jnp.int32)
    history = jnp.zeros((max_steps, *tokens.shape), jnp.int32)
    return Search(
        step=jnp.zeros((), jnp.int32),
        state=state,
        tokens=tokens,
        log_probs=jnp.broadcast_to(log_probs, tokens.shape),
        pool=Pool(nothing, nothing, nowhere, nowhere),
        token_history=history,
        parent_history=history,
    )


def add_finished(pool: Pool, step: Array, log_probs: Array, slots: Array, factor: Array) -> Pool:
    """Give the pool with what has ended in this step, -inf in log_probs for the rest."""
    new = Pool(log_probs * factor, log_probs, jnp.broadcast_to(step, slots.shape), slots)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=-1), pool, new)
    _, kept = lax.top_k(both.scores, pool.scores.shape[-1])  # the earlier among equals
    return jax.tree.map(lambda leaf: pick(leaf, kept), both)


@partial(jax.jit, static_argnames="end_token")
def finish_search(search: Search, end_token: int, last_factor: Array) -> Hypotheses:
    """Give the finished hypotheses and then, where there is room, the live ones."""
    pool, max_steps = search.pool, search.token_history.shape[0]
    num_results, beam_size = pool.scores.shape[-1], search.tokens.shape[-1]
    # Before max_steps a row is only left with its pool full or with nothing alive.
    live = Pool(
        scores=search.log_probs * last_factor,
        log_probs=search.log_probs,
        steps=jnp.full(search.tokens.shape, max_steps, jnp.int32),
        slots=places_in(search.tokens.shape),
    )
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=-1), pool, live)
    num_finished = (pool.scores > -jnp.inf).sum(axis=-1, keepdims=True, dtype=jnp.int32)
    rank = places_in(pool.scores.shape)
    source = jnp.where(rank < num_finished, rank, num_results - num_finished + rank)
    past = source >= num_results + beam_size  # more results than there are hypotheses
    chosen: Pool = jax.tree.map(partial(pick, places=jnp.where(past, 0, source)), both)
    finished = rank < num_finished
    exists = ~past & (chosen.scores > -jnp.inf)
    lengths = jnp.where(exists, jnp.minimum(chosen.steps + 1, max_steps), 0)
    tokens = _trace_back(search, chosen.steps, chosen.slots, end_token)
    inside = places_in(tokens.shape) < lengths[..., None]
    return Hypotheses(
        tokens=jnp.where(inside, tokens, end_token),
        lengths=lengths,
        scores=jnp.where(exists, chosen.scores, -jnp.inf),
        log_probs=jnp.where(exists, chosen.log_probs, -jnp.inf),
        finished=finished,
    )


def _trace_back(search: Search, steps: Array, slots: Array, end_token: int) -> Array:
    """Give the tokens `[*B, N, max_steps]` of hypotheses, from their last step to their first.

    Args:
      search: where the tokens and parents of all steps are.
      steps: the step that drew end_token; max_steps where none did.
      slots: the live hypothesis before that step.
      end_token: what stands at that step and after it.
    """

    def back(slots: Array, entry: tuple) -> tuple[Array, Array]:
        t, tokens, parents = entry
        is_before = t < steps
        token = jnp.where(is_before, pick(tokens, slots), end_token)
        return jnp.where(is_before, pick(parents, slots), slots), token

    times = jnp.arange(search.token_history.shape[0], dtype=jnp.int32)
    entries = (times, search.token_history, search.parent_history)
    _, tokens = lax.scan(back, slots, entries, reverse=True)
    return jnp.moveaxis(tokens, 0, -1)
