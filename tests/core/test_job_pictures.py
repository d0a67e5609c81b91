"""Whole jobs on real files: upright, of the same size and with the same colours; or nothing at all."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from musetalk_core import face_track_file, job, media_output
from musetalk_core.errors import InputError, MediaError, NoRoomError
from musetalk_core.faces import make_track
from musetalk_core.job import Settings
from musetalk_core.media_input import open_clip
from musetalk_core.progress import Progress, silent
from tests.core.jobs import Listeners, bursts, face_film, film, open_mouth, speak, track_file, voice_file
from tests.core.media_samples import distance, encode_film
from tests.core.stand_ins import pictures

TURNS = {  # transforms of a track header that turn a picture clockwise by so many quarters
    1: (0, 1, -1, 0),
    2: (-1, 0, 0, -1),
    3: (0, -1, 1, 0),
}

pytestmark = pytest.mark.usefixtures("all_skin")


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return voice_file(tmp_path / "voice.wav", bursts(0.4, (0.2,)))


def colour_tags(path: Path) -> tuple[int, int, int, int, bool]:
    """Matrix, primaries, transfer, range and whether colour is at full size, as the file says."""
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        tags = codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range
        return *tags, "444" in codec.pix_fmt


def untouched(frame: np.ndarray) -> np.ndarray:
    """The part of a frame that no job of these touches: a strip on the left, below the number."""
    return frame[16:, :8]


# Size and direction


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_film_held_sideways_speaks_upright(tmp_path: Path, voice: Path, quarters: int) -> None:
    upright = face_film(10, 80, 64)
    lying = [np.ascontiguousarray(np.rot90(frame, quarters)) for frame in upright]
    encode_film(tmp_path / "film.mp4", lying)
    content = bytearray((tmp_path / "film.mp4").read_bytes())
    a, b, c, d = TURNS[quarters]
    matrix = content.index(b"tkhd") + 44
    content[matrix : matrix + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    (tmp_path / "film.mp4").write_bytes(content)
    out = speak(tmp_path, tmp_path / "film.mp4", voice, 10, (80, 64))
    assert out.numbers == list(range(10))
    with av.open(str(out.path)) as container:  # its pixels themselves are upright
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (64, 80, 0)
    for before, after in zip(upright, out.frames, strict=True):
        assert distance(untouched(before), untouched(after)) < 8


@pytest.mark.parametrize(("height", "width"), [(63, 65), (64, 65), (65, 64)])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("film.mkv", "ffv1", "yuv420p"), ("film.mp4", "libx264", "yuv444p")]
)
def test_odd_sizes_stay(
    tmp_path: Path, voice: Path, height: int, width: int, name: str, codec: str, pix_fmt: str
) -> None:
    source = tmp_path / name
    encode_film(source, face_film(10, height, width), codec=codec, pix_fmt=pix_fmt)
    out = speak(tmp_path, source, voice, 10, (height, width))
    assert {frame.shape for frame in out.frames} == {(height, width, 3)}
    assert out.numbers == list(range(10))
    before, after = open_clip(source).frames[0], out.frames[0]
    assert distance(before[-3:, :8], after[-3:, :8]) < 12  # nothing is moved by a row or a column: that would be 24
    assert distance(before[16:, -3:], after[16:, -3:]) < 12


# Colours


@pytest.mark.parametrize(
    ("pix_fmt", "matrix", "range_"),
    [
        ("yuv420p", 1, 1),
        ("yuv420p", 6, 1),
        ("yuv420p", 1, 2),
        ("yuvj420p", 5, 2),
        ("yuv444p", 1, 1),
        ("yuv444p", 1, 2),
        ("yuv444p", 6, 1),
    ],
)
def test_matrix_range_and_sharpness_of_colour_stay(
    tmp_path: Path, voice: Path, pix_fmt: str, matrix: int, range_: int
) -> None:
    def prepare(stream: av.VideoStream) -> None:
        codec = stream.codec_context
        codec.colorspace, codec.color_range = matrix, range_
        codec.color_primaries, codec.color_trc = matrix, matrix

    frames = face_film(10)
    for frame in frames:
        frame[16:, :16] = (230, 120, 40)
    encode_film(
        tmp_path / "film.mp4",
        frames,
        pix_fmt=pix_fmt,
        options={"crf": "8"},
        prepare=prepare,
        dst_colorspace=5 if matrix == 6 else matrix,
        dst_color_range=range_,
    )
    source = tmp_path / "film.mp4"
    assert colour_tags(source) == (matrix, matrix, matrix, range_, pix_fmt == "yuv444p")
    out = speak(tmp_path, source, voice, 10)
    assert colour_tags(out.path) == colour_tags(source)
    for before, after in zip(open_clip(source).frames, out.frames, strict=True):
        shift = before[24:56, 3:9].mean((0, 1)) - after[24:56, 3:9].mean((0, 1))
        assert np.abs(shift).max() < 5  # another matrix or range moves it by 10 and more


def test_only_the_mouth_is_painted_and_only_in_frames_with_a_face(tmp_path: Path) -> None:
    source, output = tmp_path / "film.mp4", tmp_path / "out.mp4"
    encode_film(source, face_film(10), options={"crf": "8"})
    silence = voice_file(tmp_path / "voice.wav", bursts(0.4, ()))  # which paints a mouth without any red
    track = track_file(tmp_path, 10, present=[i not in (3, 4) for i in range(10)])
    outcome = job.run(Listeners(), source, silence, output, Settings(face_track=track), lambda stage: silent)
    assert (outcome.frames, outcome.faceless, outcome.synthetic) == (10, 2, False)
    for i, (before, after) in enumerate(zip(open_clip(source).frames, open_clip(output).frames, strict=True)):
        assert open_mouth(before)
        assert open_mouth(after) == (i in (3, 4))
        changed = np.abs(before.astype(int) - after).max(axis=2) > 60
        assert not changed[:30].any() and not changed[:, :12].any() and not changed[:, 52:].any()


def test_the_file_says_what_made_it(tmp_path: Path, voice: Path) -> None:
    encode_film(tmp_path / "film.mp4", face_film(10))
    settings = Settings(face_track=track_file(tmp_path, 10))
    for release, synthetic, mark, said in (
        ("1.5", False, None, "MuseTalk 1.5"),
        ("1.0", False, "abc", "MuseTalk 1.0, abc"),
        ("1.5", True, "abc", "MuseTalk 1.5, SYNTHETIC WEIGHTS, abc"),
    ):
        models = Listeners(release, synthetic)
        output = tmp_path / "out.mp4"
        outcome = job.run(models, tmp_path / "film.mp4", voice, output, settings, lambda stage: silent, mark)
        assert outcome.synthetic == synthetic
        with av.open(str(output)) as container:
            assert container.metadata["comment"] == said


# Stills


def test_a_picture_speaks_for_as_long_as_the_voice(tmp_path: Path, voice: Path) -> None:
    Image.fromarray(face_film(1, 64, 64)[0]).save(tmp_path / "face.png")
    for length, count in (("pingpong", 10), ("hold", 10), ("loop", 10), ("trim", 1)):
        out = speak(tmp_path, tmp_path / "face.png", voice, 1, length=length)
        assert (out.rate, len(out.frames)) == (25, count)
        assert set(out.numbers) == {0}


def test_a_folder_of_pictures_speaks_at_the_rate_that_is_asked_for(tmp_path: Path, voice: Path) -> None:
    (tmp_path / "faces").mkdir()
    for i, frame in enumerate(face_film(4)):
        Image.fromarray(frame).save(tmp_path / "faces" / f"{i}.png")
    out = speak(tmp_path, tmp_path / "faces", voice, 4, fps=Fraction(30000, 1001))
    assert (out.rate, out.numbers) == (Fraction(30000, 1001), [0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2])


# A face track of other frames


def test_a_clip_ends_where_its_face_track_ends(tmp_path: Path, voice: Path) -> None:
    encode_film(tmp_path / "film.mp4", face_film(8))
    assert speak(tmp_path, tmp_path / "film.mp4", voice, 5).numbers == [*range(5), *range(4, -1, -1)]
    assert speak(tmp_path, tmp_path / "film.mp4", voice, 5, length="trim").numbers == [*range(5)]


def test_a_face_track_of_a_longer_clip_is_refused(tmp_path: Path, voice: Path) -> None:
    encode_film(tmp_path / "film.mp4", face_film(8))
    with pytest.raises(InputError, match="9 frames but only 8"):
        speak(tmp_path, tmp_path / "film.mp4", voice, 9)
    assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".*"))


# What does not end well


class BreakingUnet:
    """Paints some batches, then fails."""

    def __init__(self, unet, batches: int) -> None:
        self.unet, self.left = unet, batches

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("out of memory")
        return self.unet(*args, **kwargs)

    def __getattr__(self, name: str):
        return getattr(self.unet, name)


def left_over(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"film.mp4", "voice.wav", "track.json"}


@pytest.mark.parametrize("before", [b"yesterday's", None])
@pytest.mark.parametrize("cause", ["network", "stop", "source", "full disk"])
def test_what_fails_midway_leaves_nothing_and_an_older_video_as_it_was(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch, cause: str, before: bytes | None
) -> None:
    source, output = tmp_path / "film.mp4", tmp_path / "out.mp4"
    encode_film(source, face_film(10))
    if before:
        output.write_bytes(before)
    models = Listeners()
    seen: list[int] = []

    def report(done: int, total: int, preview: np.ndarray | None = None) -> None:
        seen.append(done)
        assert [path.name for path in tmp_path.glob(".*")] == [".out.mp4.part"]  # the work is in full swing
        if cause == "stop" and done == 6:
            raise KeyboardInterrupt
        if cause == "source" and done == 6:
            raise MediaError("film.mp4 changed while it was read.", "Leave it alone.")

    def stages(stage: str) -> Progress:
        return report if stage == "speak" else silent

    if cause == "network":
        models.networks.unet = BreakingUnet(models.networks.unet, 3)
    if cause == "full disk":
        written = itertools.count()

        def add(self, pixels: np.ndarray) -> None:
            if next(written) == 6:
                raise av.error.OSError(28, "No space left on device", "out.mp4")

        monkeypatch.setattr(media_output.PictureTrack, "add", add)
    expected = {"network": NoRoomError, "stop": KeyboardInterrupt}.get(cause, MediaError)
    with pytest.raises(expected):
        job.run(models, source, voice, output, Settings(face_track=track_file(tmp_path, 10), batch_size=2), stages)
    assert seen
    assert left_over(tmp_path) == ({"out.mp4"} if before else set())
    if before:
        assert output.read_bytes() == before


def test_a_voice_that_is_damaged_leaves_nothing(tmp_path: Path) -> None:
    encode_film(tmp_path / "film.mp4", face_film(4))
    sound = voice_file(tmp_path / "voice.mp3", bursts(4, (0, 1, 2, 3), 44100, 1.0), "libmp3lame")
    whole = sound.read_bytes()
    middle = len(whole) // 2
    sound.write_bytes(whole[:middle] + bytes(2000) + whole[middle + 2000 :])
    with pytest.raises(MediaError, match=r"voice\.mp3 cannot be read beyond"):
        speak(tmp_path, tmp_path / "film.mp4", sound, 4)
    assert left_over(tmp_path) == {"voice.mp3"}


@pytest.mark.parametrize("place", ["output", "track"])
def test_a_folder_that_is_not_there_is_told_before_any_work(tmp_path: Path, voice: Path, place: str) -> None:
    encode_film(tmp_path / "film.mp4", pictures(3, 64, 64))
    there, missing = tmp_path, tmp_path / "missing"
    output = (missing if place == "output" else there) / "out.mp4"
    settings = Settings(save_face_track=(missing if place == "track" else there) / "t.json")

    def stages(stage: str) -> Iterator:
        raise AssertionError(f"{stage} began")

    with pytest.raises(MediaError, match="a folder that is there"):
        job.run(Listeners(), tmp_path / "film.mp4", voice, output, settings, stages)
    assert left_over(tmp_path) == set()


@pytest.mark.parametrize("told", [None, Fraction(50)])
def test_a_track_of_all_frames_serves_a_clip_of_which_half_are_shown(tmp_path: Path, told: Fraction | None) -> None:
    """Without a face in frames 3 and 7 of 50 a second: at 25, these are the second and the fourth."""
    source = film(tmp_path, 20, Fraction(50))
    voice = voice_file(tmp_path / "voice.wav", bursts(0.2, ()))  # which paints a mouth without any red
    track = track_file(tmp_path, 20, present=[i not in (3, 7) for i in range(20)])
    if told:
        seen = replace(face_track_file.load(track), fps=told)
        face_track_file.save(make_track(seen, 0, 0), track)
    settings = Settings(face_track=track, fps=Fraction(25))
    outcome = job.run(Listeners(), source, voice, tmp_path / "out.mp4", settings, lambda stage: silent)
    assert (outcome.frames, outcome.faceless) == (5, 2)
    untouched = [open_mouth(frame) for frame in open_clip(tmp_path / "out.mp4").frames]
    assert untouched == [False, True, False, True, False]


def test_a_track_of_a_third_rate_is_refused(tmp_path: Path) -> None:
    source = film(tmp_path, 20, Fraction(50))
    voice = voice_file(tmp_path / "voice.wav", bursts(0.2, ()))
    track = track_file(tmp_path, 20)
    face_track_file.save(make_track(replace(face_track_file.load(track), fps=Fraction(12)), 0, 0), track)
    settings = Settings(face_track=track, fps=Fraction(25))
    with pytest.raises(InputError, match="made at 12 fps"):
        job.run(Listeners(), source, voice, tmp_path / "out.mp4", settings, lambda stage: silent)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("name", ["film.mp4", "voice.wav"])
def test_what_a_video_is_made_of_is_never_overwritten(tmp_path: Path, name: str) -> None:
    source, voice = film(tmp_path, 5), voice_file(tmp_path / "voice.wav", bursts(0.2, ()))
    before = (tmp_path / name).read_bytes()
    with pytest.raises(MediaError, match="one of the files it is made of"):
        job.run(Listeners(), source, voice, tmp_path / name, Settings(), lambda stage: silent)
    assert (tmp_path / name).read_bytes() == before
