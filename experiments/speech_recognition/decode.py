"""From a trained model to texts: the best path, or the prefix beam with a language model."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from deeprnn_jax.decoding import ctc_greedy, ctc_prefix_beam
from experiments.speech_recognition.alphabet import BLANK, Alphabet
from experiments.speech_recognition.batches import in_order_of_length
from experiments.speech_recognition.features import Frames
from experiments.speech_recognition.model import Model, ModelParams
from experiments.speech_recognition.ngrams import Automaton

LogitsFn = Callable[[ModelParams, Any, Any], tuple[jax.Array, jax.Array]]

# Utterances decoded side by side. The last ones are filled up to as many, so that every
# part of a corpus runs the same compiled search.
_ROWS = 64


class Outputs(NamedTuple):
    """The logits of N utterances."""

    logits: NDArray[np.float32]  # [T, N, V], 0 in the padding
    lengths: NDArray[np.int32]  # [N], the real steps


class Fusion(NamedTuple):
    """How much a language model has to say in the beam search."""

    weight: float  # of its log-probabilities
    bonus: float  # what each character adds, for a language model prefers short texts


DecodeFn = Callable[[Outputs], list[str]]


def make_logits(model: Model) -> LogitsFn:
    """Return the compiled model, without dropout; one compilation a length."""
    return jax.jit(lambda params, frames, num_frames: model.apply(params, frames, num_frames))


def run(
    logits_fn: LogitsFn,
    params: ModelParams,
    frames: Sequence[Frames],
    padded: Sequence[int],
    batch_size: int,
    stack: int,
) -> Outputs:
    """Run the model over utterances.

    Args:
      logits_fn: `make_logits(model)`, made once.
      params: the parameters.
      frames: N of `[T, F]`, normalised.
      padded: lengths to pad to, multiples of `stack`.
      batch_size: B, how many to run side by side.
      stack: frames a step of the model.
    """
    logits, lengths = None, np.zeros(len(frames), np.int32)
    for rows, batch in in_order_of_length(frames, padded, batch_size):
        found, steps = jax.device_get(logits_fn(params, batch.frames, batch.num_frames))
        if logits is None:
            shape = (padded[-1] // stack, len(frames), found.shape[-1])
            logits = np.zeros(shape, np.float32)
        logits[: len(found), rows] = found[:, : len(rows)]
        lengths[rows] = steps[: len(rows)]
    assert logits is not None  # there is at least one utterance
    return Outputs(logits, lengths)


def greedy(outputs: Outputs, alphabet: Alphabet) -> list[str]:
    """Return the text of each utterance's most probable alignment."""
    texts = []
    for part in _in_parts(outputs):
        logits, lengths = map(jnp.asarray, part)
        labels = np.asarray(ctc_greedy(logits, lengths, blank=BLANK).labels)
        texts += [alphabet.decode(row) for row in labels]
    return texts[: len(outputs.lengths)]


class BeamSearch:
    """Prefix beam search, compiled once for all weights of a language model."""

    def __init__(
        self, alphabet: Alphabet, beam_size: int, language_model: Automaton | None = None
    ) -> None:
        """Prepare a search.

        Args:
          alphabet: what labels mean.
          beam_size: how many prefixes are kept.
          language_model: over the labels, where one has a say.
        """
        self._alphabet = alphabet

        @jax.jit
        def search(logits: jax.Array, lengths: jax.Array, weight: Any, bonus: Any) -> jax.Array:
            model = None
            if language_model is not None:
                model = language_model.language_model(lengths.shape[0], weight)
            best = ctc_prefix_beam(
                logits,
                lengths,
                beam_size=beam_size,
                blank=BLANK,
                language_model=model,
                insertion_bonus=bonus,
            )
            return best.labels[:, 0]

        self._search = search

    def __call__(self, outputs: Outputs, fusion: Fusion = Fusion(0.0, 0.0)) -> list[str]:
        """Return the best text of each utterance."""
        texts = []
        for part in _in_parts(outputs):
            labels = self._search(part.logits, part.lengths, *map(np.float32, fusion))
            texts += [self._alphabet.decode(row) for row in np.asarray(labels)]
        return texts[: len(outputs.lengths)]


def _in_parts(outputs: Outputs) -> Iterator[Outputs]:
    """Yield utterances so many at a time; a single one is left alone."""
    count = len(outputs.lengths)
    rows = 1 if count == 1 else _ROWS
    missing = -count % rows
    logits = np.pad(outputs.logits, ((0, 0), (0, missing), (0, 0)))
    lengths = np.pad(outputs.lengths, (0, missing))
    for start in range(0, count, rows):
        part = slice(start, start + rows)
        yield Outputs(logits[:, part], lengths[part])
