"""Spoken digits made from formants: speech to learn from where there is none.

A phone is a shape of the vocal tract: the frequencies F1, F2, F3 at which it resonates,
a voice that is on or off, and a noise of some pitch. A digit is a sequence of phones,
and its sound

    voice(t)  Σ_k a_k(t) cos(k φ(t)),  φ' = 2π f0(t),  a_k = |H(k f0)| / k
    noise(t)  Σ_p g_p(t) · white noise through p's resonance

where H are three resonances that glide from phone to phone. Speakers differ in pitch, in
the length of their vocal tract, which scales all formants, in tempo and in breath; takes
of one speaker differ in tempo, pitch, loudness, and a little in every formant.

The parts have different speakers, and the clips are joined to strings in noise, so that
a table of the sounds does not do: see the template baseline.

References:
  Formants of men's vowels: Peterson and Barney 1952, table II. A sum of harmonics under
  an envelope: McAulay and Quatieri 1986.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from experiments.speech_recognition.audio import Signal
from experiments.speech_recognition.digits import SAMPLE_RATE, Clip, join_clips
from experiments.speech_recognition.utterances import Corpus

Track = NDArray[np.float64]  # [N], a value a sample

NOISE_DB = (8.0, 20.0)


class Phone(NamedTuple):
    """One sound; frequencies in Hz, levels relative to an open vowel's."""

    ms: float
    formants: tuple[float, float, float]
    voice: float = 1.0
    noise: float = 0.0
    noise_hz: float = 2000.0
    noise_width: float = 800.0


PHONES = {
    "iy": Phone(120, (270, 2290, 3010)),
    "ih": Phone(70, (390, 1990, 2550)),
    "eh": Phone(110, (530, 1840, 2480)),
    "ah": Phone(90, (640, 1190, 2390)),
    "aa": Phone(110, (730, 1090, 2440)),
    "ao": Phone(130, (570, 840, 2410)),
    "uw": Phone(140, (300, 870, 2240)),
    "ow": Phone(120, (450, 880, 2300)),
    "w": Phone(50, (290, 610, 2150), 0.6),
    "r": Phone(60, (330, 1100, 1500), 0.7),
    "n": Phone(80, (250, 1400, 2300), 0.35),
    "v": Phone(50, (230, 1100, 2080), 0.35, 0.12, 2500.0, 2500.0),
    "z": Phone(80, (250, 1500, 2500), 0.25, 0.4, 3500.0, 700.0),
    "s": Phone(110, (300, 1600, 2500), 0.0, 0.7, 3600.0, 700.0),
    "f": Phone(90, (300, 1100, 2100), 0.0, 0.2, 2200.0, 3000.0),
    "th": Phone(80, (300, 1400, 2500), 0.0, 0.15, 2900.0, 1500.0),
    "stop": Phone(45, (300, 1500, 2500), 0.0),
    "t": Phone(30, (300, 1700, 2600), 0.0, 0.7, 3300.0, 1200.0),
    "k": Phone(30, (300, 1700, 2300), 0.0, 0.7, 1900.0, 700.0),
}

DIGITS = {
    "0": "z ih r ow",
    "1": "w ah n",
    "2": "stop t uw",
    "3": "th r iy",
    "4": "f ao r",
    "5": "f aa ih v",
    "6": "s ih stop k s",
    "7": "s eh v ah n",
    "8": "eh ih stop t",
    "9": "n aa ih n",
}


@dataclasses.dataclass(frozen=True)
class Voice:
    """A speaker."""

    name: str
    pitch: float  # Hz
    tract: float  # what all formants are multiplied by
    tempo: float  # what all durations are multiplied by
    breath: float  # what all noises are multiplied by

    @classmethod
    def draw(cls, name: str, rng: np.random.Generator) -> "Voice":
        """Return a voice between a low man's and a child's."""
        high = rng.uniform()  # a short tract mostly goes with a high voice
        return cls(
            name,
            pitch=95.0 * 2.4**high * rng.uniform(0.9, 1.1),
            tract=0.92 + 0.24 * high + rng.uniform(-0.04, 0.04),
            tempo=rng.uniform(0.75, 1.25),
            breath=rng.uniform(0.6, 1.6),
        )


def load(seed: int, num_voices: Sequence[int], takes: int) -> Corpus:
    """Return strings of 3 to 7 digits.

    Args:
      seed: draws voices, takes, strings and noise.
      num_voices: of training, validation and test part.
      takes: how often a training voice says each digit; the others say it once.
    """
    rng, parts = np.random.default_rng(seed), []
    for part, count in zip(("train", "valid", "test"), num_voices, strict=True):
        voices = [Voice.draw(f"{part}-voice-{i}", rng) for i in range(count)]
        clips = [
            Clip(digit, voice.name, speak(digit, voice, rng))
            for voice in voices
            for digit in DIGITS
            for _ in range(takes if part == "train" else 1)
        ]
        parts.append(join_clips(clips, part, NOISE_DB, rng))
    train, valid, test = parts
    note = "different voices in every part"
    return Corpus("formants", "made here, free", SAMPLE_RATE, train, valid, test, note)


def speak(digit: str, voice: Voice, rng: np.random.Generator) -> Signal:
    """Return one take of a digit, float32 `[N]` at 8 kHz."""
    phones = [PHONES[name] for name in DIGITS[digit].split()]
    tempo = voice.tempo * rng.uniform(0.85, 1.15)
    counts = [round(p.ms * tempo * rng.uniform(0.8, 1.2) * SAMPLE_RATE / 1000) for p in phones]
    formants = np.array([p.formants for p in phones]) * voice.tract
    formants *= rng.normal(1.0, 0.03, formants.shape)
    tracks = [_glide(formants[:, i], counts, 40.0) for i in range(3)]
    fall = np.linspace(rng.uniform(1.0, 1.15), rng.uniform(0.8, 0.95), sum(counts))
    pitch = voice.pitch * rng.uniform(0.92, 1.08) * fall
    level = _glide(np.array([p.voice for p in phones]), counts, 15.0)
    wave = level * _harmonics(pitch, tracks)
    for i, phone in enumerate(phones):
        if phone.noise:
            gain = _glide(np.eye(len(phones))[i] * phone.noise * voice.breath, counts, 10.0)
            wave += gain * _hiss(phone, voice, sum(counts), rng)
    place = np.arange(len(wave), dtype=float)  # from the start, and backwards to the end
    ends = np.minimum(1.0, np.minimum(place, place[::-1]) / (0.01 * SAMPLE_RATE))
    wave *= ends * rng.uniform(0.15, 0.4) / np.abs(wave).max()
    return wave.astype(np.float32)


def _glide(values: Track, counts: list[int], ms: float) -> Track:
    """Return a value for each sample, moving from phone to phone within `ms`."""
    steps = np.repeat(values, counts)
    width = max(1, min(round(ms * SAMPLE_RATE / 1000), min(counts)))
    padded = np.pad(steps, (width // 2, width - 1 - width // 2), mode="edge")
    sums = np.cumsum(np.concatenate([[0.0], padded]))
    return (sums[width:] - sums[:-width]) / width


def _harmonics(pitch: Track, formants: list[Track]) -> Track:
    """Return the voice: harmonics of the pitch under three resonances."""
    order = np.arange(1, int(0.95 * SAMPLE_RATE / 2 / pitch.max()) + 1)[:, None]  # [K, 1]
    phase = np.cumsum(2 * np.pi * pitch / SAMPLE_RATE)
    # The envelope moves slowly: every 5 ms is enough, and 40 times less to compute.
    every = slice(None, None, SAMPLE_RATE // 200)
    hz = order * pitch[every]
    envelope = 1.0 / order
    for track, width in zip(formants, (80.0, 110.0, 170.0), strict=True):
        # |H| of a resonance that lets 0 Hz through as it is.
        centre = track[every]
        envelope = envelope * (centre**2 / np.sqrt((hz**2 - centre**2) ** 2 + (width * hz) ** 2))
    place, coarse = np.arange(len(pitch)), np.arange(len(pitch))[every]
    amplitudes = np.stack([np.interp(place, coarse, row) for row in envelope])
    return (amplitudes * np.cos(order * phase)).sum(axis=0)


def _hiss(phone: Phone, voice: Voice, length: int, rng: np.random.Generator) -> Track:
    """Return white noise through a phone's resonance, of deviation 1."""
    centre = min(phone.noise_hz * voice.tract, 0.95 * SAMPLE_RATE / 2)
    b, a = signal.iirpeak(centre, centre / phone.noise_width, fs=SAMPLE_RATE)
    noise = np.asarray(signal.lfilter(b, a, rng.normal(size=length)))
    return noise / noise.std()
