"""A user's own recordings, through a trained model, to text."""

from collections.abc import Callable, Iterator, Sequence
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

# A recording is padded to whole seconds, so that several of about one length are run
# without compiling for each.
_PADDED_TO = 100
_SHORTEST_MS = 100


def transcribe(
    recognizer: Recognizer,
    paths: Sequence[str | Path],
    decoder: Decoder = "ngram",
    note: Callable[[str], None] = print,
) -> Iterator[tuple[Path, str]]:
    """Yield each file and its text.

    Args:
      recognizer: the trained model.
      paths: recordings in any format and at any rate; see `audio.read_audio`.
      decoder: greedy, beam, or the beam with the run's n-gram model.
      note: is given one line for each thing that was changed, or that looks odd.

    Raises:
      InputError: a file that cannot be read, is silent or too short; those before it
        have been yielded.
    """
    config = recognizer.config
    logits_fn = make_logits(recognizer.model)
    search = None
    if decoder != "greedy":
        model = recognizer.language_model if decoder == "ngram" else None
        search = BeamSearch(recognizer.alphabet, config.beam_size, model)
    for path in map(Path, paths):
        frames = features_of(recognizer, path, note)
        size = -(-len(frames) // (_PADDED_TO * config.stack)) * _PADDED_TO * config.stack
        outputs: Outputs = decode.run(
            logits_fn, recognizer.params, [frames], [size], 1, config.stack
        )
        if search is None:
            (text,) = decode.greedy(outputs, recognizer.alphabet)
        else:
            (text,) = search(outputs, recognizer.fusion)
        yield path, text


def features_of(recognizer: Recognizer, path: Path, note: Callable[[str], None]) -> Frames:
    """Return a recording's normalised spectrogram `[T, F]`.

    Where the model was trained with each speaker's moments, a file is a speaker.

    Raises:
      InputError: see `transcribe`.
    """
    config, rate = recognizer.config, recognizer.sample_rate
    wave = read_audio(path, rate, note)
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
    if np.abs(wave).max() >= 1.0:
        note(f"{path}: clipped: the recording was too loud")
