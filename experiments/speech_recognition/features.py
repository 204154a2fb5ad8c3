"""Log-mel spectrogram: how loud each band of pitch is, frame by frame.

    frame t      x[tH], ..., x[tH + W - 1], 25 ms, one every 10 ms, under a Hann window
    P[t, k]      |Σ_n w[n] x[tH + n] exp(-2πi kn / N)|²,  k = 0 ... N / 2
    M[t, m]      Σ_k F[m, k] P[t, k], F the m-th of overlapping triangles
    log-mel      ln(M + floor)

The triangles stand at equal distances on the mel scale, which is linear in pitch below
about 1 kHz and logarithmic above, as hearing is: mel(f) = 2595 log10(1 + f / 700).

References:
  Davis and Mermelstein 1980 (without their cosine transform, which a network can do
  without); the formula of the mel scale: O'Shaughnessy 1987, as in HTK.
"""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from experiments.common.errors import InputError

Frames = NDArray[np.float32]  # [T, F]
Normalization = Literal["utterance", "speaker", "global"]

WINDOW_S, HOP_S = 0.025, 0.01  # length of a frame, and from its start to the next one's
LOWEST_HZ = 20.0  # where the first triangle begins; the last one ends at half the rate
# About what rounding to 16 bits leaves in a band: it keeps the logarithm of digital
# silence finite, and of no use to the network.
_FLOOR = 1e-7
# A band with next to no variation is not blown up to a variance of 1.
_SMALLEST_DEVIATION = 0.1


@dataclasses.dataclass(frozen=True)
class LogMel:
    """How features are computed."""

    sample_rate: int  # in Hz
    num_bands: int = 40  # F, how many triangles

    def __post_init__(self) -> None:
        """Raise InputError where a band lies between two frequencies of the spectrum."""
        deaf = int((self.triangles.max(axis=1) == 0).sum())
        if deaf:
            raise InputError(
                f"LogMel: {deaf} of {self.num_bands} bands are narrower than the spectrum's "
                f"resolution at {self.sample_rate:,} Hz; lower --num-bands"
            )

    @property
    def window(self) -> int:
        """Return W, the samples of a frame."""
        return round(WINDOW_S * self.sample_rate)

    @property
    def hop(self) -> int:
        """Return H, the samples from a frame to the next."""
        return round(HOP_S * self.sample_rate)

    @property
    def fft_size(self) -> int:
        """Return N, the next power of two."""
        return 1 << (self.window - 1).bit_length()

    @cached_property
    def triangles(self) -> NDArray[np.float32]:
        """Return the filters F `[num_bands, N / 2 + 1]`: triangles of height 1.

        The m-th rises from the (m - 1)-th corner to the m-th and falls to the next.
        """
        low, high = hz_to_mel(LOWEST_HZ), hz_to_mel(self.sample_rate / 2)
        corners = mel_to_hz(np.linspace(low, high, self.num_bands + 2))
        bins = fft.rfftfreq(self.fft_size, 1.0 / self.sample_rate)
        left, middle, right = (corners[i : i - 2 or None, None] for i in range(3))
        rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
        return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)

    def num_frames(self, num_samples: int) -> int:
        """Return T: only whole frames count."""
        return max(0, 1 + (num_samples - self.window) // self.hop)

    def __call__(self, wave: NDArray[np.floating]) -> Frames:
        """Return the log-mel spectrogram `[T, F]` of a signal `[N]`."""
        num_frames = self.num_frames(len(wave))
        if num_frames == 0:
            return np.zeros((0, self.num_bands), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(wave, self.window)[:: self.hop]
        hann = np.asarray(signal.get_window("hann", self.window), np.float32)
        spectrum = np.asarray(fft.rfft(frames * hann, self.fft_size, axis=-1))
        power = np.real(spectrum) ** 2 + np.imag(spectrum) ** 2
        return np.log(power @ self.triangles.T + _FLOOR).astype(np.float32)


def hz_to_mel(hz: NDArray[np.floating] | float) -> NDArray[np.floating]:
    """Return the pitch in mel of a frequency in Hz."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0)


def mel_to_hz(mel: NDArray[np.floating] | float) -> NDArray[np.floating]:
    """Return the frequency in Hz of a pitch in mel."""
    return 700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0)


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and deviation of each band, `[F]`."""

    mean: Frames
    deviation: Frames

    def normalize(self, frames: Frames) -> Frames:
        """Return frames `[T, F]` of mean 0 and variance 1, as far as these are theirs."""
        return (frames - self.mean) / self.deviation


def moments(utterances: Sequence[Frames]) -> Moments:
    """Return the moments over all frames of some utterances."""
    count = sum(len(frames) for frames in utterances)
    mean = sum(frames.sum(axis=0, dtype=np.float64) for frames in utterances) / count
    squares = sum(np.square(frames - mean).sum(axis=0) for frames in utterances)
    deviation = np.maximum(np.sqrt(squares / count), _SMALLEST_DEVIATION)
    return Moments(np.asarray(mean, np.float32), np.asarray(deviation, np.float32))
