"""Writing: each drawn token is what the next step reads."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.checks import check_key, check_size
from deeprnn_jax.decoding.arguments import as_tokens, check_index
from deeprnn_jax.decoding.indexing import pick
from deeprnn_jax.decoding.log_probs import log_softmax
from deeprnn_jax.decoding.sampling import Sampling, sample_logits
from deeprnn_jax.decoding.steps import DecoderState, TokenStepFn, settle_state
from deeprnn_jax.types import Array, exported


@exported
class Generated(NamedTuple):
    """What `generate` drew."""

    tokens: Array  # int32 [T, *B]; end_token from the end on
    log_probs: Array  # [T, *B], of each token under the model; 0 past the end
    lengths: Array  # int32 [*B], how many were drawn, the end_token included


def generate(
    step_fn: TokenStepFn,
    state: DecoderState,
    start_token: Array | int,
    num_steps: int,
    key: Array,
    sampling: Sampling = Sampling(),
    *,
    end_token: int | None = None,
) -> tuple[DecoderState, Generated]:
    """Draw a sequence token by token, in one `lax.scan`.

        state, logits_t = step_fn(state, token_{t-1})
        token_t ~ softmax(logits_t / temperature), restricted by top-k and top-p

    Wrap the call in `jax.jit`, with the parameters as arguments: a bare call compiles its
    scan again each time.

    Args:
      step_fn: `(state, token [*B]) -> (state, logits [*B, V])`; parameters are what it
        closes over.
      state: any pytree; what the first step begins with.
      start_token: int `[*B]`, what the first step reads: a start symbol, or the last
        token of a prompt whose other tokens the state has read. Not in the output.
      num_steps: T.
      key: a random key; token t is drawn with `fold_in(key, t)`.
      sampling: how to draw.
      end_token: what ends a row; from there on it is repeated. None: nothing does. The
        step goes on reading in rows that have ended.

    Returns:
      The state after T steps, and a `Generated`, time-major. Its log-probabilities are
      those of the model itself, whatever the temperature and the restriction; where the
      logits are no distribution (`sample_logits` says which), the token is 0 and -inf is
      its log-probability.

    Raises:
      ValueError: if an argument does not fit, or the step does not keep to its form.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> from deeprnn_jax.decoding import Sampling, generate
      >>> rnn = drnn.deep_rnn(drnn.gru(16), num_layers=2, output_size=5)
      >>> params = rnn.init(jax.random.key(0), input_size=5)
      >>> def step(state, token):
      ...     return rnn.step(params, state, jax.nn.one_hot(token, 5))
      >>> state, drawn = generate(
      ...     step, rnn.initial_state(params, 3), jax.numpy.zeros(3, int), 20,
      ...     jax.random.key(1), Sampling(top_p=0.9),
      ... )
      >>> drawn.tokens.shape, drawn.lengths.tolist()
      ((20, 3), [20, 20, 20])
    """
    check_size("generate", "num_steps", num_steps)
    check_key("generate", key)
    if not isinstance(sampling, Sampling):
        raise ValueError(
            f"generate: sampling must be a Sampling, got {sampling!r}; for example "
            "Sampling(temperature=0.7)"
        )
    start = as_tokens("generate", "start_token", start_token)
    state, logits = settle_state("generate", "step_fn", step_fn, state, start)
    if end_token is not None:
        check_index("generate", "end_token", end_token, logits.shape[-1])

    def draw(carry: tuple, t: Array) -> tuple[tuple, tuple]:
        state, token, ended = carry
        state, logits = step_fn(state, token)
        token = sample_logits(jax.random.fold_in(key, t), logits, sampling)
        log_prob = pick(log_softmax(logits), token[..., None])[..., 0]
        is_real = ~ended
        if end_token is not None:
            token = jnp.where(ended, end_token, token)
            ended = ended | (token == end_token)
        return (state, token, ended), (token, jnp.where(is_real, log_prob, 0.0), is_real)

    times = jnp.arange(num_steps, dtype=jnp.int32)
    carry = (state, start, jnp.zeros(start.shape, bool))
    (state, _, _), (tokens, log_probs, is_real) = lax.scan(draw, carry, times)
    return state, Generated(tokens, log_probs, is_real.sum(axis=0, dtype=jnp.int32))
