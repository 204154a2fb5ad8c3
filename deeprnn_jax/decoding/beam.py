"""Beam search over any state, a row at a time and all rows at once.

At each step the K live hypotheses of a row have K·V extensions. Of the 2K best,

- those among the K best that end with `end_token` are finished: they go to a pool of
  their own, which keeps the N best by score, and are never extended;
- the K best that do not end go on: at most K of the 2K end, so K are left.

So a finished hypothesis takes no live one's place and no live one pushes it out. The
search stops when in every row even the best live hypothesis, ending with no further
loss at the length of the largest penalty, would not pass the N-th finished one:

    log p(y) / max_{|y| < l <= max_steps} penalty(l) <= score of the N-th

Log-probabilities only fall, so this bound is exact: the loop ends sooner, with the
numbers of max_steps steps.
"""

import jax.numpy as jnp
from jax import lax

from deeprnn_jax.checks import check_bools, check_size
from deeprnn_jax.decoding.arguments import as_tokens, check_index
from deeprnn_jax.decoding.hypotheses import (
    Hypotheses,
    Search,
    add_finished,
    finish_search,
    start_search,
)
from deeprnn_jax.decoding.indexing import pick
from deeprnn_jax.decoding.length_penalties import LengthPenalty, make_factors
from deeprnn_jax.decoding.log_probs import log_softmax, widen, without_nan
from deeprnn_jax.decoding.states import StateAxes, check_state_axes, repeat_state, take_state
from deeprnn_jax.decoding.steps import DecoderState, TokenStepFn, settle_state
from deeprnn_jax.precision import accumulation_dtype
from deeprnn_jax.types import Array


def beam_search(
    step_fn: TokenStepFn,
    state: DecoderState,
    start_token: Array | int,
    *,
    end_token: int,
    beam_size: int,
    max_steps: int,
    num_results: int | None = None,
    length_penalty: LengthPenalty | None = None,
    state_axes: StateAxes = 0,
    normalize: bool = True,
) -> Hypotheses:
    """Find the most probable sequences that a step leads to.

    Hypotheses are scored by log p(y) / penalty(|y|). One that is not finished after
    max_steps tokens is given after all finished ones, if there is room, with the score
    that its length gives it. With a beam_size of V^max_steps or more, every sequence is
    looked at, and the result is that of exhaustive search. Wrap the call in `jax.jit`,
    with the parameters as arguments: a bare call compiles its loop again each time.

    Equal scores are ordered by step, the earlier end first; in one step by log p(y), the
    higher first, then by the rank of the hypothesis that was extended, then by token.
    Rows of a batch do not touch each other. A hypothesis with NaN or +inf among its logits
    has nothing to go on with: it is dropped, and the others go on. What must not come, a
    token or an end before some length, has -inf in the logits that the step gives.

    Args:
      step_fn: `(state, tokens [*B, K]) -> (state, logits [*B, K, V])`, with the
        hypotheses' axis right after the batch axes in the state too: `rnn.step` is of
        this form. What only depends on the row, as the memory of an attention, is best
        closed over: it is then not copied K times.
      state: any pytree, with the batch axes `[*B]`; K copies are made of it.
      start_token: int `[*B]`, what the first step reads; not in the output. Its shape
        says how many rows there are.
      end_token: what ends a hypothesis.
      beam_size: K, how many live hypotheses a row has. With 1, one result and no
        penalty, the search is greedy.
      max_steps: how long a hypothesis may get, the end_token included.
      num_results: N; beam_size unless given. The search stops sooner with fewer.
      length_penalty: from the lengths 1 ... max_steps, a floating-point array, to
        positive divisors: `gnmt_penalty(0.6)` or `power_penalty(1.0)`, say; None: 1. For
        an exponent a row, `jax.vmap` the search over rows and exponents.
      state_axes: the axis where the batch axes begin in the arrays of the state, as in
        `in_axes` of `jax.vmap`: an int, or a tree of ints over the state's first levels;
        None: what all hypotheses share. 0 is right for a deep network; with
        `stack_layers=True`, whose arrays are `[L, *B, H]`, it is 1.
      normalize: whether to take the log-softmax of what the step gives. False: these
        are log-probabilities, or at least not above 0, which the stop relies on; NaN
        is -inf, but for that token alone.

    Returns:
      The N best of each row, in float32 or wider.

    Raises:
      ValueError: if an argument does not fit, or the step does not keep to its form.

    Example:
      A deep network alone, and one that is fed by attention to a memory `[B, S, D]`:

      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> from deeprnn_jax.decoding import beam_search, gnmt_penalty
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2, output_size=6)
      >>> params = rnn.init(jax.random.key(0), input_size=6)
      >>> def step(state, tokens):
      ...     return rnn.step(params, state, jax.nn.one_hot(tokens, 6))
      >>> search = dict(end_token=1, beam_size=4, max_steps=10)
      >>> start = jnp.zeros(3, int)
      >>> best = beam_search(step, rnn.initial_state(params, 3), start, **search)
      >>> best.tokens.shape, best.scores.shape
      ((3, 4, 10), (3, 4))

      >>> decoder = drnn.deep_rnn(drnn.lstm(8), num_layers=2)
      >>> params = decoder.init(jax.random.key(0), input_size=6 + 8)
      >>> memory = jnp.ones((3, 12, 8))
      >>> def attend(state, tokens):
      ...     rnn_state, context = state
      ...     x = jnp.concatenate([jax.nn.one_hot(tokens, 6), context], axis=-1)
      ...     rnn_state, y = decoder.step(params, rnn_state, x)
      ...     weights = jax.nn.softmax(jnp.einsum("bkd,bsd->bks", y, memory))
      ...     context = jnp.einsum("bks,bsd->bkd", weights, memory)
      ...     return (rnn_state, context), (y + context)[..., :6]  # in place of a readout
      >>> state = decoder.initial_state(params, 3), jnp.zeros((3, 8))
      >>> best = beam_search(attend, state, start, length_penalty=gnmt_penalty(), **search)
      >>> best.tokens.shape
      (3, 4, 10)

    References:
      Graves 2012; Sutskever et al. 2014; the penalty and the end's part in it: Wu et al.
      2016. Twice the beam's width in candidates is what tensor2tensor and fairseq take.
    """
    check_size("beam_search", "beam_size", beam_size)
    check_size("beam_search", "max_steps", max_steps)
    num_results = beam_size if num_results is None else num_results
    check_size("beam_search", "num_results", num_results)
    check_bools("beam_search", normalize=normalize)
    start = as_tokens("beam_search", "start_token", start_token)
    check_state_axes("beam_search", state, state_axes, start.shape)
    state = repeat_state(state, state_axes, start.ndim, beam_size)
    tokens = jnp.broadcast_to(start[..., None], (*start.shape, beam_size))
    state, logits = settle_state("beam_search", "step_fn", step_fn, state, tokens)
    check_index("beam_search", "end_token", end_token, logits.shape[-1])
    dtype = accumulation_dtype(logits.dtype)
    factors = make_factors(length_penalty, max_steps, dtype)
    smallest = lax.cummin(factors, reverse=True)  # of all lengths from one on

    def log_probs_of(logits: Array) -> Array:
        return log_softmax(logits) if normalize else without_nan(widen(logits))

    def goes_on(search: Search) -> Array:
        bound = search.log_probs[..., 0] * smallest[search.step]
        return (search.step < max_steps) & (bound > search.pool.scores[..., -1]).any()

    def advance(search: Search) -> Search:
        state, logits = step_fn(search.state, search.tokens)
        log_probs, parents, tokens = _candidates(search.log_probs, log_probs_of(logits))
        is_end = tokens == end_token
        pool = add_finished(
            search.pool,
            search.step,
            jnp.where(is_end, log_probs, -jnp.inf)[..., :beam_size],
            parents[..., :beam_size],
            factors[search.step],
        )
        log_probs, kept = lax.top_k(jnp.where(is_end, -jnp.inf, log_probs), beam_size)
        parents, tokens = pick(parents, kept), pick(tokens, kept)
        return Search(
            step=search.step + 1,
            state=take_state(state, state_axes, parents),
            tokens=tokens,
            log_probs=log_probs,
            pool=pool,
            token_history=search.token_history.at[search.step].set(tokens),
            parent_history=search.parent_history.at[search.step].set(parents),
        )

    first = start_search(state, tokens, max_steps, num_results, dtype)
    search = lax.while_loop(goes_on, advance, first)
    return finish_search(search, end_token, factors[-1])


def _candidates(before: Array, log_probs: Array) -> tuple[Array, Array, Array]:
    """Give the 2K best extensions `[*B, 2K]`: log-probabilities, parents and tokens."""
    beam_size, size = log_probs.shape[-2:]
    total = without_nan(before[..., None] + log_probs)
    total = total.reshape(*total.shape[:-2], beam_size * size)
    best, indices = lax.top_k(total, min(2 * beam_size, beam_size * size))
    return best, indices // size, indices % size
