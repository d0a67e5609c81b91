"""Reading pictures, video and sound from files, with PyAV and Pillow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import MediaError

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    import av
    from PIL import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Files with these endings are stills; every other file is opened as video."""

CUT_SHORT = 0.5
"""Seconds by which a file may end before the length its header promises. Headers round, and the last
frame of many files has no duration; what is missing beyond this was cut off."""


@dataclass(frozen=True)
class Sound:
    """A piece of sound.

    Attributes:
        waveform: float32 (channels, samples), full scale -1..1; channels in FFmpeg's order
            (5.1 is front left, front right, centre, low frequency, back left, back right). Lossy
            formats may decode to peaks slightly beyond full scale.
        rate: Samples a second, Hz.
    """

    waveform: np.ndarray
    rate: int

    @property
    def duration(self) -> Fraction:
        """Length in seconds, exact."""
        return Fraction(self.waveform.shape[1], self.rate)


@dataclass(frozen=True)
class Clip:
    """Pictures in order, all of one size.

    Attributes:
        frames: uint8 RGB (H, W, 3) each.
        fps: Frames a second, exact; None for stills and where the file does not say.
    """

    frames: Sequence[np.ndarray]
    fps: Fraction | None


def read_sound(path: str | Path) -> Sound:
    """Reads the sound of any file PyAV opens: wav, mp3, m4a, flac, ogg, the sound track of a video.

    Args:
        path: The file. Of several sound tracks the one FFmpeg would play is taken.

    Returns:
        The whole sound at its own rate and with its own channels.

    Raises:
        MediaError: There is no such file, it holds no sound, or it is damaged.
    """
    path = Path(path)
    with _opened(path) as container:
        stream = container.streams.best("audio")
        if stream is None:
            raise MediaError(f"{path} holds no sound.", "Choose a file that does.")
        frames = list(_sound_frames(path, container, stream))
    if not frames:
        raise MediaError(f"{path} holds no sound that can be read.", "Choose a file with sound in it.")
    samples = [frame.to_ndarray().reshape(-1, frame.layout.nb_channels) for frame in frames]
    return Sound(np.ascontiguousarray(np.concatenate(samples).T), frames[0].sample_rate)


def read_clip(path: str | Path, max_frames: int | None = None) -> Clip:
    """Reads a video, a still image, or a folder of still images, upright and in RGB.

    Transparency is dropped. In a folder the images are taken in the order of the numbers in their
    names (2.png before 10.png); hidden files and files that are not images are passed over.

    Args:
        path: The file or folder.
        max_frames: Stop reading after this many frames; None reads all.

    Returns:
        The frames; at least one.

    Raises:
        MediaError: Nothing there, no picture in it, pictures of different sizes, or a damaged file:
            also one that breaks off before the length it promises.
    """
    path = Path(path)
    if path.is_dir():
        return Clip(_folder_frames(path, max_frames), None)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Clip([_image(path)], None)
    return _video(path, max_frames)


def frame_rate(path: str | Path) -> Fraction | None:
    """The frame rate of a video, without reading its frames; None for images and folders.

    Raises:
        MediaError: The file cannot be read as video.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return None
    with _opened(path) as container:
        return _rate(path, container)[1]


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    import av

    if not path.is_file():
        raise MediaError(f"There is no file {path}.", "Check the path.")
    try:
        # Absolute, because FFmpeg reads "take:2.mp4" as an address. Many tags are not UTF-8.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except av.FFmpegError as error:
        raise MediaError(
            f"{path} cannot be read as video or sound: {error.strerror}.",
            "See whether it plays elsewhere; if it does, convert it to mp4 or wav.",
        ) from error
    with container:
        yield container


def _sound_frames(
    path: Path, container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[av.AudioFrame]:
    """Yields the sound in interleaved float, and raises where it is damaged or cut off."""
    import av

    # Interleaved on purpose: PyAV crashes on the planes of sound with eight channels or more.
    interleave = av.AudioResampler(format="flt")
    seconds = 0.0
    damage: av.FFmpegError | None = None
    try:
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.error.InvalidDataError as error:
                damage = error  # no matter yet: many mp3s end in tags and padding
                continue
            if decoded and damage:
                raise damage
            for frame in decoded:
                yield from interleave.resample(frame)
                seconds += frame.samples / frame.sample_rate
        if damage and seconds < float((stream.duration or 0) * stream.time_base) - CUT_SHORT:
            raise damage
    except (av.FFmpegError, ValueError) as error:  # ValueError: rate or channels change midway
        raise MediaError(
            f"The sound of {path} cannot be read beyond {seconds:.2f} s: {error}.",
            "The file is damaged: export or download it again.",
        ) from error


def _video(path: Path, max_frames: int | None) -> Clip:
    with _opened(path) as container:
        stream, rate = _rate(path, container)
        stream.thread_type = "AUTO"
        frames = list(islice(_video_frames(path, container, stream), max_frames))
        if not frames:
            raise MediaError(f"{path} holds no frame that can be read.", "Export or download it again.")
        _require_one_size(frames, lambda i: f"Frame {i} of {path}")
        return Clip(frames, rate)


def _rate(path: Path, container: av.container.InputContainer) -> tuple[av.VideoStream, Fraction | None]:
    """The stream of pictures, and its frame rate where the file says."""
    stream = container.streams.best("video")
    if stream is None:
        raise MediaError(f"{path} holds no picture.", "Choose a video or an image.")
    return stream, stream.average_rate or stream.guessed_rate


def _video_frames(path: Path, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[np.ndarray]:
    """Yields the frames, and raises at the first one that is damaged or missing."""
    import av

    count = 0
    end = 0.0  # of the longest stream, seconds
    try:
        for packet in container.demux():
            if packet.is_corrupt:
                raise _broken(path, count, "the data is cut off")
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != stream.index:
                continue
            for frame in packet.decode():
                yield _pixels(frame)
                count += 1
    except av.FFmpegError as error:
        raise _broken(path, count, error.strerror) from error
    # A file cut between two packets reads without any error: only its header knows of the rest.
    promised = (container.duration or 0) / av.time_base
    if end < promised - CUT_SHORT:
        raise _broken(path, count, f"{end:.2f} s of {promised:.2f} s are there")


def _broken(path: Path, frame: int, reason: str) -> MediaError:
    return MediaError(
        f"{path} breaks off at frame {frame}: {reason}.",
        "The file is damaged: export or download it again.",
    )


def _pixels(frame: av.VideoFrame) -> np.ndarray:
    """Converts a decoded frame to uint8 RGB (H, W, 3), by its own colour tags, upright."""
    from av.video.reformatter import Colorspace

    # Naming both ends makes older PyAV heed the frame's matrix and range; RGB itself has no matrix.
    rgb = frame.reformat(
        format="rgb24", dst_colorspace=Colorspace.DEFAULT, src_color_range=frame.color_range
    ).to_ndarray()
    # Phones film sideways and say so. Rotation is counterclockwise degrees, as in np.rot90.
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)))


def _folder_frames(folder: Path, max_frames: int | None) -> list[np.ndarray]:
    paths = sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")),
        key=lambda p: _natural_key(p.name),
    )
    if not paths:
        raise MediaError(f"The folder {folder} holds no images.", "Choose a folder of png or jpg files.")
    frames = [_image(path) for path in paths[:max_frames]]
    _require_one_size(frames, lambda i: str(paths[i]))
    return frames


def _natural_key(name: str) -> list[str | int]:
    # Split at the numbers: text and numbers alternate, so that like is compared with like.
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(re.split(r"(\d+)", name))]


def _require_one_size(frames: Sequence[np.ndarray], name: Callable[[int], str]) -> None:
    height, width, _ = frames[0].shape
    for i, frame in enumerate(frames):
        if frame.shape != frames[0].shape:
            raise MediaError(
                f"{name(i)} is {frame.shape[1]} x {frame.shape[0]}, those before it {width} x {height}.",
                "Bring all pictures to one size.",
            )


def _image(path: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    if not path.is_file():
        raise MediaError(f"There is no file {path}.", "Check the path.")
    try:
        with Image.open(path) as image:
            return np.array(_eight_bit(ImageOps.exif_transpose(image)).convert("RGB"))
    # What Pillow raises on damaged files, depending on the format.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(f"{path} cannot be read as an image: {error}.", "Save it again as png or jpg.") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey down to 8 bits: Pillow's own conversion clips it to white."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    grey = np.clip(np.asarray(image), 0, 0xFFFF) // 257  # 0..65535 -> 0..255
    return Image.fromarray(grey.astype(np.uint8))
