"""The H.264 track of an mp4, coded to look like its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .errors import MediaError
from .video_look import FROM_RGB, STILL_LOOK, VideoLook

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    from av.container import OutputContainer

CONVERTED_MATRICES = (1, 4, 5, 7, 9)
"""Matrices that FFmpeg converts with under their own number. The others, among them "unspecified", it takes for
BT.601, which is 5; it does so when reading, too."""


@dataclass(frozen=True)
class Coding:
    """How the encoder goes about it.

    Attributes:
        options: Of libx264.
        key_seconds: The most seconds from one frame at which a player may begin to the next; None leaves it to
            the encoder.
        plain: Code what every browser plays, whatever the look: 4:2:0, odd sizes filled up.
    """

    options: Mapping[str, str] = field(default_factory=lambda: {"crf": "18"})
    key_seconds: int | None = None
    plain: bool = False


WHOLE_FILE = Coding()
"""For a file that is played when it is complete."""


class PictureTrack:
    """The H.264 track of an mp4 being written.

    Args:
        container: The mp4.
        shape: (H, W, 3) of every frame.
        fps: Frames a second.
        look: Of the source; None for stills.
        coding: How to encode.
    """

    def __init__(
        self,
        container: OutputContainer,
        shape: tuple[int, ...],
        fps: Fraction,
        look: VideoLook | None,
        coding: Coding = WHOLE_FILE,
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self.container, self.shape, self.fps = container, shape, fps
        self.converter = VideoReformatter()  # setting one up anew for each frame takes longer than converting
        self.count = 0  # frames so far
        self.look = look or STILL_LOOK
        height, width, _ = shape
        odd = height % 2 or width % 2
        # Without a source to be true to, a doubled edge plays in more places than full chroma does.
        full_chroma = not coding.plain and (self.look.full_chroma or (look and odd))
        self.format = "yuv444p" if full_chroma else "yuv420p"
        self.padding = None
        if odd and self.format == "yuv420p":
            self.padding = ((0, height % 2), (0, width % 2), (0, 0))
            height, width = height + height % 2, width + width % 2
        self.stream = container.add_stream("libx264", rate=fps, options=dict(coding.options))
        self.stream.pix_fmt = self.format
        self.stream.height, self.stream.width = height, width
        codec = self.stream.codec_context
        if coding.key_seconds is not None:
            codec.gop_size = max(1, round(coding.key_seconds * fps))
        codec.sample_aspect_ratio = self.look.pixel_aspect
        codec.colorspace, codec.color_range = self.look.matrix, self.look.range
        codec.color_primaries, codec.color_trc = self.look.primaries, self.look.transfer

    def add(self, pixels: np.ndarray) -> None:
        """Writes one frame, uint8 RGB (H, W, 3)."""
        import av

        if pixels.shape != self.shape:
            raise MediaError(
                f"Frame {self.count} has shape {pixels.shape}, the frames before it {self.shape}.",
                "Bring all frames to one size.",
            )
        if self.padding:
            pixels = np.pad(pixels, self.padding, mode="edge")
        frame = self.converter.reformat(
            av.VideoFrame.from_ndarray(pixels, "rgb24"),
            format=self.format,
            dst_colorspace=self.look.matrix if self.look.matrix in CONVERTED_MATRICES else 5,
            dst_color_range=2 if self.look.range == 2 else 1,
            interpolation=FROM_RGB,
        )
        frame.pts, frame.time_base = self.count, 1 / self.fps
        self.container.mux(self.stream.encode(frame))
        self.count += 1

    def finish(self) -> None:
        """Writes the frames the encoder still holds."""
        self.container.mux(self.stream.encode(None))
