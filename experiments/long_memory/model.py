"""The network: symbols or numbers in, classes or a number out.

x_t = E[symbol_t], or W x_t + b
y_t = deep_rnn(x_1 .. x_t)            layers of the cell, or residual blocks of it
answer = W_o y_t + b_o                of blocks, the norm of y_t; tied, by E
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.common.networks import dropout, split_or_none
from experiments.common.updates import num_parameters
from experiments.long_memory.cells import CELLS
from experiments.long_memory.config import Config
from experiments.long_memory.widths import Widths, equal_widths


class Params(NamedTuple):
    """The parameters, one field a part; None where there is no such part."""

    embedding: Any  # [V, E], the table of the symbols' vectors
    linear: Any  # of numbers
    rnn: Any
    norm: Any  # [D], of blocks
    readout: Any


class Model(NamedTuple):
    """A network as two pure functions; with a key, dropout is on."""

    init: Callable[[jax.Array], Params]
    apply: Callable[..., jax.Array]  # (params, x, at, key=None) -> answers [K, B, C]
    widths: Widths


class Linear(NamedTuple):
    """A linear map."""

    w: jax.Array  # [I, O]
    b: jax.Array | None  # [O]


def build(config: Config, facts: Mapping[str, Any]) -> Model:
    """Return the network of a config, as wide as its number of parameters says.

    `apply` reads symbols `[T, B]` or numbers `[T, B, I]`; `at` tells of which steps the answers
    are, as `[K, B]` or as a number: the last K.
    """
    return make_model(config, facts, widths_of(config, facts))


def widths_of(config: Config, facts: Mapping[str, Any]) -> Widths:
    """Return the widths that give a config's network its number of parameters."""

    def count(widths: Widths) -> int:
        model = make_model(config, facts, widths)
        shapes = jax.eval_shape(model.init, jax.random.key(0))
        return num_parameters(shapes._replace(embedding=None))

    plain, kind = config.architecture == "plain", CELLS[config.cell]
    filler_of = (lambda hidden: config.embedding_size) if plain else (lambda hidden: hidden)
    return equal_widths(count, config.parameters, kind.multiple, filler_of)


def make_network(config: Config, widths: Widths) -> drnn.DeepRNN:
    """Return the deep network: plain layers of the cell, or residual blocks."""
    cell = CELLS[config.cell].make(widths.hidden, config.length)
    if config.architecture == "plain":
        rate = config.dropout if config.num_layers > 1 else 0.0
        return drnn.deep_rnn(cell, config.num_layers, dropout=rate)
    block = drnn.residual_block(
        drnn.causal_conv(cell, config.conv_width) if config.conv_width > 1 else cell,
        widths.hidden,
        feed_forward_size=widths.filler,
        dropout=config.dropout,
        num_blocks=config.num_layers,
    )
    return drnn.deep_rnn(block, config.num_layers)


def make_model(config: Config, facts: Mapping[str, Any], widths: Widths) -> Model:
    """Return the network of some widths."""
    rnn, hidden, num_answers = make_network(config, widths), widths.hidden, facts["num_answers"]
    plain = config.architecture == "plain"
    input_size = widths.filler if plain else hidden
    tied = config.tied_embeddings and facts["num_symbols"] is not None

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 3)
        embedding = linear = readout = None
        if facts["num_symbols"] is not None:
            # Read out by the table, too, vectors of length one give logits of about one.
            scale = input_size**-0.5 if tied else 1.0
            embedding = scale * jax.random.normal(keys[0], (facts["num_symbols"], input_size))
        else:
            linear = draw_linear(keys[0], facts["num_features"], input_size)
        if not tied:
            readout = draw_linear(keys[2], hidden, num_answers)
        elif plain:
            readout = draw_linear(keys[2], hidden, input_size)._replace(b=None)
        norm = None if plain else jnp.ones(hidden)
        return Params(embedding, linear, rnn.init(keys[1], input_size), norm, readout)

    def apply(params: Params, x: jax.Array, at: Any, key: jax.Array | None = None) -> jax.Array:
        keys = split_or_none(key, 2)
        x = params.embedding[x] if params.linear is None else multiply(params.linear, x)
        _, y = rnn.apply(params.rnn, x, key=keys[0], schedule=config.schedule)
        y = jnp.mean(y, axis=0, keepdims=True) if config.mean_output else answered(y, at)
        if params.norm is not None:
            y = params.norm * y * jax.lax.rsqrt(jnp.mean(y**2, axis=-1, keepdims=True) + 1e-5)
        y = dropout(y, config.dropout, keys[1])
        y = y if params.readout is None else multiply(params.readout, y)
        return y @ params.embedding.T if tied else y

    return Model(init, apply, widths)


def answered(y: jax.Array, at: Any) -> jax.Array:
    """Return the outputs `[K, B, H]` of the steps that have an answer."""
    if isinstance(at, int):
        return y[len(y) - at :]
    return jnp.take_along_axis(y, at[..., None], axis=0)


def draw_linear(key: jax.Array, rows: int, columns: int) -> Linear:
    """Draw a linear map, of variance 1/rows, that adds zero at first."""
    w = jax.nn.initializers.lecun_normal()(key, (rows, columns))
    return Linear(w, jnp.zeros(columns))


def multiply(linear: Linear, x: jax.Array) -> jax.Array:
    """Apply a linear map."""
    y = x @ linear.w
    return y if linear.b is None else y + linear.b
