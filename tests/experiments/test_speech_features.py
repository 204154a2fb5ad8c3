"""Recordings and spectrograms, against scipy's own transforms and formulas by hand."""

from typing import Any

import numpy as np
import pytest
import soundfile
from scipy import signal

from experiments.common.errors import InputError
from experiments.speech_recognition.audio import change_speed, read_audio, resample
from experiments.speech_recognition.features import (
    LogMel,
    hz_to_mel,
    mel_to_hz,
    moments,
)


def sine(hz, rate, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def loudest_hz(wave, rate):
    return np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() * rate / len(wave)


def test_a_spectrogram_is_that_of_scipys_short_time_transform():
    settings = LogMel(8000, num_bands=10)
    wave = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    hann: Any = signal.get_window("hann", settings.window)
    _, _, spectrum = signal.stft(
        wave,
        window=hann,
        nperseg=settings.window,
        noverlap=settings.window - settings.hop,
        nfft=settings.fft_size,
        boundary=None,  # type: ignore[arg-type]
        padded=False,
    )
    power = np.abs(spectrum.T * hann.sum()) ** 2  # which theirs is divided by
    expected = np.log(power @ settings.triangles.T)
    assert settings(wave).shape == expected.shape == (36, 10)
    np.testing.assert_allclose(settings(wave), expected, atol=1e-4)


def test_frames_are_counted_as_long_as_they_are_whole():
    settings = LogMel(8000)
    assert (settings.window, settings.hop, settings.fft_size) == (200, 80, 256)
    for samples, count in ((0, 0), (199, 0), (200, 1), (279, 1), (280, 2), (8000, 98)):
        assert settings.num_frames(samples) == count
        assert len(settings(np.ones(samples, np.float32))) == count


def test_triangles_meet_at_the_corners_and_share_every_frequency():
    settings = LogMel(16_000, num_bands=12)
    filters = settings.triangles
    hz = np.arange(filters.shape[1]) * 16_000 / settings.fft_size
    # Corners by the formula of the mel scale, written out.
    mel = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 8000 / 700), 14)
    corners = 700 * (10 ** (mel / 2595) - 1)
    for band, weights in enumerate(filters):
        expected = np.interp(hz, corners[band : band + 3], [0.0, 1.0, 0.0])
        np.testing.assert_allclose(weights, expected, atol=1e-6)
    inside = (hz >= corners[1]) & (hz <= corners[-2])
    np.testing.assert_allclose(filters.sum(axis=0)[inside], 1.0, atol=1e-5)


def test_a_tone_is_loudest_in_its_own_band():
    settings = LogMel(16_000, num_bands=12)
    middles = mel_to_hz(np.linspace(hz_to_mel(20.0), hz_to_mel(8000.0), 14))[1:-1]
    for band, hz in enumerate(middles):
        assert (settings(sine(hz, 16_000)).argmax(axis=1) == band).all()


def test_digital_silence_is_finite():
    assert np.isfinite(LogMel(8000)(np.zeros(800, np.float32))).all()


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_length_and_pitch_alike(factor):
    changed = change_speed(sine(500.0, 8000), factor)
    assert abs(len(changed) - 8000 / factor) < 2
    assert abs(loudest_hz(changed, 8000) - 500.0 * factor) < 2.0
    assert changed.dtype == np.float32


def test_a_speed_of_one_is_the_signal_itself():
    wave = sine(500.0, 8000)
    assert change_speed(wave, 1.0) is wave


def test_another_rate_keeps_pitch_and_duration_and_no_aliases():
    assert abs(loudest_hz(resample(sine(500.0, 44_100), 44_100, 8000), 8000) - 500.0) < 2.0
    assert len(resample(sine(500.0, 44_100), 44_100, 8000)) == 8000
    too_high = resample(sine(7000.0, 44_100), 44_100, 8000)[100:-100]
    assert np.abs(too_high).max() < 0.02


def test_normalised_frames_have_mean_0_and_variance_1():
    rng = np.random.default_rng(0)
    frames = [rng.normal(3.0, 2.0, (n, 4)).astype(np.float32) for n in (5, 9)]
    of_all = moments(frames)
    together = np.concatenate([of_all.normalize(x) for x in frames])
    np.testing.assert_allclose(together.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(together.std(axis=0), 1.0, atol=1e-5)
    constant = moments([np.full((5, 4), 7.0, np.float32)])
    np.testing.assert_array_equal(constant.normalize(np.full((5, 4), 7.0, np.float32)), 0.0)


def test_a_file_is_read_resampled_and_mixed_down_and_says_so(tmp_path):
    path, notes = tmp_path / "stereo.wav", []
    left, right = sine(400.0, 44_100), 0.5 * sine(400.0, 44_100)
    soundfile.write(path, np.stack([left, right], axis=1), 44_100, subtype="FLOAT")
    wave = read_audio(path, 8000, notes.append)
    assert wave.shape == (8000,)
    assert abs(loudest_hz(wave, 8000) - 400.0) < 2.0
    np.testing.assert_allclose(np.abs(wave[200:-200]).max(), 0.75, atol=0.01)
    assert len(notes) == 2
    assert "2 channels" in notes[0]
    assert notes[1].endswith("resampled from 44,100 to 8,000 Hz")


def test_what_a_lower_rate_cannot_hold_is_said(tmp_path):
    soundfile.write(tmp_path / "low.wav", 0.5 * sine(400.0, 8000), 8000)
    notes = []
    assert len(read_audio(tmp_path / "low.wav", 16_000, notes.append)) == 16_000
    assert [note.partition("; ")[2] for note in notes] == ["above 4,000 Hz it has nothing"]


def test_a_file_that_is_cut_short_is_said_so(tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, 0.5 * sine(400.0, 8000), 8000)
    whole, notes = path.read_bytes(), []
    assert len(read_audio(path, 8000, notes.append)) == 8000
    assert notes == []
    path.write_bytes(whole[: 44 + 4000])
    assert len(read_audio(path, 8000, notes.append)) == 2000
    assert [note.partition(": ")[2][:31] for note in notes] == ["the file ends before its header"]
    path.write_bytes(whole[:4] + b"\xff" * 4 + whole[8:])  # as ffmpeg writes to a pipe
    assert len(read_audio(path, 8000, notes.append)) == 8000
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("file_format", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "DOUBLE", 1e-6),
        ("WAV", "ULAW", 2e-2),
        ("FLAC", "PCM_16", 1e-4),
        ("MP3", None, None),
    ],
)
def test_a_file_is_read_by_its_content_not_by_its_name(tmp_path, file_format, subtype, error):
    path, spoken = tmp_path / "any.wav", 0.5 * sine(440.0, 8000)
    soundfile.write(path, spoken, 8000, format=file_format, subtype=subtype)
    wave = read_audio(path, 8000)
    assert abs(loudest_hz(wave, 8000) - 440.0) < 2.0
    if error is not None:
        np.testing.assert_allclose(wave, spoken, atol=error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        (b"not audio at all", "not a recording that can be read"),
        (np.zeros(0), "no samples"),
        (np.zeros(8000), "silent"),
        (np.sin(np.arange(8000)) * 1e-4, "silent"),
        (np.full(8000, 0.3), "silent"),  # an offset alone
        (np.array([0.1, np.nan, 0.2]), "not finite"),
    ],
)
def test_a_file_that_is_no_use_is_refused(tmp_path, content, message):
    path = tmp_path / "odd.wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        soundfile.write(path, content, 8000, subtype="FLOAT")
    with pytest.raises(InputError, match=message):
        read_audio(path, 8000)


def test_a_file_without_a_header_is_refused(tmp_path):
    path = tmp_path / "bare.raw"
    path.write_bytes(b"\0\1" * 500)
    with pytest.raises(InputError, match="not a recording"):
        read_audio(path, 8000)
