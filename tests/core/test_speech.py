"""The mouth rests while the voice is silent, and is never late."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from musetalk_core.speech import speech_weight

FPS = Fraction(25)
VOICE = Path(__file__).parents[2] / "assets" / "sample" / "voice.wav"


@pytest.fixture(scope="module")
def voice() -> tuple[np.ndarray, int]:
    """The sample; from 1.2 s to 2.2 s it speaks without a pause that matters."""
    rate, samples = wavfile.read(VOICE)
    return samples.astype(np.float32) / 32768, rate


def weights(sound: np.ndarray, rate: int, fps: Fraction = FPS) -> np.ndarray:
    out = speech_weight(sound, rate, fps, int(len(sound) / rate * fps))
    assert out.dtype == np.float32 and out.min(initial=0) >= 0 and out.max(initial=0) <= 1
    return out


def between(out: np.ndarray, start: float, stop: float, fps: Fraction = FPS) -> np.ndarray:
    """The frames that lie wholly between two times in seconds."""
    assert stop - start > 2 / fps
    return out[int(np.ceil(start * float(fps))) : int(stop * float(fps))]


def tone(seconds: float, rate: int, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def hiss(seconds: float, rate: int, decibels: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(int(seconds * rate))
    return (10 ** (decibels / 20) * noise).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(12)])
def test_a_tone_between_silences_opens_early_and_closes_after_it(rate: int, fps: Fraction) -> None:
    sound = np.concatenate([np.zeros(rate), tone(1, rate), np.zeros(rate)]).astype(np.float32)
    out = weights(sound, rate, fps)
    assert (between(out, 1, 2, fps) == 1).all()
    assert not between(out, 0, 0.75, fps).any() and not between(out, 2.25, 3, fps).any()
    rising = between(out, 0.7, 1.05, fps)
    assert (np.diff(rising) >= 0).all() and rising[-1] == 1


def test_ramps_are_smooth() -> None:
    rate, fps = 16000, Fraction(100)
    out = weights(np.concatenate([np.zeros(rate), tone(1, rate), np.zeros(rate)]).astype(np.float32), rate, fps)
    assert np.abs(np.diff(out)).max() < 0.15
    assert ((out > 0) & (out < 1)).sum() == pytest.approx(2 * 0.15 * 100, abs=4)


@pytest.mark.parametrize("floor", [None, -60, -50])
def test_silence_put_into_speech_is_found_and_speech_is_kept(voice, floor: int | None) -> None:
    sound, rate = voice
    spoken = sound[int(1.2 * rate) : int(2.2 * rate)]
    pause = np.zeros(rate, np.float32)
    sound = np.concatenate([pause, spoken, pause, spoken])
    if floor:
        sound = sound + hiss(len(sound) / rate, rate, floor)
    out = weights(sound, rate)
    length = len(spoken) / rate
    assert (between(out, 1, 1 + length - 0.1) == 1).all()
    assert (between(out, 2 + length + 0.02, 2 + 2 * length - 0.1) == 1).all()
    assert not between(out, 0, 0.75).any() and not between(out, 1 + length + 0.2, 2 + length - 0.25).any()


@pytest.mark.parametrize("rest", [0.1, 0.2, 0.3])
def test_a_breath_between_words_does_not_close_the_mouth(rest: float) -> None:
    rate = 16000
    word = tone(0.5, rate)
    out = weights(np.concatenate([word, np.zeros(int(rest * rate), np.float32), word]), rate)
    assert (out == 1).all()


@pytest.mark.parametrize("level", [0, 1e-5])
def test_a_silent_clip_has_no_speech(level: float) -> None:
    assert not weights(level * np.random.default_rng(0).standard_normal(32000).astype(np.float32), 16000).any()


def test_an_offset_is_not_a_sound() -> None:
    assert not weights(np.full(16000, 0.2, np.float32), 16000).any()


def test_continuous_speech_is_all_speech(voice) -> None:
    sound, rate = voice
    spoken = sound[int(1.2 * rate) : int(2.2 * rate)]
    assert (weights(np.tile(spoken, 3), rate) == 1).all()
    assert (weights(tone(2, 16000), 16000) == 1).all()


@pytest.mark.parametrize("gain", [0.02, 3.0])
def test_loudness_does_not_matter(voice, gain: float) -> None:
    sound, rate = voice
    np.testing.assert_array_equal(weights(sound * np.float32(gain), rate), weights(sound, rate))


def test_a_little_speech_in_a_long_silence_is_heard(voice) -> None:
    sound, rate = voice
    silence = hiss(60, rate, -65)
    out = weights(np.concatenate([silence, sound[int(1.2 * rate) : int(2.2 * rate)], silence]), rate)
    assert (between(out, 60, 60.9) == 1).all()
    assert np.count_nonzero(out) < 2 * 25
