"""Attention: what a decoder reads of its source, as a mean weighted by how well it fits.

With q the decoder's output, m_s the encoder's output at source position s,

    score_s = q · k_s                     k_s = W_k m_s       Luong 2015, "general"
    score_s = v · tanh(W_q q + k_s)       k_s = W_k m_s       Bahdanau 2015
    α = softmax(score) over the real positions of the source
    context = Σ_s α_s u_s                 u_s = W_u m_s

`remember` computes k and u, which depend on the source alone, once a sentence; `attend`
is what is left for each target token. Two deviations from the papers: u is a projection of m
rather than m itself, which makes the decoder's input smaller; and with either score the
query is the decoder's output of this step, as in Luong, where Bahdanau takes that of the
step before.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class Memory(NamedTuple):
    """What a decoder attends to."""

    keys: jax.Array  # [B, S, Q] or, for Bahdanau's, [B, S, A]
    values: jax.Array  # [B, S, D]
    is_real: jax.Array  # bool [B, S]


class AttentionParams(NamedTuple):
    """The dense parts of an attention; the last two are None for Luong's."""

    keys: Any
    values: Any
    query: Any
    score: Any


class Attention(NamedTuple):
    """An attention as pure functions."""

    context_size: int  # D
    init: Any  # (key, memory_size) -> AttentionParams
    remember: Any  # (params, encoded [S, B, M], lengths [B]) -> Memory
    attend: Any  # (params, memory, queries [B, N, Q]) -> contexts [B, N, D], weights [B, N, S]


def make_attention(kind: str, query_size: int, context_size: int) -> Attention:
    """Return the attention of a kind.

    Args:
      kind: "luong" or "bahdanau".
      query_size: Q, of the decoder's outputs.
      context_size: D, of the contexts; also A, the hidden units of Bahdanau's score.
    """
    additive = kind == "bahdanau"
    keys: Any = nn.Dense(context_size if additive else query_size, use_bias=False)
    values: Any = nn.Dense(context_size, use_bias=False)
    query: Any = nn.Dense(context_size)
    score: Any = nn.Dense(1, use_bias=False)

    def init(key: jax.Array, memory_size: int) -> AttentionParams:
        parts = jax.random.split(key, 4)
        encoded, queries = jnp.zeros((0, memory_size)), jnp.zeros((0, query_size))
        return AttentionParams(
            keys=keys.init(parts[0], encoded),
            values=values.init(parts[1], encoded),
            query=query.init(parts[2], queries) if additive else None,
            score=score.init(parts[3], jnp.zeros((0, context_size))) if additive else None,
        )

    def remember(params: AttentionParams, encoded: jax.Array, lengths: jax.Array) -> Memory:
        encoded = jnp.swapaxes(encoded, 0, 1)
        is_real = jnp.arange(encoded.shape[1])[None] < lengths[:, None]
        k = keys.apply(params.keys, encoded)
        u = values.apply(params.values, encoded)
        return Memory(k, u, is_real)

    def attend(
        params: AttentionParams, memory: Memory, queries: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        if additive:
            projected = query.apply(params.query, queries)
            hidden = jnp.tanh(projected[:, :, None] + memory.keys[:, None])  # [B, N, S, A]
            scores = score.apply(params.score, hidden)[..., 0]
        else:
            scores = jnp.einsum("bnq,bsq->bns", queries, memory.keys)
        weights = masked_softmax(scores, memory.is_real[:, None])
        return jnp.einsum("bns,bsd->bnd", weights, memory.values), weights

    return Attention(context_size, init, remember, attend)


def masked_softmax(scores: jax.Array, is_real: jax.Array) -> jax.Array:
    """Return the softmax of scores `[..., S]` over what is real in S; exactly 0 elsewhere.

    `is_real`, bool, broadcasts to them. A row without anything real, of length 0, has zeros alone.
    """
    # `where` inside softmax alone would leave NaN, of 0 / 0, in rows of length 0.
    weights = jax.nn.softmax(jnp.where(is_real, scores, -1e30), axis=-1)
    return jnp.where(is_real, weights, 0.0)
