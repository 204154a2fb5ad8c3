"""The translator: a deep bidirectional encoder, attention, a deep decoder fed by it.

    m_1 .. m_S   = encoder(E_x x_1 .. E_x x_S)             deeprnn_jax
    state_0      = tanh(W_0 [m at both ends] + b_0)        flax.linen.Dense
    q_t, c_t     = decoder(state_{t-1}, E_y y_{t-1}, m)    `decoder.py`, `attention.py`
    logits_t     = E_y tanh(W_r [q_t; c_t] + b_r) + b      E_y is the embedding's own matrix

The softmax is part of the loss. Logits are one product over all steps, after the
decoder's loop.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.common.networks import dropout, make_cell
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


class Translator(NamedTuple):
    """A model as pure functions. `[S, B]` source and `[T, B]` target tokens, int32."""

    init: Any  # (key) -> ModelParams
    encode: Any  # (params, source [S, B], lengths [B], key=None) -> (Memory, DecoderState)
    apply: Any  # (params, source, lengths, target [T, B], key=None) -> (logits, weights)
    step: Any  # (params, memory, state, tokens [*B]) -> (state, logits [*B, V])


@lru_cache(maxsize=16)  # equal models have the same functions, which are compiled once
def make_translator(config: Config, source_size: int, target_size: int) -> Translator:
    """Return the model of a config.

    Args:
      config: the settings.
      source_size: how many source tokens there are.
      target_size: V, how many target tokens there are.

    Returns:
      `apply` gives, for the target tokens that it reads, the logits `[T, B, V]` of what
      follows each, and the attention's weights `[T, B, S]`. A key turns dropout on.
    """
    encoder = drnn.deep_rnn(
        make_cell(config.cell, config.encoder_size),
        config.encoder_layers,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
    )
    memory_size = config.encoder_size * (2 if config.bidirectional else 1)
    context_size = 0 if config.attention == "none" else config.context_size
    decoder = _decoder(config, context_size)
    small = nn.initializers.normal(config.embedding_size**-0.5)
    embed_source: Any = nn.Embed(source_size, config.embedding_size)
    embed_target: Any = nn.Embed(target_size, config.embedding_size, embedding_init=small)
    readout: Any = nn.Dense(config.embedding_size)

    def init(key: jax.Array) -> ModelParams:
        keys = jax.random.split(key, 6)
        no_tokens = jnp.zeros((0,), jnp.int32)
        decoder_params = decoder.init(keys[0], config.embedding_size, memory_size)
        bridge = nn.Dense(decoder.state_size(decoder_params))
        return ModelParams(
            source_embedding=embed_source.init(keys[1], no_tokens),
            encoder=encoder.init(keys[2], config.embedding_size),
            bridge=bridge.init(keys[3], jnp.zeros((0, memory_size))),
            target_embedding=embed_target.init(keys[4], no_tokens),
            decoder=decoder_params,
            readout=readout.init(keys[5], jnp.zeros((0, config.decoder_size + context_size))),
            b=jnp.zeros(target_size),
        )

    def encode(
        params: ModelParams, source: jax.Array, lengths: jax.Array, key: jax.Array | None = None
    ) -> tuple[Memory, DecoderState]:
        keys = _keys(key, 3)
        x = embed_source.apply(params.source_embedding, source)
        x = dropout(x, config.embedding_dropout, keys[0])
        _, y = encoder.apply(params.encoder, x, lengths=lengths, key=keys[1])
        bridge: Any = nn.Dense(decoder.state_size(params.decoder))
        flat = jnp.tanh(bridge.apply(params.bridge, _both_ends(y, lengths, config)))
        y = dropout(y, config.dropout, keys[2])
        memory = decoder.remember(params.decoder, y, lengths)
        return memory, decoder.first_state(params.decoder, flat)

    def read_out(params: ModelParams, q: jax.Array, context: jax.Array, key: Any) -> jax.Array:
        h = jnp.tanh(readout.apply(params.readout, jnp.concatenate([q, context], axis=-1)))
        h = dropout(h, config.readout_dropout, key)
        logits = embed_target.apply(params.target_embedding, h, method="attend")
        return logits + jax.lax.broadcast_to_rank(params.b, logits.ndim)

    def apply(
        params: ModelParams,
        source: jax.Array,
        lengths: jax.Array,
        target: jax.Array,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        keys = _keys(key, 4)
        memory, state = encode(params, source, lengths, keys[0])
        x = embed_target.apply(params.target_embedding, target)
        x = dropout(x, config.embedding_dropout, keys[1])
        steps = decoder.run(params.decoder, memory, state, x, keys[2])
        return read_out(params, steps.outputs, steps.contexts, keys[3]), steps.weights

    def step(
        params: ModelParams, memory: Memory, state: DecoderState, tokens: jax.Array
    ) -> tuple[DecoderState, jax.Array]:
        x = embed_target.apply(params.target_embedding, tokens)
        state, q = decoder.step(params.decoder, memory, state, x)
        return state, read_out(params, q, state.context, None)

    return Translator(init, encode, apply, step)


def _decoder(config: Config, context_size: int) -> Decoder:
    rnn = drnn.deep_rnn(
        make_cell(config.cell, config.decoder_size), config.decoder_layers, dropout=config.dropout
    )
    attention = make_attention(config.attention, config.decoder_size, context_size)
    return make_decoder(rnn, attention, context_size, config.input_feeding and context_size > 0)


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
