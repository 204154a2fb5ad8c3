"""The translator: a deep bidirectional encoder, attention, a deep decoder fed by it.

    m_1 .. m_S   = encoder(E_x x_1 .. E_x x_S)             deeprnn_jax
    state_0      = tanh(W_0 [m at both ends] + b_0)        flax.linen.Dense
    q_t, c_t     = decoder(state_{t-1}, E_y y_{t-1}, m)    `decoder.py`, `attention.py`
    logits_t     = E_y tanh(W_r [q_t; c_t] + b_r) + b      E_y is the embedding's own matrix

The softmax is part of the loss. Logits are one product over all steps, after the
decoder's loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.common.networks import dropout, make_network, split_or_none
from experiments.common.settings import NetworkSettings
from experiments.machine_translation.attention import Memory, make_attention
from experiments.machine_translation.config import Config
from experiments.machine_translation.decoder import Decoder, DecoderParams, DecoderState
from experiments.machine_translation.subwords import vocabularies_of


class Params(NamedTuple):
    """The parameters, one field a part."""

    source_embedding: Any
    encoder: Any
    bridge: Any
    target_embedding: Any  # the readout's last matrix, too
    decoder: Any
    readout: Any
    b: jax.Array  # [V]


@dataclass(frozen=True)
class Model:
    """A translator as pure functions; equal ones share what is compiled."""

    config: Config
    source_size: int  # how many source tokens there are
    target_size: int  # V, how many target tokens there are

    def init(self, key: jax.Array) -> Params:
        """Draw the parameters."""
        config, memory_size = self.config, self._memory_size
        keys = jax.random.split(key, 6)
        no_tokens = jnp.zeros((0,), jnp.int32)
        decoder = self._decoder.init(keys[0], config.embedding_size, memory_size)
        read = config.decoder_size + self._decoder.context_size
        return Params(
            source_embedding=self._embed_source.init(keys[1], no_tokens),
            encoder=self._encoder.init(keys[2], config.embedding_size),
            bridge=self._bridge(decoder).init(keys[3], jnp.zeros((0, memory_size))),
            target_embedding=self._embed_target.init(keys[4], no_tokens),
            decoder=decoder,
            readout=self._readout.init(keys[5], jnp.zeros((0, read))),
            b=jnp.zeros(self.target_size),
        )

    def encode(
        self, params: Params, source: jax.Array, lengths: jax.Array, key: jax.Array | None = None
    ) -> tuple[Memory | None, DecoderState]:
        """Read source tokens `[S, B]`, of which each row has `lengths [B]`.

        A key turns dropout on. Gives what the decoder attends to and begins with.
        """
        config, attention, keys = self.config, self._decoder.attention, split_or_none(key, 3)
        x = self._embed_source.apply(params.source_embedding, source)
        x = dropout(x, config.embedding_dropout, keys[0])
        _, y = self._encoder.apply(params.encoder, x, lengths=lengths, key=keys[1])
        ends = _both_ends(y, lengths, config)
        flat = jnp.tanh(self._bridge(params.decoder).apply(params.bridge, ends))
        y = dropout(y, config.dropout, keys[2])
        memory = attention and attention.remember(params.decoder.attention, y, lengths)
        return memory, self._decoder.first_state(params.decoder, flat)

    def apply(
        self,
        params: Params,
        source: jax.Array,
        lengths: jax.Array,
        target: jax.Array,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Give the logits `[T, B, V]` of what follows each target token, and the attention.

        Of source tokens, int32 `[S, B]`, each row has `lengths [B]`; of target tokens, int32
        `[T, B]`, all are read. A key turns dropout on. The attention's weights are `[T, B, S]`.
        """
        decoder, keys = self._decoder, split_or_none(key, 4)
        memory, state = self.encode(params, source, lengths, keys[0])
        x = self._embed_target.apply(params.target_embedding, target)
        x = dropout(x, self.config.embedding_dropout, keys[1])
        steps = decoder.run(params.decoder, memory, state, x, keys[2])
        return self._read_out(params, steps.outputs, steps.contexts, keys[3]), steps.weights

    def step(
        self, params: Params, memory: Memory | None, state: DecoderState, tokens: jax.Array
    ) -> tuple[DecoderState, jax.Array]:
        """Read one target token a row `[*B]`: the next state and the logits `[*B, V]`."""
        x = self._embed_target.apply(params.target_embedding, tokens)
        state, q, _ = self._decoder.step(params.decoder, memory, state, x, None)
        return state, self._read_out(params, q, state.context, None)

    def _read_out(
        self, params: Params, q: jax.Array, context: jax.Array, key: jax.Array | None
    ) -> jax.Array:
        h = jnp.tanh(self._readout.apply(params.readout, jnp.concatenate([q, context], axis=-1)))
        h = dropout(h, self.config.readout_dropout, key)
        logits = self._embed_target.apply(params.target_embedding, h, method="attend")
        return logits + jax.lax.broadcast_to_rank(params.b, logits.ndim)

    @property
    def _memory_size(self) -> int:
        return self.config.encoder_size * (2 if self.config.bidirectional else 1)

    @property
    def _embed_source(self) -> Any:
        return nn.Embed(self.source_size, self.config.embedding_size)

    @property
    def _embed_target(self) -> Any:
        size = self.config.embedding_size
        return nn.Embed(self.target_size, size, embedding_init=nn.initializers.normal(size**-0.5))

    def _bridge(self, decoder: DecoderParams) -> Any:
        return nn.Dense(self._decoder.state_size(decoder))

    @property
    def _readout(self) -> Any:
        return nn.Dense(self.config.embedding_size)

    @cached_property
    def _encoder(self) -> drnn.DeepRNN:
        config = self.config
        layers, size = config.encoder_layers, config.encoder_size
        return _network(config, layers, size, bidirectional=config.bidirectional)

    @cached_property
    def _decoder(self) -> Decoder:
        config, attention = self.config, None
        if config.attention != "none":
            attention = make_attention(config.attention, config.decoder_size, config.context_size)
        rnn = _network(config, config.decoder_layers, config.decoder_size)
        return Decoder(rnn, attention, config.input_feeding and attention is not None)


def _network(config: Config, num_layers: int, size: int, **options: Any) -> drnn.DeepRNN:
    settings = NetworkSettings(config.cell, num_layers, size, dropout=config.dropout)
    return make_network(settings, **options)


def build(config: Config, facts: Mapping[str, Any]) -> Model:
    """Return the model of a config for the pieces of a run."""
    vocabularies = vocabularies_of(facts)
    return Model(config, len(vocabularies.source), len(vocabularies.target))


def _both_ends(y: jax.Array, lengths: jax.Array, config: Config) -> jax.Array:
    """Return where each direction ended `[B, M]`: forward at the last real step, backward at 0."""
    last = jnp.maximum(lengths - 1, 0)  # a row of length 0 has zeros there
    forward = jnp.take_along_axis(y, last[None, :, None], axis=0)[0]
    if not config.bidirectional:
        return forward
    size = config.encoder_size
    return jnp.concatenate([forward[:, :size], y[0, :, size:]], axis=-1)
