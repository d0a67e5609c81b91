"""How a video codes its colours and pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    import av


@dataclass(frozen=True)
class VideoLook:
    """What it takes to write a video that looks the same.

    Attributes:
        matrix, primaries, transfer: Code points of ITU-T H.273; 2 is "unspecified".
        range: 1 limited, 2 full, 0 unspecified, which players take for limited.
        full_chroma: Whether colour is as sharp as brightness (4:4:4).
        pixel_aspect: Width of a pixel by its height, as shown upright.
    """

    matrix: int
    range: int
    primaries: int
    transfer: int
    full_chroma: bool
    pixel_aspect: Fraction


STILL_LOOK = VideoLook(1, 1, 1, 1, full_chroma=False, pixel_aspect=Fraction(1))
"""What is written where there is no video to look like: BT.709 in each of the tables, and limited range."""

_POINT, _AREA, _FULL_CHROMA_OUT, _FULL_CHROMA_IN, _ACCURATE = 0x10, 0x20, 0x2000, 0x4000, 0x40000
TO_RGB = _POINT | _FULL_CHROMA_OUT | _ACCURATE
FROM_RGB = _AREA | _FULL_CHROMA_IN | _ACCURATE
"""How FFmpeg's swscale converts (its flags; older PyAV does not name them all). Colour is doubled on the way to RGB
and averaged on the way back, so that what is not touched comes back as it was; the default darkens it each time."""


def look_of(stream: av.VideoStream, frame: av.VideoFrame) -> VideoLook:
    """The look of a video, of which one frame is decoded."""
    codec, pixels = stream.codec_context, frame.format
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if round(frame.rotation / 90) % 2:
        aspect = 1 / aspect
    if pixels.is_rgb or pixels.has_palette:
        # H.264 that plays has no RGB. Planar RGB is what video is kept in, packed RGB is gif and the like.
        planar = pixels.name.startswith("gbr")
        return VideoLook(1, 1, codec.color_primaries, codec.color_trc, planar, aspect)
    full_chroma = len(pixels.components) >= 3 and (pixels.chroma_width(16), pixels.chroma_height(16)) == (16, 16)
    return VideoLook(codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc, full_chroma, aspect)
