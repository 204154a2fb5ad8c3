"""Text as ids, read on and on by streams, and the learner of the next character."""

import dataclasses
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import deeprnn_jax as drnn
from experiments.depth.network import as_input
from experiments.depth.train import Learner
from experiments.text_generation.config import Config
from experiments.text_generation.data import Data, Ids, load
from experiments.text_generation.ngram import witten_bell

Params = Any


class Window(NamedTuple):
    """Pieces of text side by side."""

    x: Any  # int32 [T, B]
    labels: Any  # int32 [T, B], the characters that follow


def load_text(data: str, data_dir: str | None) -> Data:
    """Return a text: `pydoc`, which comes with Python, or what `text_generation` knows.

    Raises:
      InputError: it cannot be had.
    """
    return load(dataclasses.replace(Config(), data=data, data_dir=data_dir))


def places(size: int, rows: int, length: int) -> Ids:
    """Return the places `[length, rows]` of pieces that are spread evenly over a text."""
    starts = np.linspace(0, size - length, rows).astype(np.int32)
    return starts[None, :] + np.arange(length, dtype=np.int32)[:, None]


def windows(ids: Ids, rows: int, length: int) -> Window:
    """Cut rows of so many steps, evenly spread, from a text."""
    whole = ids[places(len(ids), rows, length + 1)]
    return Window(whole[:-1], whole[1:])


def pair_nats(data: Data, rows: int, length: int) -> float:
    """Return the nats a character of a table of pairs, on the labels of `windows(data.valid)`.

    Such a table knows of all characters before the last one alone: the Witten-Bell model of
    order 2 of the training text.
    """
    p = witten_bell(data.train, data.valid, 2, len(data.vocabulary))[1]
    labels = places(len(data.valid), rows, length + 1)[1:]
    return float(-np.log(p[labels]).mean())


def nats_of(rnn: drnn.DeepRNN, vocab_size: int, params: Params, window: Window) -> jax.Array:
    """Return the mean nats a character, from the initial state."""
    _, logits = rnn.apply(params, as_input(jnp.asarray(window.x), vocab_size))
    labels = jnp.asarray(window.labels)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@cache
def next_character(rnn: drnn.DeepRNN, vocab_size: int, batch_size: int, length: int) -> Learner:
    """Return the learner of the next character, by truncated backpropagation through time.

    Each member's streams begin at places of its own and are read on by `length` characters a
    step; after the text's end comes its start.

    Args:
      rnn: reads V one-hot features, and has V outputs.
      vocab_size: V.
      batch_size: B, the streams.
      length: T, the characters of a step.
    """

    def batch_at(ids: jax.Array, step: jax.Array, key: jax.Array) -> Window:
        starts = jax.random.randint(key, (batch_size,), 0, len(ids)) + step * length
        whole = ids[(starts[None, :] + jnp.arange(length + 1)[:, None]) % len(ids)]
        return Window(whole[:-1], whole[1:])

    def loss(params: Params, batch: Window, state: Any) -> tuple[jax.Array, Any]:
        state, logits = rnn.apply(params, as_input(batch.x, vocab_size), state)
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
        return nats.mean(), state

    return Learner(
        init=lambda key: rnn.init(key, vocab_size),
        first=lambda params: rnn.initial_state(params, batch_size),
        batch_at=batch_at,
        loss=loss,
    )
