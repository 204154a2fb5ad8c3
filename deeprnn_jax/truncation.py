"""Truncated backpropagation through time."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax import arguments
from deeprnn_jax.checks import check_floating, check_size
from deeprnn_jax.deep import DeepParams, DeepRNN, DeepState
from deeprnn_jax.modifiers.precision import cast_floating
from deeprnn_jax.sequences import make_steps
from deeprnn_jax.types import Array


def truncated(
    rnn: DeepRNN,
    params: DeepParams,
    x: Array,
    state: DeepState | None = None,
    *,
    chunk_size: int,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
    key: Array | None = None,
    train: bool | None = None,
    schedule: str = "auto",
    checkpoint_every: int | str | None = None,
) -> tuple[DeepState, Array]:
    """Run a sequence chunk by chunk, with no gradient from one chunk to the one before.

    Outputs and final state are those of `rnn.apply` on the whole sequence; the
    gradient of a loss on chunk k reaches the parameters and inputs of chunk k alone.
    With a key, each chunk draws its own dropout and noise.

    Args:
      rnn: a network in one direction.
      params: its parameters.
      x: `[T, *B, I]`; the last chunk may be shorter.
      state: the state before the first step; its gradient is not stopped.
      chunk_size: steps a chunk.
      lengths: int `[*B]`, as in `apply`.
      mask: bool `[T, *B]`, as in `apply`.
      resets: bool `[T, *B]`, as in `apply`.
      key: a random key, as in `apply`.
      train: as in `apply`.
      schedule: as in `apply`.
      checkpoint_every: as in `apply`, within each chunk.

    Returns:
      The final state, and y `[T, *B, O]`.

    Raises:
      ValueError: as `apply`; if the network is bidirectional; if `chunk_size` is not a
        positive int.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> state, y = drnn.truncated(rnn, params, jnp.ones((100, 4, 3)), chunk_size=32)
      >>> y.shape
      (100, 4, 8)

    References:
      Williams and Peng 1990, BPTT(h; h') with h = h' = chunk_size.
    """
    if not isinstance(rnn, DeepRNN):
        raise ValueError(
            f"truncated: rnn must be a network, got {type(rnn).__name__}; make one with deep_rnn"
        )
    check_size("truncated", "chunk_size", chunk_size)
    if rnn.plan.merge is not None:
        raise ValueError(
            "truncated: a bidirectional network reads the whole sequence first and cannot "
            "go chunk by chunk; use apply, or one direction"
        )
    arguments.check_sequence("truncated", x)
    arguments.check_flags_of_steps("truncated", x, lengths, mask, resets)
    x, lengths, mask, resets = arguments.as_arrays(x, lengths, mask, resets)
    arguments.choose_key("truncated", key, train, rnn.plan.is_stochastic)
    num_steps = x.shape[0]
    start = rnn.initial_state(params, x.shape[1:-1]) if state is None else state
    for leaf in jax.tree.leaves(state):
        check_floating("truncated", "every array of state", leaf)
    # The loop's carry keeps one dtype, whatever the caller's state has.
    final: DeepState = cast_floating(start, rnn.plan.precision.state)
    steps = make_steps(lengths, mask, resets, num_steps)

    def run_chunk(state: DeepState, chunk: tuple) -> tuple[DeepState, Array]:
        start, x, (mask, resets) = chunk
        cut = jax.tree.map(lax.stop_gradient, state)
        state = jax.tree.map(partial(jnp.where, start == 0), state, cut)
        chunk_key = None if key is None else jax.random.fold_in(key, start)
        return rnn.apply(
            params,
            x,
            state,
            mask=mask,
            resets=resets,
            key=chunk_key,
            train=train,
            schedule=schedule,
            checkpoint_every=checkpoint_every,
        )

    num_chunks, rest = divmod(num_steps, chunk_size)
    whole = num_chunks * chunk_size
    ys = []
    if num_chunks:
        chunks = jax.tree.map(
            lambda leaf: leaf[:whole].reshape(num_chunks, chunk_size, *leaf.shape[1:]),
            (x, steps),
        )
        final, y = lax.scan(run_chunk, final, (jnp.arange(num_chunks) * chunk_size, *chunks))
        ys.append(y.reshape(whole, *y.shape[2:]))
    if rest:
        last = jax.tree.map(lambda leaf: leaf[whole:], (x, steps))
        final, y = run_chunk(final, (whole, *last))
        ys.append(y)
    return final, jnp.concatenate(ys) if len(ys) > 1 else ys[0]
