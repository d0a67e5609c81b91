"""The sound of a file goes into the video as it is, whole and in step; long sound stays small in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.signal import correlate

from musetalk_core.errors import MediaError
from musetalk_core.media_input import read_sound, read_voice
from musetalk_core.media_output import write_video
from musetalk_core.sound_input import Sound
from tests.core.media_samples import NTSC, encode_sound, noise, rustle, tones

FILES = [
    ("a.m4a", "aac", 44100, "stereo"),
    ("a.aac", "aac", 48000, "mono"),
    ("a.mp3", "libmp3lame", 44100, "stereo"),
    ("a.opus", "libopus", 48000, "mono"),
    ("a.flac", "flac", 44100, "stereo"),
    ("alac.m4a", "alac", 44100, "mono"),
    ("a.ac3", "ac3", 48000, "5.1"),
    ("a.eac3", "eac3", 48000, "stereo"),
    ("a.mkv", "aac", 44100, "stereo"),
    ("a.ts", "aac", 48000, "stereo"),
]
CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}


def packed(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def black(seconds: int) -> Iterator[np.ndarray]:
    return iter([np.zeros((16, 16, 3), np.uint8)] * (seconds * 25))


def lag(before: Path, after: Path) -> float:
    """Seconds by which one file's sound comes later than the other's."""
    early, late = read_voice(before), read_voice(after)
    assert early.rate == late.rate
    assert 0 <= late.duration - early.duration < 0.03  # the last block may be filled up
    shared = early.waveform.shape[1]
    likeness = correlate(late.waveform[0, :shared], early.waveform[0], method="fft")
    return (int(likeness.argmax()) - (shared - 1)) / early.rate


@pytest.mark.parametrize(("name", "codec", "rate", "layout"), FILES, ids=[row[0] for row in FILES])
def test_sound_is_taken_over_as_it_is_and_in_step(
    tmp_path: Path, name: str, codec: str, rate: int, layout: str
) -> None:
    encode_sound(tmp_path / name, codec, rustle(CHANNELS[layout], rate, 2), layout)
    write_video(tmp_path / "out.mp4", black(2), Fraction(25), tmp_path / name)
    before, after = packed(tmp_path / name), packed(tmp_path / "out.mp4")
    header = len(before[5]) - len(after[5])  # ADTS puts one before every packet
    assert header in ((0, 7) if codec == "aac" else (0,))
    assert [packet[header:] for packet in before] == after
    assert lag(tmp_path / name, tmp_path / "out.mp4") == 0


def test_sound_that_begins_late_begins_at_once(tmp_path: Path) -> None:
    encode_sound(tmp_path / "a.mp4", "aac", rustle(1, 48000, 2), "mono", start=Fraction(1, 2))
    write_video(tmp_path / "out.mp4", black(2), Fraction(25), tmp_path / "a.mp4")
    assert lag(tmp_path / "a.mp4", tmp_path / "out.mp4") == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.streams.audio[0].start_time, container.streams.video[0].start_time) == (0, 0)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout"),
    [
        ("a.wav", "pcm_s16le", 48000, "stereo"),
        ("film.wav", "pcm_s24le", 48000, "5.1"),
        ("a.mp2", "mp2", 44100, "mono"),
        ("low.mp3", "libmp3lame", 11025, "mono"),  # mp4 has no mp3 below 16 kHz
    ],
)
def test_sound_that_mp4_does_not_hold_is_encoded_and_in_step(
    tmp_path: Path, name: str, codec: str, rate: int, layout: str
) -> None:
    encode_sound(tmp_path / name, codec, rustle(CHANNELS[layout], rate, 2), layout)
    write_video(tmp_path / "out.mp4", black(2), Fraction(25), tmp_path / name)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    heard = read_sound(tmp_path / "out.mp4")
    assert (len(heard.waveform), heard.rate) == (CHANNELS[layout], rate)
    early, late = read_voice(tmp_path / name), read_voice(tmp_path / "out.mp4")
    assert 0 <= late.duration - early.duration < 0.1
    likeness = correlate(late.waveform[0, :rate], early.waveform[0, :rate], method="fft")
    assert abs(int(likeness.argmax()) - (rate - 1)) <= 1


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.wav", "pcm_s16le")])
def test_sound_can_end_before_its_file(tmp_path: Path, name: str, codec: str) -> None:
    encode_sound(tmp_path / name, codec, rustle(1, 44100, 3), "mono")
    for sound in (tmp_path / name, read_sound(tmp_path / name)):
        write_video(tmp_path / "out.mp4", black(1), Fraction(25), sound, seconds=Fraction(5, 4))
        assert abs(read_sound(tmp_path / "out.mp4").duration - Fraction(5, 4)) < 0.03
        write_video(tmp_path / "out.mp4", black(1), Fraction(25), sound)
        assert read_sound(tmp_path / "out.mp4").duration >= 3


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.wav", "pcm_s16le")])
def test_picture_and_sound_of_a_file_lie_side_by_side(tmp_path: Path, name: str, codec: str) -> None:
    encode_sound(tmp_path / name, codec, tones(1, 16000, seconds=30), "mono")
    write_video(tmp_path / "out.mp4", noise(150), Fraction(5), tmp_path / name)
    with av.open(str(tmp_path / "out.mp4")) as container:
        reached = [0.0, 0.0]
        for packet in sorted((p for p in container.demux() if p.size), key=lambda p: p.pos):
            reached[packet.stream.index] = float(packet.dts * packet.time_base)
            assert abs(reached[0] - reached[1]) < 2


def test_sound_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    def untouched() -> Iterator[np.ndarray]:
        raise AssertionError("a frame was taken")
        yield

    write_video(tmp_path / "silent.mp4", black(1), Fraction(25), None)
    for name in ("silent.mp4", "missing.wav"):
        with pytest.raises(MediaError, match=name):
            write_video(tmp_path / "out.mp4", untouched(), Fraction(25), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["silent.mp4"]


def test_damaged_sound_leaves_nothing_behind(tmp_path: Path) -> None:
    encode_sound(tmp_path / "a.mp3", "libmp3lame", rustle(1, 44100, 4), "mono")
    whole = (tmp_path / "a.mp3").read_bytes()
    middle = len(whole) // 2
    (tmp_path / "a.mp3").write_bytes(whole[:middle] + bytes(2000) + whole[middle + 2000 :])
    with pytest.raises(MediaError, match=r"a\.mp3 cannot be read beyond [12]"):
        write_video(tmp_path / "out.mp4", black(4), Fraction(25), tmp_path / "a.mp3")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp3"]


def test_ten_minutes_end_with_their_sound(tmp_path: Path) -> None:
    minutes = Sound(np.zeros((1, 600 * 8000), np.float32), 8000)
    frame = np.zeros((16, 16, 3), np.uint8)
    count = int(600 * NTSC)
    write_video(tmp_path / "out.mp4", (frame for _ in range(count)), NTSC, minutes)
    with av.open(str(tmp_path / "out.mp4")) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert picture.average_rate == NTSC
        stamps = {packet.pts * picture.time_base for packet in container.demux(picture) if packet.size}
        assert stamps == {i / NTSC for i in range(count)}
        assert abs(count / NTSC - 600) < 1 / NTSC
        assert abs(sound.duration * sound.time_base - 600) < 1 / NTSC


# Reading


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_a_voice_is_the_sound_with_its_channels_averaged(tmp_path: Path, layout: str) -> None:
    encode_sound(tmp_path / "a.wav", "pcm_s16le", rustle(CHANNELS[layout], 22050), layout)
    sound, voice = read_sound(tmp_path / "a.wav"), read_voice(tmp_path / "a.wav")
    assert voice.rate == sound.rate
    assert voice.waveform.dtype == np.float32
    np.testing.assert_allclose(voice.waveform, sound.waveform.mean(axis=0, keepdims=True), atol=1e-6)


def test_a_voice_takes_the_memory_of_one_channel(tmp_path: Path) -> None:
    encode_sound(tmp_path / "a.wav", "pcm_s16le", tones(2, 48000, 60), "stereo")
    tracemalloc.start()
    voice = read_voice(tmp_path / "a.wav")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * voice.waveform.nbytes
