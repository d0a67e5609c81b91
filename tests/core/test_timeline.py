"""Picture and sound stay together: at any frame rate, for any length."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from musetalk_core.errors import InputError
from musetalk_core.timeline import LENGTHS, exact_rate, frame_count, output_frames, source_frame
from tests.core.stand_ins import conform

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        ("pingpong", [0, 1, 2, 2, 1, 0, 0, 1, 2, 2]),
        ("loop", [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]),
        ("hold", [0, 1, 2, 2, 2, 2, 2, 2, 2, 2]),
        ("trim", [0, 1, 2]),
    ],
)
def test_what_happens_when_the_sound_outlasts_the_clip(length: str, shown: list[int]) -> None:
    assert output_frames(10, 3, length) == len(shown)
    assert [source_frame(i, 3, length) for i in range(len(shown))] == shown
    assert output_frames(2, 3, length) == 2  # and where it does not


@pytest.mark.parametrize("length", LENGTHS)
def test_a_still_stays(length: str) -> None:
    assert {source_frame(i, 1, length) for i in range(10)} == {0}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (25, Fraction(25)),
        (29.97, Fraction(2997, 100)),
        (23.976, Fraction(23976, 1000)),
        (59.94, Fraction(5994, 100)),
        (30000 / 1001, NTSC),
        (24000 / 1001, Fraction(24000, 1001)),
        (60000 / 1001, Fraction(60000, 1001)),
        (NTSC, NTSC),
        (12.5, Fraction(25, 2)),
        (240, Fraction(240)),
        (1 / 3, Fraction(1, 3)),
    ],
)
def test_a_rate_means_what_was_written(given: float | Fraction, meant: Fraction) -> None:
    assert exact_rate(given) == meant


@pytest.mark.parametrize("bad", [0, -25, 1000, 240.1, math.nan, math.inf, -math.inf, 1e-9])
def test_a_rate_that_cannot_be_used_is_named(bad: float) -> None:
    with pytest.raises(InputError) as failure:
        exact_rate(bad)
    assert str(bad) in failure.value.cause and "240" in failure.value.remedy


@pytest.mark.parametrize(
    ("fps", "ten_minutes", "an_hour"),
    [
        (23.976, 14385, 86313),
        (29.97, 17982, 107892),
        (59.94, 35964, 215784),
        (30000 / 1001, 17982, 107892),
        (25, 15000, 90000),
    ],
)
def test_long_videos_have_exactly_as_many_frames_as_their_sound(fps: float, ten_minutes: int, an_hour: int) -> None:
    assert frame_count(600 * 44100, 44100, exact_rate(fps)) == ten_minutes
    assert frame_count(3600 * 44100, 44100, exact_rate(fps)) == an_hour


@pytest.mark.parametrize("fps", [23.976, 29.97, 59.94, 30000 / 1001, 25, 12, 60, 7.5])
@pytest.mark.parametrize("samples", [1, 16000, 600 * 44100 + 17, 3600 * 44100 + 12345])
def test_the_picture_ends_with_the_sound(fps: float, samples: int) -> None:
    rate = exact_rate(fps)
    left_over = Fraction(samples, 44100) - frame_count(samples, 44100, rate) / rate
    assert 0 <= left_over < 1 / rate


@pytest.mark.parametrize("n", [1, 2, 3, 100])
@pytest.mark.parametrize("fps", [Fraction(25), NTSC])
def test_a_clip_at_the_right_rate_is_left_alone(n: int, fps: Fraction) -> None:
    assert conform(n, fps, fps) == list(range(n))


@pytest.mark.parametrize(
    ("source", "fps", "frames", "shown"),
    [
        (30, 25, 60, 50),
        (12, 25, 24, 50),
        (60, 25, 120, 50),
        (50, 25, 3, 2),
        (NTSC, 25, 2997, 2500),
        (25, NTSC, 50, 60),
    ],
)
def test_a_clip_of_another_rate_takes_the_same_time(source, fps, frames: int, shown: int) -> None:
    source, fps = Fraction(source), Fraction(fps)
    indices = conform(frames, source, fps)
    assert len(indices) == shown
    assert indices == sorted(indices) and indices[0] >= 0 and indices[-1] <= frames - 1
    for i, index in enumerate(indices):
        middle = (i + Fraction(1, 2)) / fps
        on_screen = index / source <= middle < (index + 1) / source
        assert on_screen or index == frames - 1, (i, index)


def test_slower_clips_repeat_frames_and_faster_ones_drop_them() -> None:
    assert {conform(24, Fraction(12), Fraction(25)).count(i) for i in range(24)} == {2, 3}
    assert len(set(conform(120, Fraction(60), Fraction(25)))) == 50


def test_a_clip_shorter_than_one_frame_still_shows_it() -> None:
    assert conform(1, Fraction(240), Fraction(1)) == [0]
