"""From a trained model to texts: the best path, or the prefix beam with a language model."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from deeprnn_jax.decoding import LanguageModel, ctc_greedy, ctc_prefix_beam
from experiments.speech_recognition.batches import in_order_of_length
from experiments.speech_recognition.data import BLANK, Alphabet, Labels
from experiments.speech_recognition.features import Frames
from experiments.speech_recognition.model import Model, ModelParams

LogitsFn = Callable[[ModelParams, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


class Outputs(NamedTuple):
    """The logits of some utterances, by the batches that they were computed in."""

    rows: list[list[int]]  # for each batch whose its first rows are
    logits: list[jax.Array]  # for each [T, B, V]
    lengths: list[jax.Array]  # for each int [B], the real steps

    def of_row(self, i: int) -> np.ndarray:
        """Return the logits `[T, V]` of utterance i, the padding cut off."""
        for rows, logits, lengths in zip(*self, strict=True):
            if i in rows:
                row = rows.index(i)
                return np.asarray(logits[: int(lengths[row]), row])
        raise IndexError(i)


def make_logits(model: Model) -> LogitsFn:
    """Return the compiled model, without dropout; one compilation a length."""
    return jax.jit(lambda params, frames, num_frames: model.apply(params, frames, num_frames))


def run(
    logits_fn: LogitsFn,
    params: ModelParams,
    frames: Sequence[Frames],
    padded: Sequence[int],
    batch_size: int,
) -> Outputs:
    """Run the model over utterances.

    Args:
      logits_fn: `make_logits(model)`, made once.
      params: the parameters.
      frames: N of `[T, F]`, normalised.
      padded: lengths to pad to.
      batch_size: B.
    """
    outputs = Outputs([], [], [])
    for rows, batch in in_order_of_length(frames, padded, batch_size):
        logits, lengths = logits_fn(params, batch.frames, batch.num_frames)
        outputs.rows.append(rows)
        outputs.logits.append(logits)
        outputs.lengths.append(lengths)
    return outputs


def greedy(outputs: Outputs, alphabet: Alphabet) -> list[str]:
    """Return the text of each utterance's most probable alignment."""

    def decode(logits: jax.Array, lengths: jax.Array) -> jax.Array:
        return ctc_greedy(logits, lengths, blank=BLANK).labels

    return _texts(outputs, alphabet, decode)


def beam(
    outputs: Outputs,
    alphabet: Alphabet,
    beam_size: int,
    language_model: LanguageModel | None = None,
    insertion_bonus: float = 0.0,
) -> list[str]:
    """Return each utterance's best text by prefix beam search.

    Args:
      outputs: the logits.
      alphabet: what labels mean.
      beam_size: how many prefixes are kept.
      language_model: over the labels, with one state for all rows; see ngrams.py.
      insertion_bonus: what each character adds to the score.
    """

    @jax.jit
    def decode(logits: jax.Array, lengths: jax.Array) -> jax.Array:
        best = ctc_prefix_beam(
            logits,
            lengths,
            beam_size=beam_size,
            blank=BLANK,
            language_model=language_model,
            insertion_bonus=insertion_bonus,
        )
        return best.labels[:, 0]

    return _texts(outputs, alphabet, decode)


def _texts(
    outputs: Outputs,
    alphabet: Alphabet,
    decode: Callable[[jax.Array, jax.Array], jax.Array],
) -> list[str]:
    """Decode batch by batch and put the texts back in order."""
    texts: dict[int, str] = {}
    for rows, logits, lengths in zip(*outputs, strict=True):
        labels: Labels = np.asarray(decode(logits, lengths))
        texts |= {i: alphabet.decode(labels[row]) for row, i in enumerate(rows)}
    return [texts[i] for i in range(len(texts))]
