"""A user's own recordings, through a trained model, to text."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from experiments.common.errors import InputError
from experiments.speech_recognition import decode
from experiments.speech_recognition.audio import Signal, read_audio
from experiments.speech_recognition.data import log_mel
from experiments.speech_recognition.decode import BeamSearch, Outputs, make_logits
from experiments.speech_recognition.features import Frames, moments
from experiments.speech_recognition.recognizer import Recognizer

Decoder = Literal["greedy", "beam", "ngram"]

# The steps that a recording is padded to a multiple of, so that several of about one
# length are run without compiling for each: 3 s at 30 ms a step.
_PADDED_TO = 100
_SHORTEST_MS = 100
# Beyond this the search's time, which grows with the square of the length, is felt; and
# there is no hope for a model that was trained on a few seconds at once.
_LONGEST_S = 600
# Speech that was not clipped has next to no samples so near to full scale.
_CLIPPED_FROM, _CLIPPED_SHARE = 0.99, 1e-3


def make_transcriber(
    recognizer: Recognizer, decoder: Decoder = "ngram", note: Callable[[str], None] = print
) -> Callable[[Path], str]:
    """Return what gives the text of one recording after the other.

    Args:
      recognizer: the trained model.
      decoder: greedy, beam, or the beam with the run's n-gram model.
      note: is given one line for each thing that was changed, or that looks odd.

    Returns:
      `text_of(path) -> str`, of a file in any format and at any rate; see
      `audio.read_audio`. It raises InputError for one that cannot be read, is silent, too
      short or too long.
    """
    config = recognizer.config
    logits_fn = make_logits(recognizer.model)
    if decoder == "greedy":
        search = partial(decode.greedy, alphabet=recognizer.alphabet)
    elif decoder == "beam":  # without a bonus, which makes up for what a language model takes
        search = BeamSearch(recognizer.alphabet, config.beam_size)
    else:
        fused = BeamSearch(recognizer.alphabet, config.beam_size, recognizer.language_model)
        search = partial(fused, fusion=recognizer.fusion)

    def text_of(path: Path) -> str:
        frames = features_of(recognizer, path, note)
        size = -(-len(frames) // (_PADDED_TO * config.stack)) * _PADDED_TO * config.stack
        outputs: Outputs = decode.run(
            logits_fn, recognizer.params, [frames], [size], 1, config.stack
        )
        (text,) = search(outputs)
        if not text:
            note(f"{path}: no speech found")
        return text

    return text_of


def features_of(recognizer: Recognizer, path: Path, note: Callable[[str], None]) -> Frames:
    """Return a recording's normalised spectrogram `[T, F]`.

    Where the model was trained with each speaker's moments, a file is a speaker.

    Raises:
      InputError: see `make_transcriber`.
    """
    config, rate = recognizer.config, recognizer.sample_rate
    wave = read_audio(path, rate, note, longest=_LONGEST_S)
    _check_length(wave, path, recognizer, note)
    frames = log_mel(rate, config.num_bands)(wave)
    if config.normalization == "global":
        return recognizer.moments.normalize(frames)
    return moments([frames]).normalize(frames)


def _check_length(
    wave: Signal, path: Path, recognizer: Recognizer, note: Callable[[str], None]
) -> None:
    seconds = len(wave) / recognizer.sample_rate
    if seconds < _SHORTEST_MS / 1000:
        raise InputError(
            f"transcribe: {path} lasts {1000 * seconds:.0f} ms; nothing is said in less than "
            f"{_SHORTEST_MS} ms: record it again"
        )
    if seconds > 2 * recognizer.longest:
        note(
            f"{path}: {seconds:.1f} s, and the model was trained on at most "
            f"{recognizer.longest:.1f} s at once; cut it at pauses for a better text"
        )
    share = np.mean(np.abs(wave) >= _CLIPPED_FROM)
    if share > _CLIPPED_SHARE:
        note(f"{path}: {100 * share:.1f} % at full scale: too loud, it seems to be clipped")
