"""The translator: a deep bidirectional encoder, attention, a deep decoder fed by it.

    m_1 .. m_S   = encoder(E_x x_1 .. E_x x_S)             deeprnn_jax
    state_0      = tanh(W_0 [m at both ends] + b_0)        flax.linen.Dense
    q_t, c_t     = decoder(state_{t-1}, E_y y_{t-1}, m)    `decoder.py`, `attention.py`
    logits_t     = E_y tanh(W_r [q_t; c_t] + b_r) + b      E_y is the embedding's own matrix

The softmax is part of the loss. Logits are one product over all steps, after the
decoder's loop.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.common.networks import dropout, make_cell, make_network
from experiments.machine_translation.attention import Memory, make_attention
from experiments.machine_translation.config import Config
from experiments.machine_translation.decoder import Decoder, DecoderState, make_decoder


class ModelParams(NamedTuple):
    """The parameters, one field a part."""

    source_embedding: Any
    encoder: Any
    bridge: Any
    target_embedding: Any  # the readout's last matrix, too
    decoder: Any
    readout: Any
    b: jax.Array  # [V]


class _Parts(NamedTuple):
    """What a translator is made of."""

    embed_source: Any
    encoder: drnn.DeepRNN
    embed_target: Any
    decoder: Decoder
    readout: Any


@dataclass(frozen=True)
class Translator:
    """A model as pure functions; equal ones share what is compiled.

    Attributes:
      config: the settings.
      source_size: how many source tokens there are.
      target_size: V, how many target tokens there are.
    """

    config: Config
    source_size: int
    target_size: int

    def init(self, key: jax.Array) -> ModelParams:
        """Draw the parameters."""
        config, parts, memory_size = self.config, self._parts, _memory_size(self.config)
        keys = jax.random.split(key, 6)
        no_tokens = jnp.zeros((0,), jnp.int32)
        decoder = parts.decoder.init(keys[0], config.embedding_size, memory_size)
        bridge = nn.Dense(parts.decoder.state_size(decoder))
        read = config.decoder_size + _context_size(config)
        return ModelParams(
            source_embedding=parts.embed_source.init(keys[1], no_tokens),
            encoder=parts.encoder.init(keys[2], config.embedding_size),
            bridge=bridge.init(keys[3], jnp.zeros((0, memory_size))),
            target_embedding=parts.embed_target.init(keys[4], no_tokens),
            decoder=decoder,
            readout=parts.readout.init(keys[5], jnp.zeros((0, read))),
            b=jnp.zeros(self.target_size),
        )

    def encode(
        self,
        params: ModelParams,
        source: jax.Array,
        lengths: jax.Array,
        key: jax.Array | None = None,
    ) -> tuple[Memory, DecoderState]:
        """Read source tokens `[S, B]`, of which each row has `lengths [B]`.

        A key turns dropout on. Gives what the decoder attends to and begins with.
        """
        config, parts, keys = self.config, self._parts, _keys(key, 3)
        x = parts.embed_source.apply(params.source_embedding, source)
        x = dropout(x, config.embedding_dropout, keys[0])
        _, y = parts.encoder.apply(params.encoder, x, lengths=lengths, key=keys[1])
        bridge: Any = nn.Dense(parts.decoder.state_size(params.decoder))
        flat = jnp.tanh(bridge.apply(params.bridge, _both_ends(y, lengths, config)))
        y = dropout(y, config.dropout, keys[2])
        memory = parts.decoder.remember(params.decoder, y, lengths)
        return memory, parts.decoder.first_state(params.decoder, flat)

    def apply(
        self,
        params: ModelParams,
        source: jax.Array,
        lengths: jax.Array,
        target: jax.Array,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Give the logits `[T, B, V]` of what follows each target token, and the attention.

        Args:
          params: the parameters.
          source: int32 `[S, B]`.
          lengths: int32 `[B]`, the real source tokens of each row.
          target: int32 `[T, B]`, the tokens that are read.
          key: turns dropout on.

        Returns:
          The logits, and the attention's weights `[T, B, S]`.
        """
        decoder, keys = self._parts.decoder, _keys(key, 4)
        memory, state = self.encode(params, source, lengths, keys[0])
        x = self._parts.embed_target.apply(params.target_embedding, target)
        x = dropout(x, self.config.embedding_dropout, keys[1])
        steps = decoder.run(params.decoder, memory, state, x, keys[2])
        return self._read_out(params, steps.outputs, steps.contexts, keys[3]), steps.weights

    def step(
        self, params: ModelParams, memory: Memory, state: DecoderState, tokens: jax.Array
    ) -> tuple[DecoderState, jax.Array]:
        """Read one target token a row `[*B]`: the next state and the logits `[*B, V]`."""
        x = self._parts.embed_target.apply(params.target_embedding, tokens)
        state, q = self._parts.decoder.step(params.decoder, memory, state, x)
        return state, self._read_out(params, q, state.context, None)

    def _read_out(
        self, params: ModelParams, q: jax.Array, context: jax.Array, key: jax.Array | None
    ) -> jax.Array:
        embed_target, readout = self._parts.embed_target, self._parts.readout
        h = jnp.tanh(readout.apply(params.readout, jnp.concatenate([q, context], axis=-1)))
        h = dropout(h, self.config.readout_dropout, key)
        logits = embed_target.apply(params.target_embedding, h, method="attend")
        return logits + jax.lax.broadcast_to_rank(params.b, logits.ndim)

    @cached_property
    def _parts(self) -> _Parts:
        config, context_size = self.config, _context_size(self.config)
        small = nn.initializers.normal(config.embedding_size**-0.5)
        return _Parts(
            embed_source=nn.Embed(self.source_size, config.embedding_size),
            encoder=make_network(
                make_cell(config.cell, config.encoder_size),
                config.encoder_layers,
                bidirectional=config.bidirectional,
                dropout=config.dropout,
            ),
            embed_target=nn.Embed(self.target_size, config.embedding_size, embedding_init=small),
            decoder=make_decoder(
                make_network(
                    make_cell(config.cell, config.decoder_size),
                    config.decoder_layers,
                    dropout=config.dropout,
                ),
                make_attention(config.attention, config.decoder_size, context_size),
                context_size,
                config.input_feeding and context_size > 0,
            ),
            readout=nn.Dense(config.embedding_size),
        )


def _memory_size(config: Config) -> int:
    return config.encoder_size * (2 if config.bidirectional else 1)


def _context_size(config: Config) -> int:
    return 0 if config.attention == "none" else config.context_size


def _both_ends(y: jax.Array, lengths: jax.Array, config: Config) -> jax.Array:
    """Return where each direction ended `[B, M]`: forward at the last real step, backward at 0."""
    last = jnp.maximum(lengths - 1, 0)  # a row of length 0 has zeros there
    forward = jnp.take_along_axis(y, last[None, :, None], axis=0)[0]
    if not config.bidirectional:
        return forward
    size = config.encoder_size
    return jnp.concatenate([forward[:, :size], y[0, :, size:]], axis=-1)


def _keys(key: jax.Array | None, number: int) -> Any:
    return (None,) * number if key is None else jax.random.split(key, number)
