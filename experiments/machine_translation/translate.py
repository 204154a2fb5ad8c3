"""Translating: a beam search over the decoder's steps, sentences of like length together."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.decoding import beam_search, gnmt_penalty
from experiments.machine_translation.batches import Batch, Bucket, pack, pad
from experiments.machine_translation.config import Config
from experiments.machine_translation.decoder import STATE_AXES
from experiments.machine_translation.model import Translator
from experiments.machine_translation.subwords import END, START, Encoded, Ids

# Sources are padded to a multiple of this, so that few shapes are compiled.
_LENGTH_STEP = 16
_MOST_TOKENS = 16_384  # of the sources of one batch: lines that are very long stand apart

SearchFn = Callable[[Any, Any, Any], tuple[jax.Array, jax.Array]]


class Search(NamedTuple):
    """How a translation is looked for."""

    beam_size: int = 5
    length_penalty: float = 0.6


GREEDY = Search(beam_size=1, length_penalty=0.0)


def search_of(config: Config) -> Search:
    """Return how a config's translations are looked for; a beam of one is greedy."""
    return GREEDY if config.beam_size == 1 else Search(config.beam_size, config.length_penalty)


@lru_cache(maxsize=16)
def make_search(model: Translator, search: Search) -> SearchFn:
    """Return the compiled `(params, source [S, B], lengths [B]) -> (tokens, lengths)`.

    `tokens [B, max_steps]` are the best hypothesis of each row, and lengths `[B]` how many
    of them there are before END. A translation has at most 1.5 S + 10 tokens.
    """

    @jax.jit
    def find(params: Any, source: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
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
            state_axes=STATE_AXES,
        )
        ended = best.finished[:, 0].astype(jnp.int32)
        return best.tokens[:, 0], best.lengths[:, 0] - ended

    return find


def translate_ids(
    find: SearchFn, params: Any, sources: Sequence[Ids], batch_size: int
) -> list[Ids]:
    """Translate sentences; an empty one becomes an empty one.

    Args:
      find: what `make_search` gave.
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
        tokens, counts = jax.device_get(find(params, pad(chosen, longest), lengths))
        for row, i in enumerate(rows):
            found[i] = tokens[row, : counts[row]]
    return found


def _how_many(lengths: Sequence[int]) -> int:
    """Return how many of the next sources, the shortest first, fit side by side; one does."""
    fit = [n for n, length in enumerate(lengths, 1) if n * _padded(length) <= _MOST_TOKENS]
    return max(fit, default=1)


def _padded(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP


@lru_cache(maxsize=16)
def make_align(model: Translator) -> Callable[[Any, Batch], jax.Array]:
    """Return the compiled `(params, batch) -> weights [T, B, S]`: what each step attends to."""

    @jax.jit
    def align(params: Any, batch: Batch) -> jax.Array:
        return model.apply(params, batch.source, batch.source_lengths, batch.target)[1]

    return align


def attention_weights(
    align: Callable[[Any, Batch], jax.Array], params: Any, source: Ids, target: Ids
) -> np.ndarray:
    """Return the attention over a source while a target is read, `[T + 1, S]`.

    Row t is what token t was written by, the last one END. Without attention S is 0.
    """
    shape = Bucket(np.arange(1), _padded(len(source)), _padded(len(target) + 1))
    batch = pack(Encoded([source], [target]), [0], shape, 1)
    return np.asarray(align(params, batch))[: len(target) + 1, 0, : len(source)]
