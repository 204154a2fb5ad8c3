"""Translating: a beam search over the decoder's steps, sentences of like length together.

First what is about ids, then a trained model at work on lines.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.decoding import beam_search, gnmt_penalty
from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.machine_translation.batches import Batch, Bucket, pack, pad
from experiments.machine_translation.lines import Pairs
from experiments.machine_translation.model import Model, Params
from experiments.machine_translation.subwords import (
    END,
    START,
    Encoded,
    Ids,
    Vocabularies,
    vocabularies_of,
)

MOST_PIECES = 2_000  # of a line; a sentence of the corpora has some 50 at most
_MOST_TOKENS = 16_384  # of the sources of one batch: lines that are very long stand apart
TranslateFn = Callable[[Any, Any, Any], tuple[Any, Any]]  # `translate_batch` of a model


@partial(jax.jit, static_argnames=("model", "greedy"))
def translate_batch(
    model: Model, greedy: bool, params: Params, source: jax.Array, lengths: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Translate a batch.

    Args:
      model: the translator; its config has the beam's size, and the penalty for length.
      greedy: with a beam of one instead, which has no penalty.
      params: the model's.
      source: int32 `[S, B]`.
      lengths: int32 `[B]`, the real tokens of each row.

    Returns:
      The best hypothesis of each row, int32 `[B, max_steps]`, and how many tokens it has
      before END, `[B]`: at most 1.5 S + 10.
    """
    config = model.config
    beam_size, penalty = (1, 0.0) if greedy else (config.beam_size, config.length_penalty)
    # The memory is closed over: all hypotheses of a row share it.
    memory, state = model.encode(params, source, lengths)
    best = beam_search(
        lambda state, tokens: model.step(params, memory, state, tokens),
        state,
        jnp.full(lengths.shape, START),
        end_token=END,
        beam_size=beam_size,
        max_steps=source.shape[0] * 3 // 2 + 10,
        num_results=1,
        length_penalty=gnmt_penalty(penalty),
    )
    ended = best.finished[:, 0].astype(jnp.int32)
    return best.tokens[:, 0], best.lengths[:, 0] - ended


def translate_ids(
    translate: TranslateFn, params: Any, sources: Sequence[Ids], batch_size: int, padding: int
) -> list[Ids]:
    """Translate sentences; an empty one becomes an empty one.

    Args:
      translate: (params, source `[S, B]`, lengths `[B]`) -> (tokens `[B, N]`, lengths `[B]`).
      params: the model's.
      sources: ids `[N]` of each.
      batch_size: how many are translated side by side, of lines that are very long fewer.
      padding: lengths are rounded up to a multiple of it, so that few shapes are compiled.

    Returns:
      For each, in their order, its translation's ids, without END.
    """
    found = [np.zeros(0, np.int32)] * len(sources)
    order = sorted((i for i, ids in enumerate(sources) if len(ids)), key=lambda i: len(sources[i]))
    batch_size = min(batch_size, len(order))
    while order:
        padded = [_rounded_up(len(sources[i]), padding) for i in order[:batch_size]]
        # The first ones that fit side by side; one does in any case.
        fit = [n for n, length in enumerate(padded, 1) if n * length <= _MOST_TOKENS]
        number = max(fit, default=1)
        rows, order, longest = order[:number], order[number:], padded[number - 1]
        # The same size wherever it can be, so that it is compiled once a length.
        size = batch_size if batch_size * longest <= _MOST_TOKENS else number
        chosen = [sources[i] for i in rows] + [np.zeros(0, np.int32)] * (size - len(rows))
        lengths = np.array([len(ids) for ids in chosen], np.int32)
        tokens, counts = jax.device_get(translate(params, pad(chosen, longest), lengths))
        for row, i in enumerate(rows):
            found[i] = tokens[row, : counts[row]]
    return found


def _rounded_up(length: int, multiple_of: int) -> int:
    return -(-length // multiple_of) * multiple_of


@partial(jax.jit, static_argnames="model")
def _align(model: Model, params: Params, batch: Batch) -> jax.Array:
    """Return what each step of a batch attends to, weights `[T, B, S]`."""
    return model.apply(params, batch.source, batch.source_lengths, batch.target)[1]


def attention_weights(model: Model, params: Params, source: Ids, target: Ids) -> np.ndarray:
    """Return the attention over a source while a target is read, `[T + 1, S]`.

    Row t is what token t was written by, the last one END. Without attention S is 0.
    """
    padding = model.config.eval_padding
    lengths = _rounded_up(len(source), padding), _rounded_up(len(target) + 1, padding)
    batch = pack(Encoded([source], [target]), Bucket(np.arange(1), *lengths), 1)
    return np.asarray(_align(model, params, batch))[: len(target) + 1, 0, : len(source)]


def translate_pieces(
    model: Model, params: Params, pieces: Vocabularies, sources: Sequence[Ids], *, greedy: bool
) -> list[str]:
    """Return the translations of lines in pieces, by greedy or by beam search."""
    config = model.config
    translate = partial(translate_batch, model, greedy or config.beam_size == 1)
    found = translate_ids(translate, params, sources, config.eval_batch_size, config.eval_padding)
    return [pieces.target.decode(ids) for ids in found]


def translate_lines(trained: Trained, lines: Sequence[str], *, greedy: bool = False) -> list[str]:
    """Translate lines; an empty one becomes an empty one.

    A character that the training text lacks is read as unknown; see `Subwords.unseen`.

    Raises:
      InputError: a line has more than `MOST_PIECES`.
    """
    vocabularies = vocabularies_of(trained.facts)
    sources = vocabularies.encode(Pairs([*lines], []), trained.config.reverse_source).sources
    for number, ids in enumerate(sources, 1):
        if len(ids) > MOST_PIECES:
            raise InputError(
                f"translate_lines: line {number:,} has {len(ids):,} pieces, a line may have "
                f"{MOST_PIECES:,}; write a sentence a line"
            )
    return translate_pieces(trained.model, trained.params, vocabularies, sources, greedy=greedy)


class Alignment(NamedTuple):
    """What the decoder attended to while it wrote a line."""

    source: list[str]  # pieces, in the line's own order
    target: list[str]  # pieces, the last one the end
    weights: np.ndarray  # [target, source]


def align_line(trained: Trained, line: str, translation: str) -> Alignment | None:
    """Return the attention while a line is translated so, or None without any, or words.

    The translation is read again, cut into pieces anew, which is nearly always how it
    was written.
    """
    config, vocabularies = trained.config, vocabularies_of(trained.facts)
    source, target = vocabularies.source.encode(line), vocabularies.target.encode(translation)
    if config.attention == "none" or not len(source):
        return None
    order = slice(None, None, -1 if config.reverse_source else 1)
    weights = attention_weights(trained.model, trained.params, source[order], target)
    pieces = [*vocabularies.target.pieces(target), "(end)"]
    return Alignment(vocabularies.source.pieces(source), pieces, weights[:, order])
