"""The decoder: a deep recurrent network and attention, in turn, over the target.

    state_t, q_t = rnn(state_{t-1}, [x_t; c_{t-1}])    deeprnn_jax, one step
    c_t          = attend(q_t, memory)

The context's way back into the network (Luong 2015's input feeding) is why there is a loop
here. Only what must be is in it: the memory's projections are made before it, and what
reads q and c, after it. Without input feeding x_t alone is read, and there is no loop:
the network runs over the whole target, and attends to the memory at all steps at once.
"""

from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.machine_translation.attention import Attention, AttentionParams, Memory


class DecoderParams(NamedTuple):
    """The parameters."""

    rnn: Any
    attention: AttentionParams


class DecoderState(NamedTuple):
    """What goes from one target token to the next."""

    rnn: Any  # the deep network's, leaves [*B, H]
    context: Any  # [*B, D]


class DecoderSteps(NamedTuple):
    """What a decoder came to."""

    outputs: jax.Array  # q [T, B, H]
    contexts: jax.Array  # [T, B, D]
    weights: jax.Array  # [T, B, S], of the attention


class Decoder(NamedTuple):
    """A decoder as pure functions."""

    init: Any  # (key, input_size, memory_size) -> DecoderParams
    state_size: Any  # (params) -> how many numbers a row's first state has
    first_state: Any  # (params, flat [B, state_size]) -> DecoderState
    remember: Any  # (params, encoded [S, B, M], lengths [B]) -> Memory
    run: Any  # (params, memory, state, x [T, B, E], key) -> DecoderSteps
    step: Any  # (params, memory, state, x [*B, E]) -> (DecoderState, q [*B, H])


def make_decoder(
    rnn: drnn.DeepRNN, attention: Attention, context_size: int, input_feeding: bool
) -> Decoder:
    """Return a decoder of a deep network and an attention.

    Args:
      rnn: the network, without a readout.
      attention: what it attends by.
      context_size: D; 0 without attention.
      input_feeding: whether the network reads the last context.
    """

    def init(key: jax.Array, input_size: int, memory_size: int) -> DecoderParams:
        rnn_key, attention_key = jax.random.split(key)
        fed = context_size if input_feeding else 0
        return DecoderParams(
            rnn.init(rnn_key, input_size + fed), attention.init(attention_key, memory_size)
        )

    def state_size(params: DecoderParams) -> int:
        one = jax.eval_shape(lambda: rnn.initial_state(params.rnn))
        return sum(leaf.size for leaf in jax.tree.leaves(one))

    def first_state(params: DecoderParams, flat: jax.Array) -> DecoderState:
        leaves, tree = jax.tree.flatten(rnn.initial_state(params.rnn, len(flat)))
        ends = list(accumulate(leaf.shape[-1] for leaf in leaves))
        parts = jnp.split(flat, ends[:-1], axis=-1)
        return DecoderState(jax.tree.unflatten(tree, parts), jnp.zeros((len(flat), context_size)))

    def remember(params: DecoderParams, encoded: jax.Array, lengths: jax.Array) -> Memory:
        return attention.remember(params.attention, encoded, lengths)

    def attend(params: DecoderParams, memory: Memory, q: jax.Array) -> Any:
        """Attend for q `[B, H]` or `[B, K, H]`: contexts and weights of the same axes."""
        if q.ndim == 3:
            return attention.attend(params.attention, memory, q)
        contexts, weights = attention.attend(params.attention, memory, q[:, None])
        return contexts[:, 0], weights[:, 0]

    def advance(
        params: DecoderParams, memory: Memory, state: DecoderState, x: jax.Array, key: Any
    ) -> tuple[DecoderState, jax.Array, jax.Array]:
        if input_feeding:
            x = jnp.concatenate([x, state.context], axis=-1)
        rnn_state, q = rnn.step(params.rnn, state.rnn, x, key=key)
        context, weights = attend(params, memory, q)
        return DecoderState(rnn_state, context), q, weights

    def run(
        params: DecoderParams, memory: Memory, state: DecoderState, x: jax.Array, key: Any
    ) -> DecoderSteps:
        if not input_feeding:
            _, q = rnn.apply(params.rnn, x, state.rnn, key=key)
            found = attention.attend(params.attention, memory, jnp.swapaxes(q, 0, 1))
            return DecoderSteps(q, *(jnp.swapaxes(leaf, 0, 1) for leaf in found))

        def body(state: DecoderState, entry: tuple) -> tuple[DecoderState, tuple]:
            x_t, key_t = entry
            state, q, weights = advance(params, memory, state, x_t, key_t)
            return state, (q, state.context, weights)

        keys = None if key is None else jax.random.split(key, len(x))
        _, steps = drnn.scan(body, state, (x, keys))
        return DecoderSteps(*steps)

    def step(
        params: DecoderParams, memory: Memory, state: DecoderState, x: jax.Array
    ) -> tuple[DecoderState, jax.Array]:
        state, q, _ = advance(params, memory, state, x, None)
        return state, q

    return Decoder(init, state_size, first_state, remember, run, step)
