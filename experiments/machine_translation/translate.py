"""Translating: a beam search over the decoder's steps, sentences of like length together."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.decoding import beam_search, gnmt_penalty
from experiments.machine_translation.batches import Batch, Bucket, pack, pad
from experiments.machine_translation.config import Config
from experiments.machine_translation.model import Translator
from experiments.machine_translation.subwords import END, START, Encoded, Ids

# Sources are padded to a multiple of this, so that few shapes are compiled.
_LENGTH_STEP = 16
_MOST_TOKENS = 16_384  # of the sources of one batch: lines that are very long stand apart

# (params, source [S, B], lengths [B]) -> (tokens, lengths), as `translate_batch` of a model
TranslateFn = Callable[[Any, Any, Any], tuple[jax.Array, jax.Array]]


class Search(NamedTuple):
    """How a translation is looked for."""

    beam_size: int = 5
    length_penalty: float = 0.6


GREEDY = Search(beam_size=1, length_penalty=0.0)


def search_of(config: Config) -> Search:
    """Return how a config's translations are looked for; a beam of one is greedy."""
    return GREEDY if config.beam_size == 1 else Search(config.beam_size, config.length_penalty)


@partial(jax.jit, static_argnames=("model", "search"))
def translate_batch(
    model: Translator, search: Search, params: Any, source: jax.Array, lengths: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Translate a batch.

    Args:
      model: the translator.
      search: how the translations are looked for.
      params: the parameters.
      source: int32 `[S, B]`.
      lengths: int32 `[B]`, the real tokens of each row.

    Returns:
      The best hypothesis of each row, int32 `[B, max_steps]`, and how many tokens it has
      before END, `[B]`: at most 1.5 S + 10.
    """
    # The memory is closed over: all hypotheses of a row share it.
    memory, state = model.encode(params, source, lengths)
    best = beam_search(
        lambda state, tokens: model.step(params, memory, state, tokens),
        state,
        jnp.full(lengths.shape, START),
        end_token=END,
        beam_size=search.beam_size,
        max_steps=source.shape[0] * 3 // 2 + 10,
        num_results=1,
        length_penalty=gnmt_penalty(search.length_penalty),
    )
    ended = best.finished[:, 0].astype(jnp.int32)
    return best.tokens[:, 0], best.lengths[:, 0] - ended


def translate_ids(
    translate: TranslateFn, params: Any, sources: Sequence[Ids], batch_size: int
) -> list[Ids]:
    """Translate sentences; an empty one becomes an empty one.

    Args:
      translate: `translate_batch` of a model and a search.
      params: the parameters.
      sources: ids `[N]` of each.
      batch_size: how many are translated side by side, of lines that are very long fewer.

    Returns:
      For each, in their order, its translation's ids, without END.
    """
    found = [np.zeros(0, np.int32)] * len(sources)
    order = sorted((i for i, ids in enumerate(sources) if len(ids)), key=lambda i: len(sources[i]))
    batch_size = min(batch_size, len(order))
    while order:
        number = _how_many([len(sources[i]) for i in order[:batch_size]])
        rows, order = order[:number], order[number:]
        longest = _padded(len(sources[rows[-1]]))
        # The same size wherever it can be, so that it is compiled once a length.
        size = batch_size if batch_size * longest <= _MOST_TOKENS else number
        chosen = [sources[i] for i in rows] + [np.zeros(0, np.int32)] * (size - len(rows))
        lengths = np.array([len(ids) for ids in chosen], np.int32)
        tokens, counts = jax.device_get(translate(params, pad(chosen, longest), lengths))
        for row, i in enumerate(rows):
            found[i] = tokens[row, : counts[row]]
    return found


def _how_many(lengths: Sequence[int]) -> int:
    """Return how many of the next sources, the shortest first, fit side by side; one does."""
    fit = [n for n, length in enumerate(lengths, 1) if n * _padded(length) <= _MOST_TOKENS]
    return max(fit, default=1)


def _padded(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP


@partial(jax.jit, static_argnames="model")
def align(model: Translator, params: Any, batch: Batch) -> jax.Array:
    """Return what each step of a batch attends to, weights `[T, B, S]`."""
    return model.apply(params, batch.source, batch.source_lengths, batch.target)[1]


def attention_weights(model: Translator, params: Any, source: Ids, target: Ids) -> np.ndarray:
    """Return the attention over a source while a target is read, `[T + 1, S]`.

    Row t is what token t was written by, the last one END. Without attention S is 0.
    """
    shape = Bucket(np.arange(1), _padded(len(source)), _padded(len(target) + 1))
    batch = pack(Encoded([source], [target]), [0], shape, 1)
    return np.asarray(align(model, params, batch))[: len(target) + 1, 0, : len(source)]
