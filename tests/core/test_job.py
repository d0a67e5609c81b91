"""Whole jobs on real files: what is written shows the right pictures at the right time."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from musetalk_core import job, video_frames, video_survey
from musetalk_core.job import Settings
from musetalk_core.progress import silent
from tests.core.jobs import (
    BOX,
    SIZE,
    Listeners,
    bursts,
    ends_of,
    film,
    loud_at,
    number_of,
    opened_at,
    speak,
    track_file,
    voice_file,
)
from tests.core.media_samples import NTSC
from tests.core.stand_ins import counted_rows, fixed_track

RATES = [Fraction(24000, 1001), Fraction(25), NTSC, Fraction(30), Fraction(50), Fraction(60)]
AAC_BLOCK = 1024  # samples

pytestmark = pytest.mark.usefixtures("all_skin")


# Rates


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_every_rate_is_kept_and_the_mouth_moves_with_the_sound(tmp_path: Path, rate: Fraction) -> None:
    source = film(tmp_path, int(1.2 * rate), rate)
    voice = voice_file(tmp_path / "voice.wav", bursts(1.0, (0.3, 0.7)))
    out = speak(tmp_path, source, voice, int(1.2 * rate))
    count = int(rate)  # what fits into a second
    assert (out.rate, out.outcome.fps, out.outcome.frames) == (rate, rate, count)
    assert out.numbers == list(range(count))
    assert out.times == [i / rate for i in range(count)]
    assert loud_at(out.path) == pytest.approx([0.3, 0.7], abs=0.01)
    assert opened_at(out) == pytest.approx([0.3, 0.7], abs=float(1 / rate) + 0.01)
    picture, sound = ends_of(out.path)
    assert picture == count / rate
    assert 0 <= sound - 1 <= Fraction(AAC_BLOCK, 16000)


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_every_rate_is_conformed_to_25(tmp_path: Path, rate: Fraction) -> None:
    """Each frame of the output shows what is on screen in its middle."""
    source = film(tmp_path, int(1.2 * rate), rate)
    voice = voice_file(tmp_path / "voice.wav", bursts(1.0, (0.3, 0.7)))
    expected = [int((i + Fraction(1, 2)) / 25 * rate) for i in range(25)]
    out = speak(tmp_path, source, voice, int(1.2 * rate), fps=Fraction(25))
    assert (out.rate, out.outcome.fps) == (25, 25)
    assert out.numbers == expected
    assert opened_at(out) == pytest.approx([0.3, 0.7], abs=0.05)
    picture, sound = ends_of(out.path)
    assert picture == 1
    assert 0 <= sound - 1 <= Fraction(AAC_BLOCK, 16000)


@pytest.mark.parametrize("fps", [NTSC, Fraction(60)], ids=str)
def test_a_slower_clip_is_conformed_to_a_faster_rate(tmp_path: Path, fps: Fraction) -> None:
    source = film(tmp_path, 24)
    out = speak(tmp_path, source, voice_file(tmp_path / "voice.wav", bursts(0.8, ())), 20, fps=fps)
    assert out.rate == fps
    assert out.numbers == [int((i + Fraction(1, 2)) / fps * 25) for i in range(int(fps * Fraction(4, 5)))]


# Variable rate


def on_screen(milliseconds: list[int], moment: Fraction) -> int:
    """Which frame of a film is shown at a moment in seconds."""
    return max(i for i, start in enumerate(milliseconds) if start <= moment * 1000)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
@pytest.mark.parametrize("fps", [None, Fraction(25), Fraction(60)], ids=str)
def test_a_variable_rate_becomes_constant_with_each_picture_in_its_place(
    tmp_path: Path, name: str, fps: Fraction | None
) -> None:
    milliseconds = np.cumsum([0, *random.Random(1).choices([17, 33, 50, 120], k=40)]).tolist()
    source = film(tmp_path, 41, Fraction(30), name, milliseconds=milliseconds)
    voice = voice_file(tmp_path / "voice.wav", bursts(1.0, (0.3, 0.7)))
    out = speak(tmp_path, source, voice, 41, fps=fps)
    assert out.rate == (fps or out.outcome.fps)
    assert len(out.frames) == int(out.rate)
    assert out.times == [i / out.rate for i in range(len(out.frames))]
    step = 1 / out.rate
    for time, number in zip(out.times, out.numbers, strict=True):
        assert on_screen(milliseconds, time) <= number <= on_screen(milliseconds, time + step)
    assert opened_at(out) == pytest.approx([0.3, 0.7], abs=float(step) + 0.02)


@pytest.mark.parametrize("fps", [None, Fraction(25), Fraction(50)], ids=str)
def test_a_picture_that_stays_on_screen_stays_to_the_end_of_the_voice(tmp_path: Path, fps: Fraction | None) -> None:
    """The voice ends amid a picture that stands still for long: the clip goes on, it does not run backwards."""
    milliseconds = [*range(0, 400, 40), 1400, 1440, 1480]
    source = film(tmp_path, 13, Fraction(25), milliseconds=milliseconds)
    out = speak(tmp_path, source, voice_file(tmp_path / "voice.wav", bursts(1.0, ())), 10, fps=fps)
    assert out.numbers == sorted(out.numbers)
    for time, number in zip(out.times, out.numbers, strict=True):
        assert on_screen(milliseconds, time) <= number <= on_screen(milliseconds, time + 1 / out.rate)
    assert 1 - out.end < 1 / out.rate


# Length


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        ("pingpong", [*range(8), *range(7, -1, -1), *range(4)]),
        ("loop", [*range(8), *range(8), *range(4)]),
        ("hold", [*range(8), *[7] * 12]),
        ("trim", [*range(8)]),
    ],
)
def test_a_voice_longer_than_the_clip(tmp_path: Path, length: str, shown: list[int]) -> None:
    source = film(tmp_path, 8)
    for name, codec in (("voice.wav", "pcm_s16le"), ("voice.m4a", "aac")):
        voice = voice_file(tmp_path / name, bursts(0.8, (0.4, 0.6), lasting=0.1), codec)
        out = speak(tmp_path, source, voice, 8, length=length)
        assert out.numbers == shown
        picture, sound = ends_of(out.path)
        assert picture == len(shown) / Fraction(25)
        assert 0 <= sound - (picture if length == "trim" else Fraction(4, 5)) <= Fraction(2 * AAC_BLOCK, 16000)
        if length != "trim":
            assert opened_at(out) == pytest.approx([0.4, 0.6], abs=0.07)  # AAC is heard a little early


@pytest.mark.parametrize("length", ["pingpong", "loop", "hold", "trim"])
def test_a_voice_shorter_than_the_clip(tmp_path: Path, length: str) -> None:
    source = film(tmp_path, 30)
    out = speak(tmp_path, source, voice_file(tmp_path / "voice.wav", bursts(0.5, (0.2,))), 30, length=length)
    assert out.numbers == list(range(12))  # 12.5 frames
    picture, sound = ends_of(out.path)
    assert picture == Fraction(12, 25)
    assert 0 <= sound - Fraction(1, 2) <= Fraction(AAC_BLOCK, 16000)


@pytest.mark.parametrize("length", ["pingpong", "trim"])
def test_a_conformed_clip_keeps_its_length_where_the_voice_outlasts_it(tmp_path: Path, length: str) -> None:
    source = film(tmp_path, 20, Fraction(50))  # 0.4 s, ten frames at 25
    voice = voice_file(tmp_path / "voice.wav", bursts(0.6, ()))
    out = speak(tmp_path, source, voice, 20, fps=Fraction(25), length=length)
    forwards = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    assert out.numbers == (forwards if length == "trim" else [*forwards, 19, 17, 15, 13, 11])


# Economy


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many frames were decoded to know of them, and to use them."""
    counts = {"surveyed": 0, "converted": 0}
    fingerprint, to_rgb = video_survey.fingerprint, video_frames.to_rgb

    def surveyed(frame):
        counts["surveyed"] += 1
        return fingerprint(frame)

    def converted(frame, converter):
        counts["converted"] += 1
        return to_rgb(frame, converter)

    monkeypatch.setattr(video_survey, "fingerprint", surveyed)
    monkeypatch.setattr(video_frames, "to_rgb", converted)
    return counts


def test_only_what_the_voice_reaches_is_decoded(tmp_path: Path, counts: dict[str, int]) -> None:
    source = film(tmp_path, 250, options={"g": "25"})
    voice = voice_file(tmp_path / "voice.wav", bursts(0.2, ()))
    models, output = Listeners(), tmp_path / "out.mp4"
    settings = Settings(face_track=track_file(tmp_path, 250))
    assert job.run(models, source, voice, output, settings, lambda stage: silent).frames == 5
    assert counts["surveyed"] == 5
    assert counts["converted"] <= 7  # one more where the first is measured
    assert sum(models.networks.unet.batches) == 5


# First frames


@pytest.mark.parametrize(
    ("rate", "settings"),
    [
        (Fraction(25), {}),
        (Fraction(50), {"fps": Fraction(25)}),
        (NTSC, {"fps": Fraction(60)}),
        (Fraction(25), {"fade_in_silence": True, "length": "trim"}),
    ],
    ids=str,
)
def test_the_first_frames_are_those_of_the_whole_job_and_the_sound_ends_with_them(
    tmp_path: Path, rate: Fraction, settings: dict
) -> None:
    source = film(tmp_path, 60, rate)
    voice = voice_file(tmp_path / "voice.wav", bursts(0.9, (0.1, 0.5)))
    whole = speak(tmp_path, source, voice, 60, **settings)
    out = speak(tmp_path, source, voice, 60, **settings, first_frames=6)
    assert (out.outcome.frames, out.rate, out.numbers) == (6, whole.rate, whole.numbers[:6])
    for frame, expected in zip(out.frames, whole.frames, strict=False):
        assert np.abs(frame.astype(int) - expected).mean() < 4  # compressed anew, on each machine in its own way
    picture, sound = ends_of(out.path)
    assert picture == 6 / out.rate
    assert 0 <= sound - picture <= Fraction(2 * AAC_BLOCK, 16000)


@pytest.mark.parametrize("fps", [None, Fraction(25)], ids=str)
def test_the_first_frames_of_a_variable_rate(tmp_path: Path, fps: Fraction | None) -> None:
    milliseconds = np.cumsum([0, *random.Random(1).choices([17, 33, 50, 120], k=40)]).tolist()
    source = film(tmp_path, 41, Fraction(30), milliseconds=milliseconds)
    voice = voice_file(tmp_path / "voice.wav", bursts(1.0, ()))
    whole = speak(tmp_path, source, voice, 41, fps=fps)
    out = speak(tmp_path, source, voice, 41, fps=fps, first_frames=9)
    assert (out.rate, out.numbers) == (whole.rate, whole.numbers[:9])


@pytest.mark.parametrize("first_frames", [15, 16, 100])
def test_first_frames_beyond_the_end_are_all_there_are(tmp_path: Path, first_frames: int) -> None:
    source = film(tmp_path, 8)
    voice = voice_file(tmp_path / "voice.wav", bursts(0.63, ()))  # 15.75 frames
    out = speak(tmp_path, source, voice, 8, first_frames=first_frames)
    assert out.numbers == [*range(8), *range(7, 0, -1)]
    assert ends_of(out.path)[1] >= Fraction(63, 100)


def test_only_what_the_first_frames_need_is_looked_at_encoded_and_painted(
    tmp_path: Path, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = film(tmp_path, 250, options={"g": "25"})
    voice = voice_file(tmp_path / "voice.wav", bursts(70, ()))  # three windows of Whisper
    models, looked_at = Listeners(), []

    def observe(models, frames, batch_size, keypoints, progress, options, fps, part):
        looked_at.extend(number_of(frames[i]) for i in range(len(frames)))
        return fixed_track(SIZE, BOX, [True] * len(frames)).seen

    monkeypatch.setattr(job, "observe_faces", observe)
    outcome = job.run(
        models, source, voice, tmp_path / "out.mp4", Settings(first_frames=3, batch_size=2), lambda stage: silent
    )
    assert (outcome.frames, looked_at) == (3, [0, 1, 2])
    assert counts["surveyed"] <= 4  # one more to be safe
    assert sum(models.networks.vae.encoded) == 2 * 3  # masked and whole
    assert sum(models.networks.unet.batches) == sum(models.networks.vae.decoded) == 3
    assert models.networks.whisper.windows == 1


def test_the_first_frames_of_features_hear_what_comes_after_them() -> None:
    features = counted_rows(10)
    first = features.first(4)
    assert (first.frames, len(first.speech)) == (4, 4)
    np.testing.assert_array_equal(first.tokens([3]), features.tokens([3]))
    assert features.first(11).frames == 10
