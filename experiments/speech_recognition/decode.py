"""From a trained model to texts: the best path, or the prefix beam with a language model."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from deeprnn_jax.decoding import ctc_greedy, ctc_prefix_beam
from experiments.speech_recognition.alphabet import BLANK, Alphabet
from experiments.speech_recognition.batches import in_order_of_length
from experiments.speech_recognition.features import Frames
from experiments.speech_recognition.model import Model, Params
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
    model: Model, params: Params, frames: Sequence[Frames], padded: Sequence[int], batch_size: int
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
def _apply(model: Model, params: Params, frames: Any, num_frames: Any) -> Any:
    return model.apply(params, frames, num_frames)


def greedy(outputs: Outputs, alphabet: Alphabet, batch_size: int) -> list[str]:
    """Return the text of each utterance's most probable alignment, `batch_size` side by side."""
    return _texts(lambda *part: _best_path(*part).labels, outputs, alphabet, batch_size)


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
        return _texts(search, outputs, self.alphabet, self.batch_size)


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


def _texts(
    search: Callable[..., jax.Array], outputs: Outputs, alphabet: Alphabet, batch_size: int
) -> list[str]:
    """Search utterances `batch_size` at a time, a single one alone, and return their texts.

    `search` takes logits `[T, B, V]` and lengths `[B]`, and returns labels `[B, N]`. The last
    utterances are filled up to B, so that every part of a corpus runs the same compiled search.
    """
    count = len(outputs.lengths)
    size = 1 if count == 1 else batch_size
    logits = np.pad(outputs.logits, ((0, 0), (0, -count % size), (0, 0)))
    lengths = np.pad(outputs.lengths, (0, -count % size))
    parts = (slice(start, start + size) for start in range(0, count, size))
    labels = [row for part in parts for row in np.asarray(search(logits[:, part], lengths[part]))]
    return [alphabet.decode(row) for row in labels[:count]]
