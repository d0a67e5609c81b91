"""Pictures, video and sound, read and written: what comes back is what went in."""

from __future__ import annotations

import errno
import os
import struct
import time
import wave
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from musetalk_core import media_output
from musetalk_core.errors import MediaError
from musetalk_core.media_input import Sound, read_clip, read_sound
from musetalk_core.media_output import require_place, write_video
from musetalk_core.picture_track import PictureTrack
from tests.core.media_samples import NTSC, distance, encode_sound, noise, tones
from tests.core.stand_ins import threads_of_ours

AAC_FRAME = 1024  # samples


def pitches(sound: Sound) -> list[int]:
    """The strongest frequency of each channel, Hz, to the nearest 10."""
    spectrum = np.abs(np.fft.rfft(sound.waveform))
    return [round(peak / float(sound.duration) / 10) * 10 for peak in spectrum.argmax(axis=1)]


# Sound


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels", "layout"),
    [
        ("phone.wav", "pcm_s16le", 8000, 1, "mono"),
        ("studio.wav", "pcm_s24le", 96000, 2, "stereo"),
        ("float.wav", "pcm_f32le", 16000, 1, "mono"),
        ("bytes.wav", "pcm_u8", 22050, 1, "mono"),
        ("music.flac", "flac", 44100, 2, "stereo"),
        ("music.mp3", "libmp3lame", 44100, 2, "stereo"),
        ("music.ogg", "libopus", 48000, 2, "stereo"),
        ("memo.m4a", "aac", 44100, 1, "mono"),
        ("film.wav", "pcm_s16le", 48000, 6, "5.1"),
        ("cinema.flac", "flac", 48000, 8, "7.1"),
    ],
)
def test_sound_keeps_its_rate_its_channels_and_its_pitch(
    tmp_path: Path, name: str, codec: str, rate: int, channels: int, layout: str
) -> None:
    encode_sound(tmp_path / name, codec, tones(channels, rate), layout)
    sound = read_sound(tmp_path / name)
    assert sound.rate == rate
    assert sound.waveform.dtype == np.float32
    assert sound.waveform.shape[0] == channels
    assert abs(sound.waveform.shape[1] - rate) <= AAC_FRAME
    assert pitches(sound) == [200 * (i + 1) for i in range(channels)]
    assert 0.45 < np.abs(sound.waveform).max() < 0.6


def test_a_wav_that_names_no_speakers_is_read(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "three.wav"), "wb") as file:
        file.setnchannels(3)
        file.setsampwidth(2)
        file.setframerate(11025)
        file.writeframes(np.array([[16384, -16384, 0]] * 100, "<i2").tobytes())
    sound = read_sound(tmp_path / "three.wav")
    assert sound.duration == Fraction(100, 11025)
    np.testing.assert_array_equal(sound.waveform, np.repeat([[0.5], [-0.5], [0.0]], 100, axis=1))


def test_the_sound_of_a_video_is_read(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise(5), Fraction(25), tones(2, 44100))
    sound = read_sound(tmp_path / "a.mp4")
    assert (sound.rate, pitches(sound)) == (44100, [200, 400])


def test_an_mp3_may_end_in_padding(tmp_path: Path) -> None:
    encode_sound(tmp_path / "a.mp3", "libmp3lame", tones(1, 44100), "mono")
    with (tmp_path / "a.mp3").open("ab") as file:
        file.write(bytes(3000))
    assert abs(read_sound(tmp_path / "a.mp3").duration - 1) < 0.05


def test_tags_in_another_encoding_do_no_harm(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content

    title = chunk(b"LIST", b"INFO" + chunk(b"INAM", "声音".encode("gbk")))
    pcm = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    content = b"WAVE" + chunk(b"fmt ", pcm) + title + chunk(b"data", bytes(16000))
    (tmp_path / "a.wav").write_bytes(chunk(b"RIFF", content))
    assert read_sound(tmp_path / "a.wav").duration == 1


def test_sound_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "silent film.mp4", noise(3), Fraction(25), None)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.mp3").write_text("These are no sounds. " * 50)
    with wave.open(str(tmp_path / "short.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
    for name in ("silent film.mp4", "empty.wav", "text.mp3", "short.wav", "not there.wav", "."):
        with pytest.raises(MediaError) as failure:
            read_sound(tmp_path / name)
        assert str(tmp_path / name) in str(failure.value)


def test_sound_cut_off_or_damaged_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    loud = Sound(rng.uniform(-0.5, 0.5, (1, 4 * 44100)).astype(np.float32), 44100)
    write_video(tmp_path / "whole.mp4", noise(1, 16, 16), Fraction(25), loud)
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    encode_sound(tmp_path / "whole.mp3", "libmp3lame", loud, "mono")
    whole = (tmp_path / "whole.mp3").read_bytes()
    middle = len(whole) // 2
    (tmp_path / "hole.mp3").write_bytes(whole[:middle] + bytes(2000) + whole[middle + 2000 :])
    for name in ("cut.mp4", "hole.mp3"):
        with pytest.raises(MediaError, match=f"{name} cannot be read beyond [12]"):
            read_sound(tmp_path / name)


# Video


def test_a_video_comes_back_as_it_was_written(tmp_path: Path) -> None:
    frames = noise(40)
    sound = tones(2, 44100, seconds=2)
    assert write_video(tmp_path / "a.mp4", iter(frames), NTSC, sound, comment="MuseTalk ü") == 40

    clip = read_clip(tmp_path / "a.mp4")
    assert clip.fps == NTSC
    assert len(clip.frames) == 40
    assert clip.frames[0].dtype == np.uint8 and clip.frames[0].shape == (48, 64, 3)
    for before, after in zip(frames, clip.frames, strict=True):
        assert distance(before, after) < 12
    heard = read_sound(tmp_path / "a.mp4")
    assert abs(heard.duration - sound.duration) <= Fraction(AAC_FRAME, 44100)
    assert distance(heard.waveform[:, 4096:80000] * 1000, sound.waveform[:, 4096:80000] * 1000) < 10
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["comment"] == "MuseTalk ü"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(24000, 1001), Fraction(2997, 100), Fraction(7, 2)])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_frame_rate_is_exact(tmp_path: Path, fps: Fraction, count: int) -> None:
    write_video(tmp_path / "a.mp4", noise(count, 16, 16), fps, None)
    clip = read_clip(tmp_path / "a.mp4")
    assert (clip.fps, len(clip.frames)) == (fps, count)


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (200, 30, 120), (255,) * 3, (0,) * 3]
)
def test_colours_stay_and_are_tagged(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    frame = np.full((32, 32, 3), colour, np.uint8)
    write_video(tmp_path / "a.mp4", [frame] * 3, Fraction(25), None)
    assert np.abs(read_clip(tmp_path / "a.mp4").frames[1].astype(int) - colour).max() <= 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        tags = (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range)
    assert tags == (1, 1, 1, 1)  # BT.709 throughout, limited range


def test_odd_sizes_repeat_the_last_row_and_column(tmp_path: Path) -> None:
    frames = noise(3, 33, 47)
    write_video(tmp_path / "a.mp4", frames, Fraction(25), None)
    clip = read_clip(tmp_path / "a.mp4")
    assert clip.frames[0].shape == (34, 48, 3)
    assert distance(clip.frames[2][:33, :47], frames[2]) < 12
    assert distance(clip.frames[2][33], clip.frames[2][32]) < 8


@pytest.mark.parametrize(
    ("rate", "channels", "written"),
    [(8000, 1, 8000), (22222, 2, 24000), (192000, 6, 96000), (48000, 8, 48000)],
)
def test_sound_of_any_rate_is_written_whole(tmp_path: Path, rate: int, channels: int, written: int) -> None:
    write_video(tmp_path / "a.mp4", noise(5, 16, 16), Fraction(25), tones(channels, rate, seconds=1.5))
    sound = read_sound(tmp_path / "a.mp4")
    assert sound.rate == written
    assert abs(sound.duration - Fraction(3, 2)) <= Fraction(AAC_FRAME, written)
    for i, pitch in enumerate(pitches(sound)):
        # AAC keeps only the deepest tones in the low frequency channel, fourth of 5.1 and 7.1.
        assert pitch == 200 * (i + 1) or i == 3


def test_picture_and_sound_lie_side_by_side_in_the_file(tmp_path: Path) -> None:
    # FFmpeg itself puts up to ten seconds in order: this is longer.
    write_video(tmp_path / "a.mp4", noise(150), Fraction(5), tones(1, 16000, seconds=30))
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = sorted((p for p in container.demux() if p.size), key=lambda p: p.pos)
        reached = [0.0, 0.0]
        for packet in packets:
            reached[packet.stream.index] = float(packet.dts * packet.time_base)
            assert abs(reached[0] - reached[1]) < 2
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_few_frames_wait_to_be_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = PictureTrack.add
    monkeypatch.setattr(PictureTrack, "add", lambda *given: time.sleep(0.005) or add(*given))
    given: list[weakref.ref[np.ndarray]] = []

    def frames() -> Iterator[np.ndarray]:
        for frame in noise(50, 16, 16):
            copy = frame.copy()
            given.append(weakref.ref(copy))
            assert sum(ref() is not None for ref in given) <= media_output.WAITING + 3
            yield copy

    assert write_video(tmp_path / "a.mp4", frames(), Fraction(25), None) == 50


def test_reading_stops_after_the_frames_asked_for(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise(20), Fraction(25), None)
    assert len(read_clip(tmp_path / "a.mp4", max_frames=7).frames) == 7
    assert len(read_clip(tmp_path / "a.mp4", max_frames=70).frames) == 20


def test_a_video_filmed_sideways_is_turned_upright(tmp_path: Path) -> None:
    frames = noise(3)
    write_video(tmp_path / "a.mp4", frames, Fraction(25), None)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 44  # the transform of the track header
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    content[matrix : matrix + 36] = quarter
    (tmp_path / "a.mp4").write_bytes(content)
    clip = read_clip(tmp_path / "a.mp4")
    assert clip.frames[0].shape == (64, 48, 3)
    assert distance(clip.frames[0], np.rot90(frames[0], -1)) < 12  # clockwise


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.5003, 0.9])
@pytest.mark.parametrize("voiced", [True, False])
def test_a_video_that_breaks_off_is_refused(tmp_path: Path, kept: float, voiced: bool) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (150, 32, 32, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", frames, Fraction(25), tones(1, 44100, 6) if voiced else None)
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(MediaError, match=r"a\.mp4 breaks off at frame \d+"):
        read_clip(tmp_path / "a.mp4")
    assert len(read_clip(tmp_path / "a.mp4", max_frames=5).frames) == 5


def test_a_video_cut_between_two_frames_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise(60), Fraction(25), None)
    with av.open(str(tmp_path / "a.mp4")) as container:
        border = [packet.pos for packet in container.demux() if packet.size][30]
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:border])
    with pytest.raises(MediaError, match=r"a\.mp4 breaks off at frame 30: 1\.\d+ s of 2\.40 s"):
        read_clip(tmp_path / "a.mp4")


def test_a_video_with_a_hole_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise(60), Fraction(25), None)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=r"a\.mp4 breaks off at frame \d+"):
        read_clip(tmp_path / "a.mp4")


def test_a_video_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "random.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.mp4").touch()
    encode_sound(tmp_path / "sound.m4a", "aac", tones(1, 44100), "mono")
    for name in ("random.mp4", "empty.mp4", "sound.m4a", "not there.mp4"):
        with pytest.raises(MediaError) as failure:
            read_clip(tmp_path / name)
        assert str(tmp_path / name) in str(failure.value)


# Writing that does not end well


def breaking(error: BaseException) -> Iterator[np.ndarray]:
    yield from noise(30)
    raise error


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt(), OSError("of the caller")])
@pytest.mark.parametrize("before", [b"yesterday's", None])
def test_nothing_half_done_is_left(tmp_path: Path, error: BaseException, before: bytes | None) -> None:
    path = tmp_path / "a.mp4"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(type(error)) as failure:
        write_video(path, breaking(error), Fraction(25), tones(1, 44100))
    assert failure.value is error
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([before] if before is not None else [])


def test_what_fails_in_the_encoder_stops_the_frames_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(track: PictureTrack, pixels: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def frames() -> Iterator[np.ndarray]:
        try:
            yield from noise(1) * 10**6
        finally:
            ended.append(True)

    ended: list[bool] = []
    monkeypatch.setattr(PictureTrack, "add", full)
    with pytest.raises(MediaError, match="No space left on device"):
        write_video(tmp_path / "a.mp4", frames(), Fraction(25), None)
    assert ended and not threads_of_ours()
    assert list(tmp_path.iterdir()) == []


def test_a_video_replaces_the_one_before(tmp_path: Path) -> None:
    for count in (5, 3):
        write_video(tmp_path / "a.mp4", noise(count), Fraction(25), None)
    assert len(read_clip(tmp_path / "a.mp4").frames) == 3


def test_a_name_may_look_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video("take:2.mp4", noise(3), Fraction(25), None)
    assert len(read_clip("take:2.mp4").frames) == 3


def test_a_place_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    def untouched() -> Iterator[np.ndarray]:
        raise AssertionError("a frame was taken")
        yield

    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    for name in ("file/a.mp4", "missing/a.mp4", "folder.mp4"):
        with pytest.raises(MediaError) as failure:
            write_video(tmp_path / name, untouched(), Fraction(25), None)
        assert str(tmp_path / name) in str(failure.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder.mp4"]


def test_a_place_may_be_asked_for_by_several_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(require_place, [tmp_path / "out.mp4"] * 2000))
    assert not list(tmp_path.iterdir())


def test_what_no_video_can_be_made_of_is_refused(tmp_path: Path) -> None:
    wide = Sound(np.zeros((9, 100), np.float32), 48000)
    for frames, sound, message in (
        ([], None, "no frames"),
        ([*noise(2), *noise(1, 16, 16)], None, "Frame 2 has shape"),
        (noise(2), wide, "9 channels"),
    ):
        with pytest.raises(MediaError, match=message):
            write_video(tmp_path / "a.mp4", frames, Fraction(25), sound)
        assert list(tmp_path.iterdir()) == []


# Stills


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_images_of_every_mode_come_as_rgb(tmp_path: Path, mode: str) -> None:
    name = "a.tif" if mode == "CMYK" else "a.PNG"
    image = Image.new("RGB", (6, 4), (255, 255, 255))
    image.putpixel((5, 0), (0, 0, 0))
    image.convert(mode).save(tmp_path / name)
    clip = read_clip(tmp_path / name, max_frames=9)
    assert clip.fps is None
    np.testing.assert_array_equal(clip.frames, [np.asarray(image)])


def test_sixteen_bit_images_keep_their_brightness(tmp_path: Path) -> None:
    grey = np.array([[0, 257 * 100, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_clip(tmp_path / "a.png").frames[0][0, :, 1], [0, 100, 255])


def test_a_photo_held_sideways_is_turned_upright(tmp_path: Path) -> None:
    frame = noise(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned clockwise by a quarter
    Image.fromarray(frame).save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = read_clip(tmp_path / "a.jpg").frames[0]
    assert upright.shape == (64, 48, 3)
    assert distance(upright, np.rot90(frame, -1)) < 12


def test_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    Image.fromarray(noise(1, 200, 200)[0]).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    for name in ("empty.png", "text.jpg", "cut.png", "not there.webp"):
        with pytest.raises(MediaError) as failure:
            read_clip(tmp_path / name)
        assert str(tmp_path / name) in str(failure.value)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1, 100, 9):
        Image.new("RGB", (4, 4), (number,) * 3).save(tmp_path / f"Frame {number}.png")
    Image.new("RGB", (9, 9)).save(tmp_path / ".hidden.png")
    (tmp_path / "Thumbs.db").touch()
    clip = read_clip(tmp_path)
    assert clip.fps is None
    assert [int(frame[0, 0, 0]) for frame in clip.frames] == [1, 2, 9, 10, 100]
    assert len(read_clip(tmp_path, max_frames=2).frames) == 2


def test_a_folder_of_mixed_sizes_names_the_first_that_differs(tmp_path: Path) -> None:
    for number, size in ((1, (4, 6)), (2, (4, 6)), (3, (6, 4)), (4, (1, 1))):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
    with pytest.raises(MediaError, match=r"3\.png is 6 x 4, those before it 4 x 6"):
        read_clip(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MediaError, match="holds no images"):
        read_clip(tmp_path)


def test_a_finished_video_is_kept_when_the_old_one_cannot_be_replaced(tmp_path: Path, monkeypatch) -> None:
    """On Windows a file that a player has open cannot be replaced."""
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target) == out:
            raise PermissionError(13, "used by another process")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(MediaError, match=r"out \(2\)\.mp4"):
        write_video(out, [np.zeros((64, 64, 3), np.uint8)] * 3, Fraction(25), None)
    assert out.read_bytes() == b"old"
    assert len(read_clip(tmp_path / "out (2).mp4").frames) == 3
