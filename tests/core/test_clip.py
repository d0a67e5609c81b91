"""A clip looked at in any order shows what a plain decode shows, and holds few frames while it does."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from musetalk_core import video_frames, video_survey
from musetalk_core.errors import MediaError
from musetalk_core.media_input import open_clip
from musetalk_core.video_frames import VideoFrames
from musetalk_core.video_survey import BUFFER_FRAMES, survey_video
from tests.core.media_samples import NTSC, distance, encode_film, noise, plain_decode, walk

LONG_GOP = {"g": "40", "bf": "3"}
FILMS = [
    ("a.mp4", "libx264", "yuv420p", LONG_GOP),
    ("open.mov", "libx264", "yuv420p", LONG_GOP | {"x264-params": "open-gop=1"}),
    ("refresh.mp4", "libx264", "yuv420p", {"g": "20", "x264-params": "intra-refresh=1"}),
    ("a.mkv", "libx264", "yuv420p", LONG_GOP),
    ("a.flv", "libx264", "yuv420p", LONG_GOP),
    ("a.ts", "libx264", "yuv420p", LONG_GOP),
    ("a.avi", "libx264", "yuv420p", LONG_GOP),
    ("mpeg4.avi", "mpeg4", "yuv420p", {"g": "12", "bf": "2"}),
    ("jpeg.avi", "mjpeg", "yuvj420p", {}),
    ("a.mpg", "mpeg2video", "yuv420p", {"g": "12", "bf": "2"}),
    ("a.h264", "libx264", "yuv420p", LONG_GOP),
    ("altref.webm", "libvpx", "yuv420p", {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    ("a.gif", "gif", "rgb8", {}),
]


@pytest.fixture
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few frames are held as of the largest pictures."""
    monkeypatch.setattr(video_survey, "BUFFER_BYTES", 1)


def film(path: Path, count: int = 70, **more) -> list[np.ndarray]:
    """Writes a film of moving pictures; gives what a plain decode of it shows."""
    encode_film(path, walk(count), **more)
    return plain_decode(path)


def assert_shows(frames, expected: list[np.ndarray], order: list[int]) -> None:
    for i in order:
        np.testing.assert_array_equal(frames[i], expected[i], err_msg=f"frame {i}")


# Any order


@pytest.mark.usefixtures("small_buffer")
@pytest.mark.parametrize(("name", "codec", "pix_fmt", "options"), FILMS, ids=[row[0] for row in FILMS])
def test_frames_in_any_order_are_those_of_a_plain_decode(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    expected = film(tmp_path / name, codec=codec, pix_fmt=pix_fmt, options=options)
    frames = open_clip(tmp_path / name).frames
    forwards = list(range(70))
    assert len(frames) == len(expected) == 70
    assert_shows(frames, expected, forwards)
    assert_shows(frames, expected, forwards[::-1])
    assert_shows(frames, expected, random.Random(0).sample(forwards, 20))


@pytest.mark.usefixtures("small_buffer")
def test_frames_are_a_sequence(tmp_path: Path) -> None:
    expected = film(tmp_path / "a.mp4")
    frames = open_clip(tmp_path / "a.mp4").frames
    np.testing.assert_array_equal(frames[-1], expected[-1])
    np.testing.assert_array_equal(list(frames[60:20:-7]), expected[60:20:-7])
    np.testing.assert_array_equal(frames[10:50][5:][-1], expected[49])
    with pytest.raises(IndexError):
        frames[70]


@pytest.mark.usefixtures("small_buffer")
def test_going_backwards_through_a_long_group_holds_few_frames_and_decodes_them_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = film(tmp_path / "a.mp4", 200, options={"g": "200", "bf": "3", "sc_threshold": "0"})
    frames = VideoFrames(survey_video(tmp_path / "a.mp4", None, Fraction(0)))
    assert len(frames.held) == BUFFER_FRAMES
    decoded = []
    known = video_frames.fingerprint
    monkeypatch.setattr(video_frames, "fingerprint", lambda frame: decoded.append(frame.pts) or known(frame))
    for i in reversed(range(200)):
        np.testing.assert_array_equal(frames(i), expected[i])
        assert len(frames.held) <= BUFFER_FRAMES
    assert len(decoded) < 200 * 200 / BUFFER_FRAMES  # one frame at a time it would be 200 * 100


def test_a_short_clip_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = film(tmp_path / "a.mp4")
    frames = open_clip(tmp_path / "a.mp4").frames
    monkeypatch.setattr(video_frames, "open_media", None)
    assert_shows(frames, expected, [*range(70), *range(69, -1, -1)])


class Crooked:
    """A container whose index is wrong: it goes to a later place than asked."""

    def __init__(self, container: av.container.InputContainer) -> None:
        self.container = container

    def __getattr__(self, name: str):
        return getattr(self.container, name)

    def seek(self, target: int, stream: av.VideoStream) -> None:
        self.container.seek(target + round(Fraction(1, 2) / stream.time_base), stream=stream)


@pytest.mark.usefixtures("small_buffer")
def test_where_seeking_goes_wrong_the_frames_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = film(tmp_path / "a.mp4", options={"g": "5"})
    frames = open_clip(tmp_path / "a.mp4").frames
    monkeypatch.setattr(video_frames, "open_media", lambda source: Crooked(av.open(str(source))))
    assert_shows(frames, expected, [69, 68, 40, 12, 66, *range(50, 20, -1)])


class Forgetful(Crooked):
    """A container that goes to the right place, but what it decodes there lacks what came before."""

    def seek(self, target: int, stream: av.VideoStream) -> None:
        self.container.seek(target, stream=stream)
        self.spoilt = 5

    def demux(self, stream: av.VideoStream) -> Iterator[SimpleNamespace]:
        for packet in self.container.demux(stream):
            yield SimpleNamespace(decode=lambda packet=packet: [self.remembered(f) for f in packet.decode()])

    def remembered(self, frame: av.VideoFrame) -> av.VideoFrame:
        self.spoilt = getattr(self, "spoilt", 0) - 1
        if self.spoilt < 0:
            return frame
        grey = frame.from_ndarray(np.full((72, 64), 128, np.uint8), "yuv420p")
        grey.pts = frame.pts
        return grey


@pytest.mark.usefixtures("small_buffer")
def test_pictures_that_come_back_spoilt_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = film(tmp_path / "a.mp4", options={"g": "20"})
    frames = open_clip(tmp_path / "a.mp4").frames
    monkeypatch.setattr(video_frames, "open_media", lambda source: Forgetful(av.open(str(source))))
    assert_shows(frames, expected, list(range(69, -1, -1)))


@pytest.mark.usefixtures("small_buffer")
def test_a_film_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    frames = open_clip(tmp_path / "a.mp4").frames
    encode_film(tmp_path / "a.mp4", noise(70))
    with pytest.raises(MediaError, match=r"a\.mp4 changed while it was read"):
        frames[60]


# Times


RATES = [Fraction(24000, 1001), Fraction(25), NTSC, Fraction(30), Fraction(50), Fraction(60)]
TIMED = [*product(["a.mp4", "a.mkv"], RATES), *product(["a.avi", "a.ts", "a.flv"], [NTSC])]


@pytest.mark.parametrize(("name", "rate"), TIMED)
def test_constant_rates_are_exact_and_recognised(tmp_path: Path, name: str, rate: Fraction) -> None:
    film(tmp_path / name, 90, rate=rate)
    clip = open_clip(tmp_path / name)
    assert not clip.variable
    assert abs(clip.fps - rate) < Fraction(1, 1000) if name == "a.flv" else clip.fps == rate
    rounding = Fraction(1, 2000) if name in ("a.mkv", "a.flv") else Fraction(1, 90000) if name == "a.ts" else 0
    assert len(clip.times) == 90
    assert all(abs(time - i / rate) <= 2 * rounding for i, time in enumerate(clip.times))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_rates_keep_their_times(tmp_path: Path, name: str) -> None:
    milliseconds = np.cumsum([0, *random.Random(0).choices([17, 33, 50, 400], k=39)]).tolist()
    film(tmp_path / name, 40, rate=Fraction(30), milliseconds=milliseconds)
    clip = open_clip(tmp_path / name)
    assert clip.variable
    assert clip.times == tuple(Fraction(ms, 1000) for ms in milliseconds)


def test_frames_without_timestamps_follow_the_rate(tmp_path: Path) -> None:
    film(tmp_path / "a.h264", 30)
    clip = open_clip(tmp_path / "a.h264")
    assert not clip.variable
    assert clip.times == tuple(i / clip.fps for i in range(30))


# A piece of it


@pytest.mark.usefixtures("small_buffer")
def test_a_piece_of_a_film(tmp_path: Path) -> None:
    expected = film(tmp_path / "a.mp4", 100)
    clip = open_clip(tmp_path / "a.mp4", seconds=Fraction(1), start=Fraction(3, 2))
    assert clip.times == tuple(Fraction(i, 25) for i in range(25))
    assert_shows(clip.frames, expected[38:63], [*range(25), *range(24, -1, -1)])
    with pytest.raises(MediaError, match=r"a\.mp4 ends before 4 s"):
        open_clip(tmp_path / "a.mp4", start=Fraction(4))


def test_damage_behind_the_piece_is_no_matter(tmp_path: Path) -> None:
    expected = film(tmp_path / "a.mkv", 100)
    content = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(content[: len(content) // 2])
    with pytest.raises(MediaError, match="breaks off at frame"):
        open_clip(tmp_path / "a.mkv", seconds=Fraction(3))
    assert_shows(open_clip(tmp_path / "a.mkv", seconds=Fraction(1)).frames, expected, list(range(25)))


def test_a_film_that_begins_amid_a_group_begins_where_it_can_be_seen(tmp_path: Path) -> None:
    film(tmp_path / "a.ts", options={"g": "20", "bf": "3"})
    content = (tmp_path / "a.ts").read_bytes()
    (tmp_path / "a.ts").write_bytes(content[len(content) // 2 // 188 * 188 :])
    expected = plain_decode(tmp_path / "a.ts")
    clip = open_clip(tmp_path / "a.ts")
    assert clip.times[0] == 0
    assert 0 < len(clip.frames) == len(expected) < 40
    assert_shows(clip.frames, expected, list(range(len(expected))))


def test_a_film_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    encode_film(tmp_path / "a.h264", walk(20))
    encode_film(tmp_path / "b.h264", walk(20, 32, 32))
    (tmp_path / "a.h264").write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    with pytest.raises(MediaError, match=r"Frame 20 of .*a\.h264 is 32 x 32, those before it 64 x 48"):
        open_clip(tmp_path / "a.h264")


# Kinds of source


@pytest.mark.usefixtures("small_buffer")
def test_a_film_in_memory(tmp_path: Path) -> None:
    expected = film(tmp_path / "a.mp4")
    content = io.BytesIO((tmp_path / "a.mp4").read_bytes())
    content.seek(5)
    first, second = open_clip(content).frames, open_clip(content).frames
    for i in range(69, -1, -1):
        np.testing.assert_array_equal(first[i], expected[i])
        np.testing.assert_array_equal(second[69 - i], expected[69 - i])
    assert content.tell() == 5
    with pytest.raises(MediaError, match="The video cannot be read"):
        open_clip(io.BytesIO(bytes(1000)))


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx264", "yuv420p10le"), ("ffv1", "yuv444p16le"), ("ffv1", "gray")]
)
def test_films_of_any_depth_come_as_eight_bit_rgb(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    grey = [frame.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2) for frame in noise(5)]
    encode_film(tmp_path / "a.mkv", grey, codec=codec, pix_fmt=pix_fmt)
    for before, after in zip(grey, open_clip(tmp_path / "a.mkv").frames, strict=True):
        assert after.dtype == np.uint8
        assert distance(before, after) < 8


def test_pictures_of_a_folder_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(noise(3, 200, 200)[number]).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    clip = open_clip(tmp_path)
    assert (len(clip.frames), clip.fps, clip.times, clip.look) == (3, None, None, None)
    np.testing.assert_array_equal(clip.frames[2], noise(3, 200, 200)[2])
    with pytest.raises(MediaError, match=r"1\.png cannot be read"):
        clip.frames[1]


def test_photos_of_a_folder_are_compared_as_they_are_seen(tmp_path: Path) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "1.jpg", exif=sideways)
    Image.new("RGB", (4, 6)).save(tmp_path / "2.jpg")
    assert [frame.shape for frame in open_clip(tmp_path).frames] == [(6, 4, 3), (6, 4, 3)]
