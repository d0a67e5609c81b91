"""The frames of a video in any order, decoded when they are asked for, few of them held at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .errors import MediaError
from .media_file import name_of, open_media
from .video_look import TO_RGB
from .video_survey import Survey, fingerprint, picture_stream

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    import av
    from av.video.reformatter import VideoReformatter


class VideoFrames:
    """The frames of a video that was surveyed.

    It holds a run of decoded frames in a row. Beyond its end it decodes on; before its beginning it starts
    anew at a key frame, far enough back that the next frames backwards are there too. Where a file
    cannot be trusted to go to a frame - the timestamps or the pictures that come are not those the survey
    saw - it starts further back, and at last from the beginning of the file.

    Args:
        survey: Of the video.
    """

    def __init__(self, survey: Survey) -> None:
        from av.video.reformatter import VideoReformatter

        self._survey = replace(survey, head=[])  # held below, and not for longer than there
        self._converter = VideoReformatter()
        self.held = deque(survey.head, survey.capacity)
        self._end = survey.window.start + len(survey.head)  # number of the frame after those held
        self._keys = sorted(survey.keys)
        self._by_decoding_stamp = False
        self._container: av.container.InputContainer | None = None
        self._run: Iterator[av.VideoFrame] | None = None  # gives the frame number _end next
        self._origin: int | None = None  # the key frame it started at; None is the beginning of the file

    def __call__(self, number: int) -> np.ndarray:
        """Gives a frame as uint8 RGB (H, W, 3), upright.

        Raises:
            MediaError: The file is no longer the one that was surveyed.
        """
        begin = self._end - len(self.held)
        backwards = begin - self._survey.capacity <= number < begin
        wanted = number - self._survey.capacity + 1 if backwards else number
        while not self._end - len(self.held) <= number < self._end:
            nearest = self._key_before(wanted)
            if self._run is None or number < self._end or (nearest or 0) > self._end:
                self._start(nearest)
            self._advance()
        return to_rgb(self.held[number - self._end], self._converter)

    def _key_before(self, number: int) -> int | None:
        index = bisect_right(self._keys, number)
        return self._keys[index - 1] if index else None

    def _start(self, key: int | None) -> None:
        """Gets ready to decode from a key frame, or from the beginning of the file."""
        self.held.clear()
        self._origin, self._end = key, key or 0
        if self._container is None or key is None:
            if self._container is not None:
                self._container.close()
            self._container = open_media(self._survey.source)
            self._stream = picture_stream(self._survey.source, self._container)
        self._run = self._decoded(key)

    def _decoded(self, key: int | None) -> Iterator[av.VideoFrame]:
        if key is not None:
            stamp = self._survey.stamps[key]
            target = self._survey.keys[key] if self._by_decoding_stamp else stamp
            self._container.seek(target, stream=self._stream)
        for packet in self._container.demux(self._stream):
            for frame in packet.decode():
                # The file may go further back than asked, and what comes before the key frame may be spoilt.
                if key is None or frame.pts is None or frame.pts >= stamp:
                    yield frame

    def _advance(self) -> None:
        """Decodes one more frame, or gives up the run where it is not the right one."""
        import av

        try:
            frame = next(self._run, None)
        except av.FFmpegError:
            frame = None
        seen = self._survey.stamps[self._end], self._survey.prints[self._end]
        if frame is not None and (frame.pts, fingerprint(frame)) == seen:
            self.held.append(frame)
            self._end += 1
            return
        self._run = None
        if self._origin is None:
            raise MediaError(
                f"{name_of(self._survey.source)} changed while it was read.", "Leave the file alone and start again."
            )
        if self._by_decoding_stamp:
            self._keys.remove(self._origin)
        self._by_decoding_stamp = True  # what MPEG transport streams go by


def to_rgb(frame: av.VideoFrame, converter: VideoReformatter) -> np.ndarray:
    """Converts a decoded frame to uint8 RGB (H, W, 3), by its own colour tags, upright."""
    from av.video.reformatter import Colorspace

    # Naming both ends makes older PyAV heed the frame's matrix and range; RGB itself has no matrix.
    rgb = converter.reformat(
        frame,
        format="rgb24",
        dst_colorspace=Colorspace.DEFAULT,
        src_color_range=frame.color_range,
        interpolation=TO_RGB,
    ).to_ndarray()
    # Phones film sideways and say so. Rotation is counterclockwise degrees, as in np.rot90.
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)))
