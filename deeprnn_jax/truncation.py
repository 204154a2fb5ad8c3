"""Truncated backpropagation through time."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax import arguments, schedules
from deeprnn_jax.checks import check_size
from deeprnn_jax.deep import DeepParams, DeepRNN, DeepState
from deeprnn_jax.meshes import explicit_mesh, vary_as, with_automatic_axes
from deeprnn_jax.running import is_staged
from deeprnn_jax.schedules.schedule import Schedule
from deeprnn_jax.sequences import Steps, make_steps
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
    schedule: str | Schedule = "auto",
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
    image_shape = rnn.plan.image_shape
    arguments.check_sequence("truncated", x, image_shape)
    arguments.check_flags_of_steps("truncated", x, lengths, mask, resets, image_shape)
    x, lengths, mask, resets = arguments.as_arrays(x, lengths, mask, resets)
    arguments.choose_key("truncated", key, train, rnn.plan.is_stochastic)
    steps = make_steps(lengths, mask, resets, x.shape[0])
    schedules.named("truncated", rnn.plan, schedule)
    arguments.choose_checkpoints("truncated", checkpoint_every, chunk_size)
    options = {"train": train, "schedule": schedule, "checkpoint_every": checkpoint_every}
    arrays = params, x, state, steps, key
    run = _run_chunks if is_staged() else _compiled
    return run(rnn, int(chunk_size), tuple(options.items()), *arrays)


def _run_chunks(
    rnn: DeepRNN,
    chunk_size: int,
    options: tuple[tuple[str, Any], ...],
    params: DeepParams,
    x: Array,
    state: DeepState | None,
    steps: Steps,
    key: Array | None,
) -> tuple[DeepState, Array]:
    """Run whole chunks in a loop, then the rest."""
    arrays = params, x, state, steps, key
    if explicit_mesh(arrays) is not None:
        again = partial(_run_chunks, rnn, chunk_size, options)
        return with_automatic_axes(again, *arrays, image_shape=rnn.plan.image_shape)
    if state is None:
        state = rnn.initial_state(params, arguments.steps_shape(x, rnn.plan.image_shape)[1:])
    carry: DeepState = vary_as(state, arrays)

    def run_chunk(state: DeepState, chunk: tuple) -> tuple[DeepState, Array]:
        start, x, (mask, resets) = chunk
        cut = jax.tree.map(lax.stop_gradient, state)
        state = jax.tree.map(partial(jnp.where, start == 0), state, cut)
        chunk_key = None if key is None else jax.random.fold_in(key, start)
        return rnn.apply(params, x, state, mask=mask, resets=resets, key=chunk_key, **dict(options))

    num_chunks, rest = divmod(x.shape[0], chunk_size)
    whole = num_chunks * chunk_size
    ys = []
    if num_chunks:
        chunks = jax.tree.map(
            lambda leaf: leaf[:whole].reshape(num_chunks, chunk_size, *leaf.shape[1:]),
            (x, steps),
        )
        carry, y = lax.scan(run_chunk, carry, (jnp.arange(num_chunks) * chunk_size, *chunks))
        ys.append(y.reshape(whole, *y.shape[2:]))
    if rest:
        last = jax.tree.map(lambda leaf: leaf[whole:], (x, steps))
        carry, y = run_chunk(carry, (whole, *last))
        ys.append(y)
    return carry, jnp.concatenate(ys) if len(ys) > 1 else ys[0]


_compiled = jax.jit(_run_chunks, static_argnums=(0, 1, 2))
