"""From a trained model to texts: the best path, or the prefix beam with a language model."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from deeprnn_jax.decoding import ctc_greedy, ctc_prefix_beam
from experiments.speech_recognition.alphabet import BLANK, Alphabet
from experiments.speech_recognition.batches import in_order_of_length
from experiments.speech_recognition.features import Frames
from experiments.speech_recognition.model import Model, ModelParams
from experiments.speech_recognition.ngrams import Automaton


class Outputs(NamedTuple):
    """The logits of N utterances."""

    logits: NDArray[np.float32]  # [T, N, V], 0 in the padding
    lengths: NDArray[np.int32]  # [N], the real steps


class Fusion(NamedTuple):
    """How much a language model has to say in the beam search."""

    weight: float  # of its log-probabilities
    bonus: float  # what each character adds, for a language model prefers short texts


DecodeFn = Callable[[Outputs], list[str]]  # the text of each utterance


def run(
    model: Model,
    params: ModelParams,
    frames: Sequence[Frames],
    padded: Sequence[int],
    batch_size: int,
) -> Outputs:
    """Run a model over utterances, without dropout.

    Args:
      model: the model; it is compiled for each length that is met.
      params: the parameters.
      frames: N of `[T, F]`, normalised.
      padded: lengths to pad to, multiples of the frames that a step reads.
      batch_size: B, how many to run side by side.
    """
    shape = (padded[-1] // model.config.stack, len(frames), model.num_labels)
    logits, lengths = np.zeros(shape, np.float32), np.zeros(len(frames), np.int32)
    for rows, batch in in_order_of_length(frames, padded, batch_size):
        found, steps = jax.device_get(_apply(model, params, batch.frames, batch.num_frames))
        logits[: len(found), rows] = found[:, : len(rows)]
        lengths[rows] = steps[: len(rows)]
    return Outputs(logits, lengths)


@partial(jax.jit, static_argnums=0)
def _apply(model: Model, params: ModelParams, frames: Any, num_frames: Any) -> Any:
    return model.apply(params, frames, num_frames)


def greedy(outputs: Outputs, alphabet: Alphabet, batch_size: int) -> list[str]:
    """Return the text of each utterance's most probable alignment.

    Args:
      outputs: of N utterances.
      alphabet: what labels mean.
      batch_size: how many to decode side by side.
    """
    best = (_best_path(*part).labels for part in _in_parts(outputs, batch_size))
    return _texts(best, alphabet, outputs)


_best_path = jax.jit(partial(ctc_greedy, blank=BLANK))


class BeamSearch(NamedTuple):
    """Prefix beam search; those of the same sizes are compiled once."""

    alphabet: Alphabet  # what labels mean
    beam_size: int  # how many prefixes are kept
    batch_size: int  # how many utterances are decoded side by side
    language_model: Automaton | None = None  # over the labels, where one has a say

    def __call__(self, outputs: Outputs, fusion: Fusion = Fusion(0.0, 0.0)) -> list[str]:
        """Return the best text of each utterance."""
        weights = map(np.float32, fusion)
        search = partial(_search, self.beam_size, self.language_model, *weights)
        best = (search(*part) for part in _in_parts(outputs, self.batch_size))
        return _texts(best, self.alphabet, outputs)


@partial(jax.jit, static_argnums=0)
def _search(
    beam_size: int,
    tables: Automaton | None,
    weight: jax.Array,
    bonus: jax.Array,
    logits: jax.Array,
    lengths: jax.Array,
) -> jax.Array:
    best = ctc_prefix_beam(
        logits,
        lengths,
        beam_size=beam_size,
        blank=BLANK,
        language_model=None if tables is None else tables.language_model(len(lengths), weight),
        insertion_bonus=bonus,
    )
    return best.labels[:, 0]


def _in_parts(outputs: Outputs, batch_size: int) -> Iterator[Outputs]:
    """Yield utterances so many at a time; a single one is left alone.

    The last ones are filled up to as many, so that every part of a corpus runs the same
    compiled search.
    """
    count = len(outputs.lengths)
    rows = 1 if count == 1 else batch_size
    missing = -count % rows
    logits = np.pad(outputs.logits, ((0, 0), (0, missing), (0, 0)))
    lengths = np.pad(outputs.lengths, (0, missing))
    for start in range(0, count, rows):
        part = slice(start, start + rows)
        yield Outputs(logits[:, part], lengths[part])


def _texts(parts: Iterator[jax.Array], alphabet: Alphabet, outputs: Outputs) -> list[str]:
    """Return the texts of all parts' labels, without what they were filled up with."""
    rows = (row for labels in parts for row in np.asarray(labels))
    return [alphabet.decode(row) for row, _ in zip(rows, outputs.lengths, strict=False)]
