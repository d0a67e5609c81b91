"""A video that is joined of pieces is, but for their key frames, the one that is written in one go."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from musetalk_core.batch_steps import Job
from musetalk_core.errors import MediaError
from musetalk_core.media_joining import PIECE, join_pieces
from musetalk_core.media_output import write_video
from musetalk_core.picture_track import Coding
from tests.core.avatars import Painters
from tests.core.batches import Painted, clip, hidden, make, make_whole
from tests.core.jobs import (
    bursts,
    ends_of,
    face_film,
    film,
    loud_at,
    number_of,
    opened_at,
    spoken,
    track_file,
    voice_file,
    written,
)
from tests.core.media_samples import NTSC, distance, encode_film, plain_decode, walk

pytestmark = pytest.mark.usefixtures("all_skin")

SIX_FRAMES = 0.24  # seconds


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """17 frames at 25 a second."""
    return voice_file(tmp_path / "voice.wav", bursts(0.7, (0.1, 0.4), lasting=0.1))


def made(of: Job) -> Path:
    """The video, which is made without anything being left beside it."""
    (result,) = make(Painters(), of)
    assert result.state == "done", result.detail
    assert hidden(of.line.task.output.parent) == []
    return of.line.task.output


def packets(path: Path, kind: str) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(container.streams.get({kind: 0})) if packet.size]


def times(path: Path) -> list[Fraction]:
    """When the frames are shown, seconds."""
    return sorted(packet.pts * packet.time_base for packet in packets(path, "video"))


def said(path: Path) -> dict[str, object]:
    """Everything that a file says of its picture and its sound, and every packet of the sound."""
    with av.open(str(path)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        coded, heard = picture.codec_context, sound.codec_context
        return {
            "comment": container.metadata["comment"],
            "picture": (coded.name, coded.profile, coded.pix_fmt, coded.width, coded.height),
            "shape": (picture.sample_aspect_ratio, picture.display_aspect_ratio),
            "colour": (coded.colorspace, coded.color_primaries, coded.color_trc, coded.color_range),
            "rate": (picture.average_rate, picture.time_base, picture.frames, picture.start_time),
            "times": times(path),
            "end": round(picture.duration * picture.time_base, 2),
            "sound": (
                heard.name,
                heard.sample_rate,
                heard.channels,
                sound.time_base,
                sound.start_time,
                sound.duration,
            ),
            "packets": [(p.pts, p.dts, hashlib.sha256(bytes(p)).hexdigest()) for p in packets(path, "audio")],
        }


def same_as_whole(of: Job) -> Path:
    """The video, which says of itself what the same clip in one go does."""
    path = of.line.task.output.with_name("whole.mp4")
    make_whole(Painters(), of, path)
    assert said(made(of)) == said(path)
    return of.line.task.output


# Time


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), NTSC, Fraction(50)], ids=str)
def test_every_frame_is_there_at_its_time_and_the_mouth_moves_with_the_sound(
    tmp_path: Path, voice: Path, rate: Fraction
) -> None:
    count = int(rate * Fraction(7, 10))  # what fits into the voice
    source, track = film(tmp_path, count + 2, rate), track_file(tmp_path, count + 2)
    path = same_as_whole(clip(source, voice, tmp_path / "out.mp4", face_track=track))
    out = written(path, None)
    assert (out.rate, out.numbers, out.times) == (rate, [*range(count)], [i / rate for i in range(count)])
    assert loud_at(path) == pytest.approx([0.1, 0.4], abs=0.01)
    assert opened_at(out) == pytest.approx([0.1, 0.4], abs=float(1 / rate) + 0.01)


@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(1000, 33)], ids=str)
@pytest.mark.parametrize(("frames", "size"), [(1, 1), (5, 1), (7, 2), (13, 6), (14, 6), (12, 6)])
def test_pieces_of_any_length_keep_the_rate(tmp_path: Path, rate: Fraction, frames: int, size: int) -> None:
    """x264 holds back frames of a piece that has some: a last piece of one has none to hold back."""
    sound, shown = voice_file(tmp_path / "voice.wav", bursts(1.0, ())), walk(frames, 64, 64)
    pieces = [tmp_path / f"{start}.mp4" for start in range(0, frames, size)]
    for start, piece in zip(range(0, frames, size), pieces, strict=True):
        write_video(piece, shown[start : start + size], rate, None, coding=PIECE)
    joined = tmp_path / "joined.mp4"
    assert join_pieces(joined, tmp_path / "part", pieces, rate, sound) == frames
    with av.open(str(joined)) as container:
        assert container.streams.video[0].average_rate == rate
        assert container.streams.video[0].start_time == 0
    assert times(joined) == [i / rate for i in range(frames)]
    assert ends_of(joined)[0] == pytest.approx(frames / rate, abs=0.001)
    decoding = [packet.dts for packet in packets(joined, "video")]
    assert len(set(np.diff(decoding))) <= 1
    for before, after in zip(shown, plain_decode(joined), strict=True):
        assert distance(before, after) < 15  # from one frame to the next it is 30


def test_a_player_can_begin_at_every_piece_and_nothing_in_it_is_damaged(
    tmp_path: Path, monkeypatch, voice: Path
) -> None:
    source, track = film(tmp_path, 20), track_file(tmp_path, 20)
    painted = Painted(monkeypatch)
    path = made(clip(source, voice, tmp_path / "out.mp4", shard_seconds=SIX_FRAMES, face_track=track))
    keys = [round(packet.pts * packet.time_base * 25) for packet in packets(path, "video") if packet.is_keyframe]
    assert keys == [0, 6, 12]
    with av.open(str(path), options={"err_detect": "explode"}) as container:
        assert sum(isinstance(frame, av.VideoFrame) for frame in container.decode()) == 17
    for before, after in zip(painted.taken(), plain_decode(path), strict=True):
        assert distance(before, after) < 4
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # it plays before it has fully arrived


# Sound


@pytest.mark.parametrize(
    ("name", "codec", "copied"),
    [
        ("voice.wav", "pcm_s16le", False),
        ("voice.mp3", "libmp3lame", True),
        ("voice.m4a", "aac", True),
        ("voice.opus", "libopus", True),
    ],
)
def test_any_voice_is_in_it_once_and_copied_where_it_can_be(
    tmp_path: Path, name: str, codec: str, copied: bool
) -> None:
    sound = voice_file(tmp_path / name, bursts(0.7, (0.1, 0.5), 48000, 0.1), codec)
    of = clip(film(tmp_path, 20), sound, tmp_path / "out.mp4", face_track=track_file(tmp_path, 20))
    path = same_as_whole(of)
    assert ([*map(bytes, packets(path, "audio"))] == [*map(bytes, packets(sound, "audio"))]) == copied
    assert loud_at(path) == pytest.approx([0.1, 0.5], abs=0.01)


@pytest.mark.parametrize(
    ("frames", "settings"),
    [(40, {}), (8, {"length": "trim"}), (40, {"first_frames": 7})],
    ids=["the voice ends amid a frame", "the clip ends first", "a moment of it"],
)
def test_the_sound_ends_where_it_does_in_one_go(tmp_path: Path, frames: int, settings: dict) -> None:
    sound = voice_file(tmp_path / "voice.m4a", bursts(0.71, (0.1,), 48000), "aac")
    track = track_file(tmp_path, frames)
    same_as_whole(clip(film(tmp_path, frames), sound, tmp_path / "out.mp4", face_track=track, **settings))


# Picture


@pytest.mark.parametrize(("pix_fmt", "matrix", "range_"), [("yuv420p", 6, 2), ("yuv444p", 9, 1)])
def test_colours_and_the_shape_of_pixels_stay(
    tmp_path: Path, voice: Path, pix_fmt: str, matrix: int, range_: int
) -> None:
    def prepare(stream: av.VideoStream) -> None:
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = matrix
        codec.color_range, codec.sample_aspect_ratio = range_, Fraction(4, 3)

    encode_film(tmp_path / "film.mp4", face_film(20), pix_fmt=pix_fmt, prepare=prepare)
    of = clip(tmp_path / "film.mp4", voice, tmp_path / "out.mp4", face_track=track_file(tmp_path, 20))
    told = said(same_as_whole(of))
    assert told["colour"] == (matrix, matrix, matrix, range_)
    assert told["shape"][0] == Fraction(4, 3)


@pytest.mark.parametrize(("height", "width"), [(63, 65), (64, 64)])
@pytest.mark.parametrize("still", [True, False])
def test_odd_sizes_are_what_they_are_in_one_go(
    tmp_path: Path, voice: Path, height: int, width: int, still: bool
) -> None:
    frames = face_film(20, height, width)
    if still:
        source, track = tmp_path / "face.png", track_file(tmp_path, 1, (height, width))
        Image.fromarray(frames[0]).save(source)
    else:
        source, track = tmp_path / "film.mkv", track_file(tmp_path, 20, (height, width))
        encode_film(source, frames, codec="ffv1")
    path = same_as_whole(clip(source, voice, tmp_path / "out.mp4", face_track=track))
    assert [number_of(frame) for frame in plain_decode(path)] == ([0] * 17 if still else [*range(17)])


# Names


@pytest.mark.parametrize("name", ["a [b] *?", "take:2, 50% of 'it'", "-\u9879\u76ee e\u0301 %05d"])
def test_names_may_hold_anything(tmp_path: Path, voice: Path, name: str) -> None:
    folder = tmp_path / f"{name} folder"
    folder.mkdir()
    source = film(folder, 8, name=f"{name} film.mp4")
    sound = voice.rename(folder / f"{name} voice.wav")
    of = clip(source, sound, folder / f"{name}.mp4", face_track=track_file(tmp_path, 8))
    assert len(times(made(of))) == 17


def test_relative_names_are_heeded_and_folders_made(tmp_path: Path, voice: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    film(tmp_path, 8), track_file(tmp_path, 8)
    of = clip(Path("film.mp4"), Path("voice.wav"), Path("made/here/out.mp4"), face_track=Path("track.json"))
    assert made(of).is_file()


# What does not end well


def test_a_piece_that_cannot_be_read_is_named_and_leaves_nothing(tmp_path: Path, voice: Path) -> None:
    good, bad, joined = tmp_path / "0.mp4", tmp_path / "1.mp4", tmp_path / "joined.mp4"
    write_video(good, walk(6, 64, 64), Fraction(25), None, coding=PIECE)
    bad.write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"1\.mp4"):
        join_pieces(joined, tmp_path / "part", [good, bad], Fraction(25), voice)
    assert not joined.exists() and not (tmp_path / "part").exists()


def test_a_voice_that_is_damaged_is_told_as_in_one_go(tmp_path: Path) -> None:
    sound = voice_file(tmp_path / "voice.mp3", bursts(4, (0, 1, 2, 3), 44100, 1.0), "libmp3lame")
    whole = sound.read_bytes()
    sound.write_bytes(whole[: len(whole) // 2] + bytes(2000) + whole[len(whole) // 2 + 2000 :])
    of = clip(film(tmp_path, 8), sound, tmp_path / "out.mp4", face_track=track_file(tmp_path, 8))
    (result,) = make(Painters(), of)
    assert result.state == "failed" and "voice.mp3 cannot be read beyond" in result.detail
    assert not (tmp_path / "out.mp4").exists() and hidden(tmp_path) == []


def test_a_piece_of_another_encoder_is_refused_instead_of_spoiling_the_video(tmp_path: Path) -> None:
    voice = voice_file(tmp_path / "voice.wav", spoken(0.4))
    pieces = [tmp_path / "0.mp4", tmp_path / "1.mp4"]
    for piece, coding in zip(pieces, (PIECE, Coding({"crf": "18", "bf": "0", "refs": "1"})), strict=True):
        write_video(piece, face_film(5), Fraction(25), None, coding=coding)
    with pytest.raises(MediaError, match=r"1\.mp4 was encoded by another version"):
        join_pieces(tmp_path / "out.mp4", tmp_path / "out.part", pieces, Fraction(25), voice)
    assert not list(tmp_path.glob("out.*"))
