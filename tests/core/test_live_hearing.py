"""Features of a sound that is still coming in: the offline ones where it is over, near them before."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from musetalk_core import audio
from musetalk_core.live_hearing import LOOK_AHEAD, Hearing, Resampler
from musetalk_core.media_input import read_sound
from musetalk_core.releases import RELEASES
from tests.core.jobs import LoudnessEncoder
from tests.core.stand_ins import SAMPLE, tone

FPS = Fraction(25)


@pytest.fixture(scope="module")
def encoder(synthetic_models):
    return synthetic_models().whisper()


def voice(seconds: float | None = None) -> tuple[np.ndarray, int]:
    sound = read_sound(SAMPLE / "voice.wav")
    mono = sound.waveform.mean(axis=0)
    return mono[: None if seconds is None else int(seconds * sound.rate)], sound.rate


def cut(length: int, marks: list[int]) -> list[slice]:
    edges = sorted({0, length, *(mark % length for mark in marks)})
    return [slice(a, b) for a, b in pairwise(edges)]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from((8000, 16000, 22050, 44100, 48000)), st.lists(st.integers(0, 10**6), max_size=40))
def test_a_stream_is_resampled_like_the_whole_however_it_is_cut(rate: int, marks: list[int]) -> None:
    sound = np.random.default_rng(rate).uniform(-0.5, 0.5, rate // 5 + 7).astype(np.float32)
    stream = Resampler(rate)
    parts = [stream.push(sound[part]) for part in cut(len(sound), marks)]
    np.testing.assert_array_equal(np.concatenate([*parts, stream.finish()]), audio.to_mono_16k(sound[None], rate))


def test_what_a_rate_needs_is_made_once(monkeypatch) -> None:
    made, firwin = [], signal.firwin
    monkeypatch.setattr(signal, "firwin", lambda *args, **more: made.append(args) or firwin(*args, **more))
    for _ in range(3):
        Resampler(47123)
    assert len(made) == 1


@pytest.mark.parametrize("release", ["1.0", "1.5"])
@pytest.mark.parametrize("fps", [FPS, Fraction(30000, 1001)])
def test_heard_to_its_end_it_has_the_offline_features(encoder, release: str, fps: Fraction) -> None:
    sound, rate = voice(3.01)
    whole = audio.listen(lambda: encoder, sound[None], rate, fps, RELEASES[release])
    hearing = Hearing(lambda: encoder, rate, fps, RELEASES[release])
    for part in cut(len(sound), [1, 500, 501, 20000]):
        hearing.push(sound[part])
    hearing.end()
    frames = range(whole.frames)
    with torch.inference_mode():
        np.testing.assert_array_equal(hearing.features.tokens(frames), whole.tokens(frames))
    assert hearing.ready == whole.frames + 1  # one is begun


@pytest.mark.parametrize(("fps", "piece"), [(FPS, 40), (Fraction(50), 440)])
def test_a_frame_is_known_when_its_last_row_is_and_not_before(fps: Fraction, piece: int) -> None:
    """Of a row, what the encoder's convolutions give does not change any more."""

    class Convolutions(LoudnessEncoder):
        """A hop is told from another by its loudness, and a row sees five of them."""

        def conv2(self, mel: torch.Tensor) -> torch.Tensor:
            level = torch.nn.functional.pad(mel.amax(1), (2, 2), value=-9)
            rows = torch.stack([level[:, i : i + 3000 : 2] for i in range(5)]).amax(0) > 0.5
            return 1.0 * rows[:, None].expand(-1, 384, -1)

    rate, rng = 16000, np.random.default_rng(0)
    sound = (tone(2, rate) * (rng.random(2 * rate // 320) > 0.7).repeat(320)).astype(np.float32)
    network = Convolutions()
    whole = audio.listen(lambda: network, sound[None], rate, fps, RELEASES["1.5"])
    hearing, shown = Hearing(lambda: network, rate, fps, RELEASES["1.5"]), 0
    for first in range(0, len(sound) - piece, piece):
        hearing.push(sound[first : first + piece])
        heard = Fraction(first + piece, rate)
        assert hearing.ready == max(0, (heard - LOOK_AHEAD) // (1 / fps) + 1)
        if hearing.ready > shown:
            frames = range(shown, hearing.ready)
            np.testing.assert_array_equal(hearing.features.tokens(frames), whole.tokens(frames))
            shown = hearing.ready
    assert shown > 40


def test_the_encoder_runs_once_for_what_was_not_known_and_not_again() -> None:
    network = LoudnessEncoder()
    hearing = Hearing(lambda: network, 16000, FPS, RELEASES["1.5"])
    hearing.push(tone(2, 16000).astype(np.float32))
    hearing.features.tokens(range(0, 8))
    hearing.features.tokens(range(8, 16))
    assert network.windows == 1
    hearing.push(tone(1, 16000).astype(np.float32))
    hearing.features.tokens(range(16, 24))
    assert network.windows == 1
    hearing.features.tokens(range(hearing.ready - 8, hearing.ready))
    assert network.windows == 2


@pytest.mark.parametrize("release", ["1.0", "1.5"])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_the_shortest_utterance_is_a_frame(release: str, rate: int) -> None:
    hearing = Hearing(LoudnessEncoder, rate, FPS, RELEASES[release])
    hearing.push(np.full(1, 0.1, np.float32))
    assert hearing.ready == 0
    hearing.end()
    assert hearing.ready == 1
    assert hearing.features.tokens([0]).shape == (1, 50, 384)


def test_minutes_of_speech_are_heard_in_place_and_take_no_more_memory() -> None:
    """Every burst opens the mouth where it is, across all moves of the window; the first has long been forgotten."""
    network, rate = LoudnessEncoder(), 16000
    hearing, shown, opened, sizes = Hearing(lambda: network, rate, FPS, RELEASES["1.5"]), 0, [], []
    burst, quiet = tone(0.2, rate).astype(np.float32), np.zeros(int(1.8 * rate), np.float32)
    tracemalloc.start()
    for i in range(120):  # four minutes
        hearing.push(burst if i % 2 == 0 else burst / 10**6)
        hearing.push(quiet)
        frames = range(shown, hearing.ready)
        tokens = hearing.features.tokens(frames)
        loud = (tokens.unflatten(1, (10, 5))[:, 4].mean((1, 2)) > 0).numpy()
        opened += [frame for frame, now in zip(frames, loud, strict=True) if now]
        shown = frames.stop
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    starts = [frame for frame in opened if frame - 1 not in opened]
    assert starts == pytest.approx([100 * i for i in range(60)], abs=1)
    assert max(sizes[60:]) < max(sizes[:60]) + 100_000
