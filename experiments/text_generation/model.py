"""The language model: symbols in, logits of the next symbol out.

    x_t = E[symbol_t]            flax.linen.Embed
    y_t = deep_rnn(x_1 .. x_t)   deeprnn_jax
    logits_t = W y_t + b         flax.linen.Dense, or E itself where tied

The softmax is part of the loss.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from experiments.common.networks import dropout, make_network, split_or_none
from experiments.text_generation.config import Config

State = Any  # the recurrent network's state, a pytree


class Params(NamedTuple):
    """The parameters, one field a part."""

    embedding: Any
    rnn: Any
    readout: Any  # None where it is tied to the embedding


class Model(NamedTuple):
    """A language model as pure functions, as the network inside it is.

    With a key, dropout is on.
    """

    init: Callable[[jax.Array], Params]
    initial_state: Any  # (params, batch_size) -> state
    apply: Any  # (params, symbols [T, B], state, key=None) -> (state, logits [T, B, V])
    step: Any  # (params, symbols [B], state) -> (state, logits [B, V]), numbers of `apply`


def build(config: Config, facts: Mapping[str, Any]) -> Model:
    """Return the model of a config for the symbols of a vocabulary."""
    vocab_size, dtype = len(facts["vocabulary"]), jnp.dtype(config.compute_dtype)
    # With flax's own scale, about 0.1, the gates first hear next to nothing of the input:
    # on pydoc 800 steps of 16 x 20 came to 2.36 bits, and with ones to 2.06. Tied to the
    # readout it would make the first logits too large.
    small = config.embedding_size**-0.5
    scale = config.embedding_scale or (small if config.tied_embeddings else 1.0)
    embed: Any = nn.Embed(
        vocab_size,
        config.embedding_size,
        dtype=dtype,
        embedding_init=nn.initializers.normal(scale),
    )
    dense: Any = nn.Dense(vocab_size, dtype=dtype)
    # A tied readout multiplies by the embedding, so it needs vectors of its size.
    projected = config.tied_embeddings and config.embedding_size != config.hidden_size
    rnn = make_network(config, output_size=config.embedding_size if projected else None)

    def init(key: jax.Array) -> Params:
        embed_key, rnn_key, dense_key = jax.random.split(key, 3)
        readout = None
        if not config.tied_embeddings:
            readout = dense.init(dense_key, jnp.zeros((0, config.hidden_size)))
        params = Params(
            embedding=embed.init(embed_key, jnp.zeros((0,), jnp.int32)),
            rnn=rnn.init(rnn_key, config.embedding_size),
            readout=readout,
        )
        most = config.init_scale
        if most is None:
            return params
        drawn = optax.tree.random_like(
            key, params, lambda k, shape, dtype: jax.random.uniform(k, shape, dtype, -most, most)
        )
        return cast(Params, drawn)

    def initial_state(params: Params, batch_size: int) -> State:
        return rnn.initial_state(params.rnn, batch_size)

    def read_out(params: Params, y: jax.Array) -> jax.Array:
        if config.tied_embeddings:
            logits = embed.apply(params.embedding, y, method="attend")
        else:
            logits = dense.apply(params.readout, y)
        return logits.astype(jnp.float32)  # the loss is taken in float32

    def apply(
        params: Params, symbols: jax.Array, state: State, key: jax.Array | None = None
    ) -> tuple[State, jax.Array]:
        keys = split_or_none(key, 3)
        x = dropout(embed.apply(params.embedding, symbols), config.embedding_dropout, keys[0])
        state, y = rnn.apply(params.rnn, x, state, key=keys[1], schedule=config.schedule)
        return state, read_out(params, dropout(y, config.dropout, keys[2]))

    def step(params: Params, symbols: jax.Array, state: State) -> tuple[State, jax.Array]:
        state, y = rnn.step(params.rnn, state, embed.apply(params.embedding, symbols))
        return state, read_out(params, y)

    return Model(init, initial_state, apply, step)
