"""Video in fragments: playable as it comes, picture and sound in step, in the end an ordinary file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from musetalk_core.errors import MediaError
from musetalk_core.fragmented import FragmentedVideo, write_growing
from musetalk_core.media_input import Sound, read_clip, read_sound
from musetalk_core.media_output import WAITING, write_video
from musetalk_core.video_look import VideoLook
from tests.core.media_samples import NTSC, distance, noise, plain_decode, tones, walk

EVERY = 15  # frames from flash to flash
FLASH = 3  # frames it lasts


def flashes(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    return [np.full((height, width, 3), 255 * (i % EVERY < FLASH), np.uint8) for i in range(count)]


def bursts(count: int, fps: Fraction, rate: int) -> np.ndarray:
    """A tone while the picture flashes, float32 (n,)."""
    time = np.arange(int(count / fps * rate)) / rate
    return np.where(time * float(fps) % EVERY < FLASH, np.sin(2 * np.pi * 1500 * time) / 2, 0).astype(np.float32)


def onsets(loud: np.ndarray, times: np.ndarray) -> np.ndarray:
    """When it gets loud (or bright) after a tenth of a second that was not."""
    on = times[loud]
    return on[np.diff(on, prepend=-1) > 0.1]


def lag(source: io.BytesIO) -> np.ndarray:
    """Seconds by which each burst comes after its flash, as the file's own times tell."""
    with av.open(source) as container:
        frames = list(container.decode(video=0))
    bright = np.array([frame.to_ndarray(format="gray").mean() > 128 for frame in frames])
    source.seek(0)
    flash = onsets(bright, np.array([float(frame.pts * frame.time_base) for frame in frames]))
    with av.open(source) as container:
        blocks = [(block.pts * block.time_base, block.to_ndarray()[0]) for block in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    level = np.abs(np.concatenate([block for _, block in blocks]))
    times = np.concatenate([float(begin) + np.arange(len(block)) / rate for begin, block in blocks])
    burst = onsets(level > 0.2, times)
    assert len(burst) == len(flash) >= 3
    return burst - flash


def live(frames: list[np.ndarray], fps: Fraction, rate: int | None, **options) -> tuple[FragmentedVideo, io.BytesIO]:
    """What a session writes, in one piece."""
    sink = io.BytesIO()
    video = FragmentedVideo(sink, frames[0].shape, fps, rate, **options)
    sound = bursts(len(frames), fps, rate) if rate else None
    for i, picture in enumerate(frames):
        part = sound[int(i / fps * rate) : int((i + 1) / fps * rate)] if rate else None
        video.add(picture, part)
    video.finish()
    return video, io.BytesIO(sink.getvalue())


def boxes(data: bytes) -> list[str]:
    names, position = [], 0
    while position < len(data):
        names.append(data[position + 4 : position + 8].decode())
        position += int.from_bytes(data[position : position + 4], "big")
    assert position == len(data)
    return names


# Frame by frame


@pytest.mark.parametrize("rate", [8000, 16000, 22222, 48000])
@pytest.mark.parametrize("fps", [Fraction(25), NTSC, Fraction(12)])
def test_picture_and_sound_are_in_step(fps: Fraction, rate: int) -> None:
    _, file = live(flashes(60), fps, rate)
    assert np.abs(lag(file)).max() < 0.003


def test_what_has_come_so_far_can_be_played(tmp_path: Path) -> None:
    sink = io.BytesIO()
    video = FragmentedVideo(sink, (48, 64, 3), Fraction(25), 16000)
    sizes = []
    pictures = noise(40)
    for picture in pictures:
        video.add(picture, np.zeros(640, np.float32))
        sizes.append(sink.tell())
        behind = len(sizes) - (len(plain_decode(io.BytesIO(sink.getvalue()))) if sizes[-1] else 0)
        assert behind <= 6, "a viewer is further behind than a fragment and a block of sound"
    video.finish()
    names = boxes(sink.getvalue())
    assert names[:3] == ["ftyp", "moov", "moof"] and names[2:] == ["moof", "mdat"] * (len(names) // 2 - 1)
    shown = plain_decode(io.BytesIO(sink.getvalue()))
    assert len(shown) == 40
    for before, after in zip(pictures, shown, strict=True):
        assert distance(before, after) < 12


def test_a_player_may_begin_once_a_second() -> None:
    _, file = live(walk(90), NTSC, None)
    with av.open(file) as container:
        packets = [packet for packet in container.demux() if packet.size]
    keys = [float(packet.pts * packet.time_base) for packet in packets if packet.is_keyframe]
    assert np.diff([*keys, 3]).max() <= 1.01
    assert all(packet.pts == packet.dts for packet in packets), "a picture waits for a later one"


@pytest.mark.parametrize(("fps", "size"), [(Fraction(25), (48, 64)), (Fraction(60), (720, 1280))])
def test_the_browser_is_told_what_the_stream_is(fps: Fraction, size: tuple[int, int]) -> None:
    video, file = live(flashes(2, *size), fps, 16000)
    content = file.getvalue()
    profile = content[content.index(b"avcC") + 5 :][:3].hex()  # ISO 14496-15: after the version
    assert video.mime == f'video/mp4; codecs="avc1.{profile}, mp4a.40.2"'
    assert "mp4a" not in live(flashes(2), fps, None)[0].mime


@pytest.mark.parametrize("look", [None, VideoLook(6, 2, 6, 6, full_chroma=True, pixel_aspect=Fraction(4, 3))])
def test_odd_sizes_and_any_look_become_what_browsers_play(look: VideoLook | None) -> None:
    video, file = live(noise(3, 33, 47), Fraction(25), None, look=look, comment="MuseTalk ü")
    assert (video.width, video.height) == (48, 34)
    with av.open(file) as container:
        stream = container.streams.video[0]
        assert stream.pix_fmt in ("yuv420p", "yuvj420p")  # limited, full range
        assert container.metadata["comment"] == "MuseTalk ü"
        assert stream.sample_aspect_ratio == (look.pixel_aspect if look else 1)


def test_a_frame_of_another_size_is_refused() -> None:
    video = FragmentedVideo(io.BytesIO(), (48, 64, 3), Fraction(25), None)
    with pytest.raises(MediaError, match="one size"):
        video.add(np.zeros((48, 66, 3), np.uint8), None)
    video.finish()


# A whole video, watched while it is made


def test_a_growing_video_can_be_watched_and_ends_as_an_ordinary_one(tmp_path: Path) -> None:
    path, growing = tmp_path / "whole.mp4", tmp_path / "growing.mp4"
    pictures, behind = noise(75), []

    def frames() -> Iterator[np.ndarray]:
        for i, picture in enumerate(pictures):
            assert not path.exists()
            so_far = growing.read_bytes() if growing.exists() else b""
            behind.append(i - (len(plain_decode(io.BytesIO(so_far))) if so_far else 0))
            yield picture

    sound = tones(2, 44100, seconds=3.2)
    assert write_growing(path, frames(), NTSC, sound, growing, comment="MuseTalk ü") == 75
    assert max(behind) <= 20 + WAITING  # half a second, what the writer sorts, and what waits for the encoder
    write_video(tmp_path / "ordinary.mp4", pictures, NTSC, sound, comment="MuseTalk ü")

    assert "moof" not in boxes(path.read_bytes())
    assert boxes(path.read_bytes()).index("moov") < boxes(path.read_bytes()).index("mdat")
    clip, ordinary = read_clip(path), read_clip(tmp_path / "ordinary.mp4")
    assert (clip.fps, clip.look, len(clip.frames)) == (NTSC, ordinary.look, 75)
    for before, after in zip(pictures, clip.frames, strict=True):
        assert distance(before, after) < 12
    np.testing.assert_array_equal(read_sound(path).waveform, read_sound(tmp_path / "ordinary.mp4").waveform)
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == "MuseTalk ü"
    # Encoded once: what was watched and what is kept are the same, to the bit.
    for watched, kept in zip(plain_decode(growing), plain_decode(path), strict=True):
        np.testing.assert_array_equal(watched, kept)


def test_picture_and_sound_stay_in_step_to_the_end(tmp_path: Path) -> None:
    sound = Sound(bursts(120, NTSC, 16000)[None], 16000)
    write_growing(tmp_path / "a.mp4", flashes(120), NTSC, sound, tmp_path / "growing.mp4")
    for name in ("a.mp4", "growing.mp4"):
        assert np.abs(lag(io.BytesIO((tmp_path / name).read_bytes()))).max() < 0.003


def test_seconds_end_the_sound(tmp_path: Path) -> None:
    files = tmp_path / "a.mp4", tmp_path / "growing.mp4"
    write_growing(files[0], noise(25), Fraction(25), tones(1, 16000, 3), files[1], seconds=Fraction(1))
    for file in files:
        assert abs(read_sound(file).duration - 1) <= Fraction(1024, 16000)


def test_a_growing_video_may_be_without_sound(tmp_path: Path) -> None:
    write_growing(tmp_path / "a.mp4", noise(5), Fraction(25), None, tmp_path / "growing.mp4")
    assert len(read_clip(tmp_path / "a.mp4").frames) == len(plain_decode(tmp_path / "growing.mp4")) == 5


def test_what_breaks_off_leaves_no_video(tmp_path: Path) -> None:
    def frames() -> Iterator[np.ndarray]:
        yield from noise(30)
        raise KeyboardInterrupt

    (tmp_path / "a.mp4").write_bytes(b"the one before")
    with pytest.raises(KeyboardInterrupt):
        write_growing(tmp_path / "a.mp4", frames(), Fraction(25), tones(1, 16000), tmp_path / "growing.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == b"the one before"
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "growing.mp4"}
    assert len(plain_decode(tmp_path / "growing.mp4")) <= 30


def test_a_caller_s_error_is_not_taken_for_the_file_s(tmp_path: Path) -> None:
    def frames() -> Iterator[np.ndarray]:
        yield from noise(3)
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="camera"):
        write_growing(tmp_path / "a.mp4", frames(), Fraction(25), None, tmp_path / "growing.mp4")


def test_places_that_cannot_be_written_are_named_at_once(tmp_path: Path) -> None:
    for path, growing in (("no/a.mp4", "g.mp4"), ("a.mp4", "no/g.mp4")):
        with pytest.raises(MediaError, match="no/"):
            write_growing(tmp_path / path, iter(()), Fraction(25), None, tmp_path / growing)
