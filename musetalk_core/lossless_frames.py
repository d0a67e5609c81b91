"""Pictures in a file from which each comes back as it was, in any order, without decoding another.

FFV1 in Matroska, every frame by itself: half the size of a PNG, and as quick backwards as forwards.
The rate in the file says nothing of the clip; it makes the timestamp of every frame a whole number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import PREPARE_AGAIN, MediaError

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    import av

_CODEC, _PIXELS, _CONTAINER = "ffv1", "bgr0", "matroska"
_RATE = 25
_TICKS = 40  # of a frame: Matroska counts milliseconds


def write_frames(path: Path, frames: Iterable[np.ndarray]) -> int:
    """Write pictures to a file, one at a time.

    Args:
        path: The file; what is there is overwritten.
        frames: uint8 RGB (H, W, 3), at least one, all of one size; any size will do.

    Returns:
        How many there are.

    Raises:
        MediaError: the sizes differ, or the file cannot be written.
    """
    import av

    count = 0
    try:
        with av.open(str(path.absolute()), "w", format=_CONTAINER) as container:
            stream = container.add_stream(_CODEC, rate=_RATE)
            for frame in frames:
                height, width = frame.shape[:2]
                if count == 0:
                    stream.width, stream.height, stream.pix_fmt = width, height, _PIXELS
                    stream.options = {"level": "3", "g": "1", "slices": str(_slices(min(width, height)))}
                    stream.thread_type = "SLICE"
                elif (width, height) != (stream.width, stream.height):
                    raise MediaError(
                        f"Frame {count} is {width} x {height}, those before it {stream.width} x {stream.height}.",
                        "Bring all pictures to one size.",
                    )
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24").reformat(format=_PIXELS)
                picture.pts, picture.time_base = count, Fraction(1, _RATE)
                container.mux(stream.encode(picture))
                count += 1
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise MediaError(
            f"{path} cannot be written ({error.strerror}).", "Choose a folder that can be written to and has room."
        ) from error
    return count


def _slices(side: int) -> int:
    """Parts of a frame that are decoded side by side; FFV1 takes large frames in no fewer than four."""
    return 16 if side >= 64 else 4 if side > 1 else 1


class LosslessFrames(Sequence):
    """The pictures that `write_frames` wrote: uint8 RGB (H, W, 3), each decoded when it is asked for.

    Only the last is held. Not to be used by two threads at once. Whatever becomes of the file's
    name, the file stays open until `close`, or until nobody holds these pictures.

    Args:
        path: The file.
        count: How many pictures there are.
        size: Their height and width.

    Raises:
        MediaError: there is no such file, or it is another one or cut short; when a picture is asked
            for: it is damaged.
    """

    def __init__(self, path: Path, count: int, size: tuple[int, int]) -> None:
        import av

        self._path, self._count, self._size = path, count, size
        try:
            # Told what it is, FFmpeg does not take it for a playlist of other files.
            self._container = av.open(str(path.absolute()), format=_CONTAINER, metadata_errors="replace")
            self._stream = self._container.streams.best("video")
        except av.FFmpegError as error:
            raise MediaError(f"The frames {path} cannot be read ({error.strerror}).", PREPARE_AGAIN) from error
        codec = self._stream and self._stream.codec_context
        if not codec or (codec.name, codec.pix_fmt, codec.height, codec.width) != (_CODEC, _PIXELS, *size):
            raise MediaError(f"{path} does not hold the avatar's frames.", PREPARE_AGAIN)
        self._stream.thread_type = "SLICE"  # on all cores, yet no frame waits for the next
        self._packets = iter(())
        self._next = -1  # the frame whose packet comes next
        self._last: tuple[int, np.ndarray] | None = None
        self._packet(count - 1)  # is it whole?

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Let go of the file, which Windows does not remove while it is open; no picture can be had any more."""
        self._container.close()

    def __getitem__(self, index: int) -> np.ndarray:
        index = int(index)  # NumPy's own cannot be sought to
        if not 0 <= index < self._count:
            raise IndexError(index)
        if self._last is None or self._last[0] != index:
            self._last = index, self._decode(index)
        return self._last[1]

    def _decode(self, index: int) -> np.ndarray:
        import av

        try:
            decoded = self._packet(index).decode()
        except av.FFmpegError as error:
            raise self._damaged(index) from error
        if len(decoded) != 1 or (decoded[0].height, decoded[0].width) != self._size:
            raise self._damaged(index)
        picture = decoded[0].reformat(format="rgb24").to_ndarray()
        picture.flags.writeable = False  # it is handed out again
        return picture

    def _packet(self, index: int) -> av.Packet:
        import av

        try:
            if index != self._next:
                self._container.seek(index * _TICKS, stream=self._stream)
                self._packets = self._container.demux(self._stream)
            packet = next((p for p in self._packets if p.pts is None or p.pts >= index * _TICKS), None)
        except av.FFmpegError as error:
            raise self._damaged(index) from error
        if packet is None or packet.pts != index * _TICKS:
            raise self._damaged(index)
        self._next = index + 1
        return packet

    def _damaged(self, index: int) -> MediaError:
        self._next = -1
        return MediaError(f"Frame {index} in {self._path} is damaged or missing.", PREPARE_AGAIN)
