"""A video written with the look of its source has its colours, and says so in the same words."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from musetalk_core.media_input import open_clip
from musetalk_core.media_output import write_video
from tests.core.media_samples import distance, encode_film, walk

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (200, 30, 120), (70, 160, 90), (255,) * 3, (0,) * 3]
PATCHES = np.array(COLOURS, np.uint8).reshape(2, 4, 1, 3).repeat(16, 0).repeat(16, 1).reshape(32, 64, 3)

BT709, UNSPECIFIED, BT601_PAL, BT601_NTSC, BT2020 = 1, 2, 5, 6, 9
LIMITED, FULL = 1, 2


def tags(path: Path) -> tuple[int, int, int, int, str]:
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        next(container.decode(video=0))
        matrix, span = codec.colorspace, codec.color_range
        return matrix, span, codec.color_primaries, codec.color_trc, codec.pix_fmt.replace("yuvj", "yuv")


def planes(path: Path) -> list[np.ndarray]:
    """Brightness and both colour differences of the second frame, as they are coded."""
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[1]
        return [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width] for p in frame.planes]


def rewrite(source: Path) -> tuple[Path, list[np.ndarray]]:
    """Reads a film and writes it again in its look; gives the new one and the frames in between."""
    clip = open_clip(source)
    write_video(source.with_name("out.mp4"), clip.frames, clip.fps, None, look=clip.look)
    return source.with_name("out.mp4"), list(clip.frames)


@pytest.mark.parametrize("matrix", [BT709, BT601_PAL, BT601_NTSC, BT2020, UNSPECIFIED])
@pytest.mark.parametrize("span", [LIMITED, FULL])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_colours_and_their_tags_come_back(tmp_path: Path, matrix: int, span: int, pix_fmt: str) -> None:
    converted = {BT601_NTSC: BT601_PAL, UNSPECIFIED: BT601_PAL}.get(matrix, matrix)  # what FFmpeg makes of them

    def tag(stream: av.VideoStream) -> None:
        codec = stream.codec_context
        codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc = matrix, span, 9, 14

    encode_film(
        tmp_path / "a.mp4",
        [PATCHES] * 3,
        pix_fmt=pix_fmt,
        prepare=tag,
        options={"crf": "10"},
        dst_colorspace=converted,
        dst_color_range=span,
    )
    out, frames = rewrite(tmp_path / "a.mp4")
    for patch, colour in enumerate(COLOURS):
        y, x = patch // 4 * 16, patch % 4 * 16
        for shown in (frames[1], open_clip(out).frames[1]):
            assert np.abs(shown[y + 4 : y + 12, x + 4 : x + 12].mean((0, 1)) - colour).max() < 6
    assert tags(out) == tags(tmp_path / "a.mp4") == (matrix, span, 9, 14, pix_fmt)
    for before, after in zip(planes(tmp_path / "a.mp4"), planes(out), strict=True):
        assert before.shape == after.shape
        # Within the patches: at their edges the source holds colours that RGB does not.
        side = before.shape[0] // 2
        inside = np.indices(before.shape) % side // (side // 4)
        inside = ((inside == 1) | (inside == 2)).all(axis=0)
        assert distance(before[inside], after[inside]) < 2
        # Else a film would darken. FFmpeg 8 is half a step off in the colours of the full range.
        assert abs(float(before[inside].mean() - after[inside].mean())) < (0.6 if span == LIMITED else 1.2)


@pytest.mark.parametrize(
    ("codec", "source", "written"), [("libx264rgb", "rgb24", "yuv444p"), ("gif", "rgb8", "yuv420p")]
)
def test_rgb_becomes_what_players_show(tmp_path: Path, codec: str, source: str, written: str) -> None:
    name = "a.gif" if codec == "gif" else "a.mp4"
    encode_film(tmp_path / name, [PATCHES] * 3, codec=codec, pix_fmt=source)
    out, frames = rewrite(tmp_path / name)
    assert tags(out)[:2] == (BT709, LIMITED)
    assert tags(out)[4] == written
    assert distance(frames[1], open_clip(out).frames[1]) < 12


@pytest.mark.parametrize("size", [(33, 47), (32, 47), (33, 48)])
def test_odd_sizes_are_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    encode_film(tmp_path / "a.mkv", walk(3, *size), codec="ffv1", pix_fmt="yuv420p")
    out, frames = rewrite(tmp_path / "a.mkv")
    again = open_clip(out).frames
    assert again[0].shape == (*size, 3)
    assert all(distance(before, after) < 6 for before, after in zip(frames, again, strict=True))


def test_a_film_stands_upright_and_its_pixels_stay_as_wide(tmp_path: Path) -> None:
    def anamorphic(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    encode_film(tmp_path / "a.mp4", walk(3), prepare=anamorphic)
    out, frames = rewrite(tmp_path / "a.mp4")
    assert open_clip(out).look.pixel_aspect == Fraction(4, 3)

    content = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 44  # the transform of the track header
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(content)
    out, turned = rewrite(tmp_path / "a.mp4")
    np.testing.assert_array_equal(turned[1], np.rot90(frames[1], -1))
    again = open_clip(out)
    assert again.look.pixel_aspect == Fraction(3, 4)
    assert distance(again.frames[1], turned[1]) < 20
    with av.open(str(out)) as container:
        assert next(container.decode(video=0)).rotation == 0
