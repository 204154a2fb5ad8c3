"""Recordings: from a file to a mono signal at the rate that the model was trained at.

A signal is float32 `[N]`, full scale at ±1. Formats are those of libsndfile (wav, flac,
ogg, mp3, aiff ...), whatever the sample's width.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

from experiments.common.errors import InputError

Signal = NDArray[np.float32]

# Below this peak, -66 dB of full scale, a file is taken for silence: 16 steps of 16 bits.
SILENCE = 5e-4


class TooLongError(InputError):
    """Report a recording that is longer than can be used at once."""


def read_audio(
    path: str | Path,
    sample_rate: int,
    note: Callable[[str], None] = print,
    *,
    longest: float = math.inf,
) -> Signal:
    """Return a file's signal at `sample_rate` Hz, its channels averaged.

    Args:
      path: the file.
      sample_rate: in Hz; another rate is resampled by a polyphase filter.
      note: is given one line for each change that was made.
      longest: in seconds; of a longer file nothing is read but that it is one.

    Returns:
      float32 `[N]`, N >= 1.

    Raises:
      TooLongError: the file lasts longer than `longest`.
      InputError: no such file, not audio, no samples, a sample that is not finite, or
        silence: a constant is silent as well.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"read_audio: there is no file {path}; give the path of a recording")
    try:
        with soundfile.SoundFile(path) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if seconds > longest:
                raise TooLongError(
                    f"read_audio: {path} lasts {seconds:,.0f} s, at most {longest:,.0f} can be "
                    "read at once; cut it at pauses"
                )
            wave = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless .raw
        raise InputError(
            f"read_audio: {path} is not a recording that can be read ({error}); convert it "
            "to wav, 16 bits"
        ) from error
    if wave.shape[0] == 0:
        raise InputError(f"read_audio: {path} has no samples; record it again")
    if not np.isfinite(wave).all():
        raise InputError(f"read_audio: {path} has samples that are not finite; export it again")
    if wave.shape[1] > 1:
        note(f"{path}: {wave.shape[1]} channels, averaged to one")
    if _is_cut_short(path):
        note(f"{path}: the file ends before its header says; only what is there is read")
    mono = wave.mean(axis=1)
    # A cheap microphone's constant offset is no sound.
    peak = np.abs(mono - mono.mean()).max()
    if peak < SILENCE:
        raise InputError(
            f"read_audio: {path} is silent: it moves by {peak:.1e} of full scale, less than "
            f"{SILENCE:.0e}; check the microphone or the channel"
        )
    if rate != sample_rate:
        lost = f"; above {rate // 2:,} Hz it has nothing" if rate < sample_rate else ""
        note(f"{path}: resampled from {rate:,} to {sample_rate:,} Hz{lost}")
        mono = resample(mono, rate, sample_rate)
    return mono


def _is_cut_short(path: Path) -> bool:
    """Tell whether a wav file has fewer bytes than it says, as after a broken copy."""
    with path.open("rb") as file:
        kind, size = file.read(4), int.from_bytes(file.read(4), "little")
    # What is written to a pipe has a size near the largest possible, in place of the unknown.
    return kind == b"RIFF" and path.stat().st_size < 8 + size < 2**31 - 2**16


def resample(wave: Signal, rate: int, to_rate: int) -> Signal:
    """Return a signal at `to_rate` in place of `rate`, both in Hz, low-passed against aliases."""
    return signal.resample_poly(wave, to_rate, rate).astype(np.float32)


def change_speed(wave: Signal, factor: float) -> Signal:
    """Return a signal spoken `factor` times as fast, and as much higher in pitch.

    The samples of the resampled signal are played at the old rate, as SoX's `speed`
    does: N samples become ceil(N / factor).

    References:
      Ko et al. 2015, "Audio augmentation for speech recognition", section 2: 0.9, 1, 1.1.
    """
    if factor == 1.0:
        return wave
    # Only the ratio of two rates counts: from numerator to denominator is from `factor` to 1.
    ratio = Fraction(factor).limit_denominator(100)
    return resample(wave, ratio.numerator, ratio.denominator)
