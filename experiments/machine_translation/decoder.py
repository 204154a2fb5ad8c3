"""The decoder: a deep recurrent network and attention, in turn, over the target.

    state_t, q_t = rnn(state_{t-1}, [x_t; c_{t-1}])    deeprnn_jax, one step
    c_t          = attend(q_t, memory)

The context's way back into the network (Luong 2015's input feeding) is why there is a loop
here. Only what must be is in it: the memory's projections are made before it, and what
reads q and c, after it. Without input feeding x_t alone is read, and there is no loop:
the network runs over the whole target, and attends to the memory at all steps at once.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

import deeprnn_jax as drnn
from experiments.machine_translation.attention import Attention, AttentionParams, Memory


class DecoderParams(NamedTuple):
    """The parameters."""

    rnn: Any
    attention: AttentionParams | None


class DecoderState(NamedTuple):
    """What goes from one target token to the next."""

    rnn: Any  # the deep network's, leaves [*B, H]
    context: Any  # [*B, D]


class DecoderSteps(NamedTuple):
    """What a decoder came to."""

    outputs: jax.Array  # q [T, B, H]
    contexts: jax.Array  # [T, B, D]
    weights: jax.Array  # [T, B, S], of the attention


@dataclass(frozen=True)
class Decoder:
    """A decoder as pure functions, around a network without a readout, `rnn`.

    Without `attention` contexts and weights have size 0, and there is no memory. With
    `input_feeding` the network reads the context of the step before.
    """

    rnn: drnn.DeepRNN
    attention: Attention | None
    input_feeding: bool

    @property
    def context_size(self) -> int:
        """Return D."""
        return self.attention.context_size if self.attention else 0

    def init(self, key: jax.Array, input_size: int, memory_size: int) -> DecoderParams:
        """Draw the parameters."""
        rnn_key, attention_key = jax.random.split(key)
        fed = self.context_size if self.input_feeding else 0
        return DecoderParams(
            rnn=self.rnn.init(rnn_key, input_size + fed),
            attention=self.attention and self.attention.init(attention_key, memory_size),
        )

    def state_size(self, params: DecoderParams) -> int:
        """Return how many numbers a row's first state has."""
        one = jax.eval_shape(lambda: self.rnn.initial_state(params.rnn))
        return sum(leaf.size for leaf in jax.tree.leaves(one))

    def first_state(self, params: DecoderParams, flat: jax.Array) -> DecoderState:
        """Return the state that has these numbers, `[B, state_size]`, and no context."""
        _, unravel = ravel_pytree(self.rnn.initial_state(params.rnn))
        return DecoderState(jax.vmap(unravel)(flat), jnp.zeros((len(flat), self.context_size)))

    def run(
        self,
        params: DecoderParams,
        memory: Memory | None,
        state: DecoderState,
        x: jax.Array,
        key: jax.Array | None,
    ) -> DecoderSteps:
        """Read a whole target `[T, B, E]`; a key turns dropout on."""
        if not self.input_feeding:
            _, q = self.rnn.apply(params.rnn, x, state.rnn, key=key)
            found = self._attend(params, memory, jnp.swapaxes(q, 0, 1))
            return DecoderSteps(q, *(jnp.swapaxes(leaf, 0, 1) for leaf in found))

        def body(state: DecoderState, entry: tuple) -> tuple[DecoderState, DecoderSteps]:
            x_t, key_t = entry
            state, q, weights = self.step(params, memory, state, x_t, key_t)
            return state, DecoderSteps(q, state.context, weights)

        keys = None if key is None else jax.random.split(key, len(x))
        return drnn.scan(body, state, (x, keys))[1]

    def step(
        self,
        params: DecoderParams,
        memory: Memory | None,
        state: DecoderState,
        x: jax.Array,
        key: jax.Array | None,
    ) -> tuple[DecoderState, jax.Array, jax.Array]:
        """Read one token a row `[*B, E]`: next state, q `[*B, H]` and weights `[*B, S]`."""
        if self.input_feeding:
            x = jnp.concatenate([x, state.context], axis=-1)
        rnn_state, q = self.rnn.step(params.rnn, state.rnn, x, key=key)
        if q.ndim == 2:  # one hypothesis a row
            context, weights = (leaf[:, 0] for leaf in self._attend(params, memory, q[:, None]))
        else:
            context, weights = self._attend(params, memory, q)
        return DecoderState(rnn_state, context), q, weights

    def _attend(self, params: DecoderParams, memory: Memory | None, q: jax.Array) -> Any:
        """Attend for q `[B, N, H]`: contexts and weights of the same first axes."""
        if self.attention is None:
            nothing = jnp.zeros((*q.shape[:-1], 0))
            return nothing, nothing
        return self.attention.attend(params.attention, memory, q)
