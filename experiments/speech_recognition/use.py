"""A user's own recordings, through a trained model, to text."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from experiments.common import command
from experiments.common.command import to_stderr
from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.common.records import RESULT_FILE, read_json
from experiments.speech_recognition import decode
from experiments.speech_recognition.alphabet import Alphabet
from experiments.speech_recognition.audio import read_audio
from experiments.speech_recognition.data import make_language_model
from experiments.speech_recognition.decode import BeamSearch, DecodeFn, Fusion
from experiments.speech_recognition.features import Frames, LogMel, Moments, moments

Decoder = Literal["greedy", "beam", "ngram"]
Note = Callable[[str], None]  # is given one line for what was changed, or looks odd

# Where a run has not measured what is best on its validation part.
DEFAULT_FUSION = Fusion(0.5, 0.5)
# The steps that a recording is padded to a multiple of, so that several of about one
# length are run without compiling for each: 3 s at 30 ms a step.
_PADDED_TO = 100
_SHORTEST_MS = 100
# Speech that was not clipped has next to no samples so near to full scale.
_CLIPPED_FROM, _CLIPPED_SHARE = 0.99, 1e-3


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What to do, apart from a run's settings."""

    transcribe: tuple[Path, ...] | None = None
    """Write down these recordings with a trained model, instead of training."""
    decoder: Decoder = "ngram"
    """How to: the best path (greedy), a prefix beam, or that with the n-gram model."""

    def __post_init__(self) -> None:
        """Raise InputError where there is nothing to write down."""
        super().__post_init__()
        if self.transcribe == ():
            raise InputError("Task: --transcribe names no recording; give one or more")


def use(task: Task, trained: Trained) -> None:
    """Print each recording's text on a line, with its name where there are several.

    Raises:
      SystemExit: with status 1, after all others were written down, if some cannot be.
    """
    files, failed = task.transcribe or (), False
    to_stderr(f"it knows {trained.facts['characters']!r}")
    decode_fn = make_decoder(trained, task.decoder)
    for path in files:
        try:
            text = transcribe(trained, path, decode_fn, to_stderr)
        except InputError as error:  # one of a hundred should not cost the others
            to_stderr(f"error: {error}")
            failed = True
        else:
            print(f"{path}: {text}" if len(files) > 1 else text, flush=True)
    if failed:
        raise SystemExit(1)


def make_decoder(trained: Trained, decoder: Decoder) -> DecodeFn:
    """Return what reads the text of one recording at a time, see `Task.decoder`.

    Raises:
      InputError: the n-gram model that the config asks for would fill the memory.
    """
    config, alphabet = trained.config, Alphabet(trained.facts["characters"])
    if decoder == "greedy":
        return partial(decode.greedy, alphabet=alphabet, batch_size=1)
    alone = BeamSearch(alphabet, config.beam_size, 1)
    if decoder == "beam":  # without a bonus, which makes up for what a language model takes
        return alone
    language_model = make_language_model(config, alphabet, trained.facts["transcripts"])
    return partial(alone._replace(language_model=language_model), fusion=fusion_of(trained))


def fusion_of(trained: Trained) -> Fusion:
    """Return what a finished run chose for this n-gram model, else the default."""
    file, of_model = trained.folder / RESULT_FILE, ("ngram", "ngram_order")
    result = read_json(file) if file.is_file() else None
    if result and all(getattr(trained.config, n) == result["config"][n] for n in of_model):
        return Fusion(**result["fusion"])
    return DEFAULT_FUSION


def transcribe(trained: Trained, path: Path, decode_fn: DecodeFn, note: Note = print) -> str:
    """Return the text of a recording, of any format and rate, as `make_decoder`'s function has it.

    Raises:
      InputError: it lasts too short or too long a time, or see `audio.read_audio`.
    """
    frames, multiple = features_of(trained, path, note), _PADDED_TO * trained.config.stack
    padded = -(-len(frames) // multiple) * multiple
    (text,) = decode_fn(decode.run(trained.model, trained.params, [frames], [padded], 1))
    if not text:
        note(f"{path}: no speech found")
    return text


def features_of(
    trained: Trained, path: Path, note: Note = print, longest_s: float = 600.0
) -> Frames:
    """Return a recording's normalised spectrogram `[T, F]`.

    Where the model was trained with each speaker's moments, a file is a speaker.

    One of more than `longest_s` seconds is refused. Beyond ten minutes the search's time, which
    grows with the square of the length, is felt; and there is no hope for a model that was
    trained on a few seconds at once.

    Raises:
      InputError: see `transcribe`.
    """
    config, facts = trained.config, trained.facts
    rate, longest = facts["sample_rate"], facts["longest_seconds"]
    wave = read_audio(path, rate, note, longest=longest_s)
    seconds = len(wave) / rate
    if seconds < _SHORTEST_MS / 1000:
        raise InputError(
            f"transcribe: {path} lasts {1000 * seconds:.0f} ms; nothing is said in less than "
            f"{_SHORTEST_MS} ms: record it again"
        )
    if seconds > 2 * longest:
        note(
            f"{path}: {seconds:.1f} s, and the model was trained on at most {longest:.1f} s at "
            "once; cut it at pauses for a better text"
        )
    share = np.mean(np.abs(wave) >= _CLIPPED_FROM)
    if share > _CLIPPED_SHARE:
        note(f"{path}: {100 * share:.1f} % at full scale: too loud, it seems to be clipped")
    frames = LogMel(rate, config.num_bands)(wave)
    overall = Moments(*(np.array(facts[name], np.float32) for name in ("mean", "deviation")))
    return (overall if config.normalization == "global" else moments([frames])).normalize(frames)
