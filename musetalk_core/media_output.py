"""Writing video with sound to mp4, with PyAV."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import MediaError
from .media_input import Sound

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    from av.container import OutputContainer

LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
"""Which speakers 1, 2, ... 8 channels are for."""


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    sound: Sound | None,
    comment: str | None = None,
) -> int:
    """Writes an mp4 (H.264 and AAC) that plays everywhere and starts before it has fully arrived.

    The file appears under its name only when it is complete. Whatever stops the work before -
    including an exception out of `frames` - leaves nothing behind, and a previous file of that
    name as it was.

    Args:
        path: The file to write; its folder must be there.
        frames: uint8 RGB (H, W, 3), all of one size, taken one at a time. H.264 as players
            expect it holds no odd sizes: an odd last column or row is written twice.
        fps: Frames a second, kept exactly; numerator and denominator below 2**31.
        sound: Written whole, also where it is longer or shorter than the picture. A rate AAC does
            not know is resampled to the next higher one it does. None writes no sound.
        comment: Goes into the file's metadata as "comment".

    Returns:
        The number of frames written.

    Raises:
        MediaError: The file cannot be written (told before the first frame is taken), there are no
            frames, their sizes differ, or the sound has more than 8 channels.
    """
    path = Path(path)
    if sound is not None and len(sound.waveform) > len(LAYOUTS):
        raise MediaError(
            f"The sound has {len(sound.waveform)} channels and mp4 holds {len(LAYOUTS)}.",
            "Mix it down to stereo first.",
        )
    with _complete_or_absent(path) as part, _opened(path, part) as container:
        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            raise MediaError(f"There are no frames to write to {path}.", "Give at least one frame.")
        if comment is not None:
            container.metadata["comment"] = comment
        picture = _PictureTrack(container, first.shape, fps)
        speech = None if sound is None else _SoundTrack(container, sound)
        # Picture and sound advance together: a player reads them from one place in the file.
        for pixels in chain([first], frames):
            with _errors_named(path):
                picture.add(pixels)
                if speech is not None:
                    speech.add_until(picture.count / fps)
        with _errors_named(path):
            picture.finish()
            if speech is not None:
                speech.finish()
    return picture.count


@contextmanager
def _complete_or_absent(path: Path) -> Iterator[Path]:
    """Yields a hidden file beside `path` that takes its place on success and is deleted otherwise."""
    part = path.with_name(f".{path.name}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        part.touch()
    except OSError as error:
        raise MediaError(
            f"{path} cannot be written: {error}.", "Choose a file in a folder that is there and writable."
        ) from error
    try:
        yield part
    except BaseException:  # also Ctrl-C
        part.unlink(missing_ok=True)
        raise
    try:
        os.replace(part, path)
    except OSError as error:  # on Windows, a file that a player has open
        kept = next(name for i in count(2) if not (name := path.with_stem(f"{path.stem} ({i})")).exists())
        os.replace(part, kept)
        raise MediaError(
            f"{path} cannot be replaced: {error.strerror}.", f"The finished video is {kept}; rename it."
        ) from error


@contextmanager
def _opened(path: Path, part: Path) -> Iterator[OutputContainer]:
    """Yields the mp4 being written to `part`; `path` is its final name, for messages."""
    import av

    with _errors_named(path):
        # Absolute, because FFmpeg reads "take:2.mp4" as an address. Faststart puts the index first.
        container = av.open(str(part.absolute()), "w", format="mp4", container_options={"movflags": "+faststart"})
    try:
        yield container
    finally:
        with _errors_named(path):
            container.close()


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Tells PyAV's errors as `MediaError`. Never put around the caller's iterator."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise MediaError(f"{path} cannot be written: {error.strerror}.", "See whether the disk is full.") from error


class _PictureTrack:
    """The H.264 track of an mp4 being written.

    Args:
        container: The mp4.
        shape: (H, W, 3) of every frame.
        fps: Frames a second.
    """

    def __init__(self, container: OutputContainer, shape: tuple[int, ...], fps: Fraction) -> None:
        self.container, self.shape, self.fps = container, shape, fps
        self.count = 0  # frames so far
        self.stream = container.add_stream("libx264", rate=fps, options={"crf": "18"})
        self.stream.pix_fmt = "yuv420p"
        self.stream.height, self.stream.width = (side + side % 2 for side in shape[:2])
        # 1 is BT.709 in each of H.264's colour tables, and limited range.
        codec = self.stream.codec_context
        codec.color_primaries = codec.color_trc = codec.colorspace = codec.color_range = 1

    def add(self, pixels: np.ndarray) -> None:
        """Writes one frame, uint8 RGB (H, W, 3)."""
        import av
        from av.video.reformatter import ColorRange, Colorspace

        if pixels.shape != self.shape:
            raise MediaError(
                f"Frame {self.count} has shape {pixels.shape}, the frames before it {self.shape}.",
                "Bring all frames to one size.",
            )
        height, width, _ = self.shape
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(even, "rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = self.count, 1 / self.fps
        self.container.mux(self.stream.encode(frame))
        self.count += 1

    def finish(self) -> None:
        """Writes the frames the encoder still holds."""
        self.container.mux(self.stream.encode(None))


class _SoundTrack:
    """The AAC track of an mp4 being written.

    Args:
        container: The mp4.
        sound: What to write, at most 8 channels.
    """

    def __init__(self, container: OutputContainer, sound: Sound) -> None:
        import av

        self.container, self.sound = container, sound
        self.count = 0  # samples so far
        self.layout = LAYOUTS[len(sound.waveform) - 1]
        known = sorted(av.codec.Codec("aac", "w").audio_rates)
        rate = next((rate for rate in known if rate >= sound.rate), known[-1])
        self.stream = container.add_stream("aac", rate=rate, layout=self.layout)

    def add_until(self, seconds: Fraction) -> None:
        """Writes the samples up to `seconds` that are not yet written."""
        import av

        block = self.sound.waveform[:, self.count : int(seconds * self.sound.rate)]
        if not block.size:
            return
        # Interleaved on purpose: PyAV crashes on the planes of sound with eight channels or more.
        interleaved = np.ascontiguousarray(block.T, dtype=np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, "flt", self.layout)
        frame.pts, frame.sample_rate = self.count, self.sound.rate
        frame.time_base = Fraction(1, self.sound.rate)
        # The encoder resamples to its own rate and cuts into its own blocks.
        self.container.mux(self.stream.encode(frame))
        self.count += block.shape[1]

    def finish(self) -> None:
        """Writes the sound that outlasts the picture and what the encoder still holds."""
        self.add_until(self.sound.duration)
        self.container.mux(self.stream.encode(None))
