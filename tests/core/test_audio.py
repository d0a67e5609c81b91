"""Any sound comes in, and every frame gets the audio of its own moment."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from musetalk_core import audio
from musetalk_core.audio import AudioFeatures, to_mono_16k
from musetalk_core.errors import InputError
from musetalk_core.media_input import read_sound
from musetalk_core.releases import RELEASES
from tests.core.stand_ins import tone, write_wav

RATE = 16000


WIDTH = 32  # of the narrow Whisper's states


def narrow_whisper() -> torch.nn.Module:
    """Whisper's encoder with untrained weights and states of 32 instead of 384: it runs at once."""
    from whisper.model import AudioEncoder

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AudioEncoder(80, 1500, WIDTH, 2, 4).eval()


@pytest.fixture(scope="module")
def encode():
    """Encodes (channels, samples) or (samples,)."""
    narrow = narrow_whisper()

    @torch.inference_mode()
    def run(sound: np.ndarray, fps=25, release: str = "1.5", encoder=narrow, **options) -> AudioFeatures:
        return audio.encode(lambda: encoder, np.atleast_2d(sound), RATE, Fraction(fps), RELEASES[release], **options)

    return run


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that swells and fades, peak 0.4."""
    rng = np.random.default_rng(seed)
    sound = rng.standard_normal(int(seconds * RATE)) * (1 + np.sin(np.arange(int(seconds * RATE)) / 3000))
    return 0.4 * sound / np.abs(sound).max()


def pitch(mono: np.ndarray) -> float:
    """The strongest frequency, Hz."""
    return float(np.abs(np.fft.rfft(mono)).argmax() * RATE / len(mono))


# What comes in


def test_channels_are_averaged() -> None:
    left, right = tone(0.1, RATE), tone(0.1, RATE, 0.3, 700)
    np.testing.assert_allclose(to_mono_16k(np.stack((left, right)), RATE), (left + right) / 2, atol=1e-6)
    assert np.abs(to_mono_16k(np.stack((left, -left)), RATE)).max() < 1e-6


@pytest.mark.parametrize(
    ("rate", "channels", "layout"),
    [(8000, 1, "mono"), (16000, 1, "mono"), (44100, 2, "stereo"), (48000, 6, "5.1"), (96000, 2, "stereo")],
)
def test_files_of_any_rate_and_channels_are_heard_alike(
    tmp_path: Path, rate: int, channels: int, layout: str
) -> None:
    original = np.tile(tone(0.5, rate), (channels, 1))
    sound = read_sound(write_wav(tmp_path / "a.wav", original, rate, layout))
    mono = to_mono_16k(sound.waveform, sound.rate)
    assert mono.dtype == np.float32
    assert len(mono) == RATE // 2
    assert pitch(mono) == 200
    inside = slice(800, -800)  # the resampling filter rings at the ends
    np.testing.assert_allclose(mono[inside], tone(0.5, RATE)[inside], atol=5e-3)


@pytest.mark.parametrize("scale", [2**15, 2**23, 2**31])
@pytest.mark.parametrize("peak", [1.0, 0.4, 0.1])
def test_integers_as_floats_are_heard_like_full_scale_one(scale: int, peak: float) -> None:
    sound = tone(0.1, RATE, peak)[None]
    np.testing.assert_allclose(to_mono_16k(sound * scale, RATE), to_mono_16k(sound, RATE), atol=1e-6)


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_integers_as_floats_give_the_same_features(encode, release: str) -> None:
    sound = np.round(voice(0.5) * 32768) / 32768
    assert torch.allclose(encode(sound * 32768, release=release).rows, encode(sound, release=release).rows, atol=1e-5)


def test_sound_slightly_too_loud_is_turned_down_not_clipped() -> None:
    loud = tone(0.1, RATE, 1.5)
    np.testing.assert_allclose(to_mono_16k(loud[None], RATE), loud / np.abs(loud).max(), atol=1e-6)


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_a_sound_becomes_tokens_of_the_networks_size(encode, synthetic_models, release: str) -> None:
    features = encode(voice(0.5), release=release, encoder=synthetic_models().whisper())
    assert features.frames == 12 and features.fps == 25 and features.release == release
    assert features.rows.shape == (25, 5, 384)
    assert features.tokens(range(3, 7)).shape == (4, 50, 384)


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_silence_is_a_sound(encode, release: str) -> None:
    features = encode(np.zeros(RATE), release=release)
    assert features.frames == 25
    assert features.rows.isfinite().all()


# What cannot be worked with


@pytest.mark.parametrize("shape", [(1, 0), (2, 0), (0, 100)])
def test_an_empty_sound_is_refused(encode, shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="empty") as failure:
        encode(np.zeros(shape))
    assert failure.value.remedy


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_samples_that_are_no_numbers_are_counted(encode, bad: float) -> None:
    sound = np.tile(tone(1, RATE), (2, 1))
    sound[0, 100:140] = bad
    sound[1, 5] = bad
    with pytest.raises(InputError, match="41 samples") as failure:
        encode(sound)
    assert "NaN" in failure.value.cause and failure.value.remedy


def test_less_than_one_frame_is_refused_with_its_length(encode) -> None:
    with pytest.raises(InputError, match=r"0\.030 s") as failure:
        encode(tone(0.03, RATE))
    assert "25 fps" in failure.value.cause
    assert "40 ms" in failure.value.remedy


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_the_shortest_sounds_give_their_frames_or_a_reason(encode, release: str) -> None:
    assert encode(tone(0.05, RATE), release=release).frames == 1
    assert encode(tone(0.05, RATE), release=release).tokens([0]).shape == (1, 50, WIDTH)
    for seconds in (0.005, 0.0131, 0.018, 0.0199, 0.0201, 0.025):
        try:
            features = encode(tone(seconds, RATE), fps=100, release=release)
        except InputError as error:
            assert f"{math.floor(seconds * RATE) / RATE:.3f} s" in error.cause
            assert seconds < 0.02
            continue
        assert features.frames == math.floor(seconds * 100)
        assert features.tokens(range(features.frames)).isfinite().all()


# Which rows a frame gets


def counted(rows: int, fps, repeat: bool = False) -> AudioFeatures:
    """Features whose row r is filled with r + 1."""
    values = torch.arange(1.0, rows + 1)[:, None, None].expand(-1, 5, 384)
    return AudioFeatures(values, 10**9, Fraction(fps), repeat, "any", np.ones(1))


def rows_of(features: AudioFeatures, frame: int) -> list[int]:
    """The ten rows of a frame, as `counted` filled them."""
    tokens = features.tokens([frame])
    assert tokens.shape == (1, 50, 384)
    assert (tokens == tokens[:, :, :1]).all()
    assert (tokens.unflatten(1, (10, 5)) == tokens.unflatten(1, (10, 5))[:, :, :1]).all()
    return tokens[0, ::5, 0].int().tolist()


def test_outside_the_sound_there_is_silence_with_1_5() -> None:
    features = counted(20, 25)
    assert rows_of(features, 0) == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert rows_of(features, 1) == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert rows_of(features, 2) == list(range(1, 11))
    assert rows_of(features, 9) == [15, 16, 17, 18, 19, 20, 0, 0, 0, 0]


def test_outside_the_sound_its_edges_are_repeated_with_1_0() -> None:
    features = counted(20, 25, repeat=True)
    assert rows_of(features, 0) == [1, 1, 1, 1, 1, 2, 3, 4, 5, 6]
    assert rows_of(features, 9) == [15, 16, 17, 18, 19, 20, 20, 20, 20, 20]


def test_the_releases_treat_edges_so(encode) -> None:
    sound = tone(0.4, RATE)
    first = encode(sound, release="1.5").tokens([0])[0]
    assert not first[:20].any() and first[20:].all(dim=1).any()
    first, last = encode(sound, release="1.0").tokens(range(10))[[0, 9]]
    for i in range(1, 5):
        assert torch.equal(first[5 * i : 5 * i + 5], first[:5])
        assert torch.equal(last[-5 * i - 5 : -5 * i], last[-5:])
    assert first[:20].any()


@pytest.mark.parametrize(
    "fps", [Fraction("23.976"), Fraction(30000, 1001), Fraction("59.94"), Fraction(12), Fraction(25)]
)
def test_a_frame_hears_its_own_moment_at_any_rate(fps: Fraction) -> None:
    features = counted(60 * 50, fps)
    for frame in (10, 11, 100, 577, 600):
        moment = frame / fps  # seconds
        first = math.floor(moment * 50) - 4
        assert rows_of(features, frame) == list(range(first + 1, first + 11))


def test_frames_come_alone_as_they_come_together(encode) -> None:
    features = encode(voice(0.5), fps=Fraction("23.976"))
    together = features.tokens(range(features.frames))
    assert len(together) == features.frames == 11
    for i in range(features.frames):
        assert torch.equal(features.tokens([i])[0], together[i])


# Long sounds


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_a_sound_of_several_windows_has_all_its_rows(encode, release: str) -> None:
    sound = voice(70)
    calls: list[tuple[int, int]] = []
    features = encode(sound, release=release, progress=lambda done, total, _: calls.append((done, total)))
    assert features.rows.shape == (70 * 50, 5, WIDTH)
    assert features.frames == 70 * 25
    assert features.rows.dtype == torch.float32 and features.rows.isfinite().all()
    assert calls == [(1, 3), (2, 3), (3, 3)]
    if release == "1.5":  # a window there does not know of the others
        assert torch.allclose(features.rows[3000:], encode(sound[60 * RATE :]).rows, atol=1e-4)


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_a_sound_just_over_a_window_loses_nothing(encode, release: str) -> None:
    features = encode(voice(30.1), release=release)
    assert len(features.rows) == 1505
    assert features.frames == 752
    assert features.tokens([751])[0].any(dim=1).all() == (release == "1.0")


def test_stopping_passes_through_after_the_window(encode) -> None:
    class Stopped(Exception):
        pass

    seen = []

    def stop(done: int, total: int, preview: object) -> None:
        seen.append(done)
        raise Stopped

    with pytest.raises(Stopped):
        encode(voice(31), progress=stop)
    assert seen == [1]


@pytest.mark.parametrize("release", ["1.0", "1.5"])
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001)], ids=str)
def test_parts_have_the_tokens_and_the_speech_of_the_whole(encode, release: str, fps: Fraction) -> None:
    whole = encode(np.concatenate((voice(0.7), np.zeros(8000), voice(0.4))), fps=fps, release=release)
    tokens = whole.tokens(range(whole.frames))
    assert 0 < whole.speech.mean() < 1
    for start, stop in ((0, 7), (7, 14), (14, whole.frames), (whole.frames - 1, whole.frames)):
        part = whole.part(start, stop)
        assert part.frames == len(part.speech) == stop - start
        assert torch.equal(part.tokens(range(part.frames)), tokens[start:stop])
        np.testing.assert_array_equal(part.speech, whole.speech[start:stop])
    part = whole.part(5, 20).part(3, 9).first(4)
    assert torch.equal(part.tokens(range(part.frames)), tokens[8:12])


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_a_sound_listened_to_on_the_way_gives_the_same_and_encodes_each_window_once(
    release: str, encode, synthetic_models
) -> None:
    models, sound = synthetic_models(release), voice(65)
    asked = []

    def encoder():
        asked.append(1)
        return models.whisper()

    features = audio.listen(encoder, sound[None], RATE, Fraction(25), RELEASES[release])
    assert not asked
    whole = encode(sound, release=release, encoder=models.whisper())
    assert (features.frames, len(features.rows)) == (whole.frames, len(whole.rows))
    for start in range(0, whole.frames, 50):
        batch = range(start, min(start + 50, whole.frames))
        assert torch.equal(features.tokens(batch), whole.tokens(batch))
    assert len(asked) == 3
