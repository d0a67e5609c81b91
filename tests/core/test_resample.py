"""A clip at another rate lasts as long, moves as the scene did, and never mixes two scenes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.media_input import read_clip
from musetalk_core.resample import METHODS, is_cut, resample
from tests.core.stand_ins import SAMPLE, conform, pictures

FILM = Fraction(24000, 1001)
FPS = Fraction(25)
RATES = [Fraction(4), Fraction(8), Fraction(12), Fraction(24), FILM, Fraction(30)]


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return read_clip(SAMPLE / "face.jpg").frames[0]


@pytest.fixture(scope="module")
def scene(photograph) -> Callable[[Fraction], np.ndarray]:
    """A face that sways, nods and tilts before a still background, at any moment in seconds."""
    background = cv2.resize(photograph[::-1], (240, 200))

    def at(seconds: Fraction) -> np.ndarray:
        t = float(seconds)
        place = cv2.getRotationMatrix2D((256, 256), 6 * np.sin(2 * t), 0.25)
        place[:, 2] += (-136 + 45 * np.sin(1.7 * t), -156 + 12 * np.cos(2.3 * t))
        return cv2.warpAffine(
            photograph,
            place,
            (240, 200),
            background.copy(),
            flags=cv2.INTER_AREA,
            borderMode=cv2.BORDER_TRANSPARENT,
        )

    return at


def clip_of(scene: Callable, fps: Fraction, count: int) -> list[np.ndarray]:
    return [scene((i + Fraction(1, 2)) / fps) for i in range(count)]


def noise_ratio(shown: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB."""
    return 10 * np.log10(255**2 / np.square(shown.astype(float) - truth).mean())


@pytest.mark.parametrize("source_fps", RATES, ids=str)
def test_motion_is_nearer_to_the_truth_than_cross_fade_and_repeats(scene, source_fps: Fraction) -> None:
    clip = clip_of(scene, source_fps, round(source_fps))
    count = len(resample(clip, source_fps, FPS))
    truth = clip_of(scene, FPS, count)
    ends = 1 + int(FPS / source_fps)  # there, the first and the last frame are held
    quality = {}
    for method in METHODS:
        shown = zip(resample(clip, source_fps, FPS, method), truth, strict=True)
        quality[method] = np.mean([noise_ratio(*pair) for pair in list(shown)[ends:-ends]])
    assert quality["motion"] > quality["blend"] + 2
    assert quality["motion"] > quality["nearest"] + 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("source_fps", RATES, ids=str)
def test_the_clip_lasts_as_long_from_its_first_to_its_last_frame(source_fps: Fraction, method: str) -> None:
    frames = [np.full((16, 12, 3), 10 * i, np.uint8) for i in range(24)]
    shown = list(resample(frames, source_fps, FPS, method))
    assert len(shown) == max(1, round(24 * FPS / source_fps))
    level = [float(frame.mean()) for frame in shown]
    assert level == sorted(level)
    if source_fps < FPS:
        np.testing.assert_array_equal(shown[0], frames[0])
        np.testing.assert_array_equal(shown[-1], frames[-1])


def test_an_hour_stays_in_time() -> None:
    class Numbers(list):
        """Frame i is one pixel of level i modulo 256."""

        def __getitem__(self, i: int) -> np.ndarray:
            return np.full((1, 1, 3), i % 256, np.uint8)

    hour = Numbers([None] * 86314)  # at 24000/1001
    shown = resample(hour, FILM, FPS, "nearest")
    assert len(shown) == 90000
    expected = conform(len(hour), FILM, FPS)
    for i in (0, 1, 12345, 45000, 89999, -1):
        assert shown[i][0, 0, 0] == expected[i] % 256


def test_nearest_shows_the_frames_that_conform_names() -> None:
    frames = pictures(20)
    for source_fps in RATES:
        shown = resample(frames, source_fps, FPS, "nearest")
        assert all(one is frames[i] for one, i in zip(shown, conform(20, source_fps, FPS), strict=True))


def test_blend_fades_by_time() -> None:
    frames = [np.full((8, 8, 3), level, np.uint8) for level in (0, 8, 16)]  # at 10 a second
    shown = [int(frame[0, 0, 0]) for frame in resample(frames, Fraction(10), Fraction(40), "blend")]
    # The frames stand for 0.05, 0.15 and 0.25 s; output frames for 0.0125, 0.0375, 0.0625 ...
    assert shown == [0, 0, 1, 3, 5, 7, 9, 11, 13, 15, 16, 16]


@pytest.mark.parametrize("method", METHODS)
def test_the_same_rate_leaves_every_frame_as_it_is(method: str) -> None:
    frames = pictures(5)
    assert all(one is frame for one, frame in zip(resample(frames, FPS, FPS, method), frames, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_a_single_picture_stays_one_picture(method: str) -> None:
    frames = pictures(1)
    assert [frame is frames[0] for frame in resample(frames, Fraction(8), FPS, method)] == [True]


@pytest.mark.parametrize("method", METHODS)
def test_a_cut_stays_a_cut(scene, photograph, method: str) -> None:
    before, after = scene(Fraction(0)), cv2.resize(photograph[40:240, 200:420], (240, 200))
    shown = list(resample([before, after], Fraction(8), FPS, method))
    np.testing.assert_array_equal(shown, [before] * 3 + [after] * 3)


def test_a_cut_to_another_face_on_the_same_background_is_seen(photograph) -> None:
    other = photograph.copy()
    other[60:300, 140:320] = photograph[60:300, 140:320][::-1]
    assert is_cut(photograph, other)


def test_fast_motion_noise_and_flicker_are_no_cuts(photograph) -> None:
    moved = cv2.warpAffine(photograph, np.float32([[1.03, 0, 24], [0, 1.03, -12]]), (512, 512))
    noise = np.random.default_rng(0).normal(0, 12, photograph.shape)
    noisy = np.clip(photograph + noise, 0, 255).astype(np.uint8)
    flicker = (photograph * 0.93).astype(np.uint8)
    assert not any(is_cut(photograph, other) for other in (photograph, moved, noisy, flicker))


@pytest.mark.parametrize("size", [(1, 1), (8, 200), (300, 12), (64, 64), (100, 1920)])
def test_pictures_of_any_size_work(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(2)]
    assert [frame.shape for frame in resample(frames, Fraction(10), Fraction(40))] == [(*size, 3)] * 8


def test_frames_are_made_when_asked_for_in_any_order(scene) -> None:
    clip = clip_of(scene, Fraction(8), 5)
    lazy = resample(clip, Fraction(8), FPS)
    in_order = list(lazy)
    for i in (9, 2, 15, -1, 7):
        np.testing.assert_array_equal(lazy[i], in_order[i])
    with pytest.raises(IndexError):
        lazy[len(lazy)]


def test_a_number_of_frames_can_be_asked_for() -> None:
    frames = pictures(3)
    assert len(list(resample(frames, Fraction(8), FPS, "nearest", count=4))) == 4
    longer = list(resample(frames, Fraction(8), FPS, "nearest", count=20))
    assert len(longer) == 20 and all(one is frames[-1] for one in longer[9:])


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(InputError, match=r"'rife'.*motion, blend, nearest"):
        resample(pictures(2), Fraction(8), FPS, "rife")
