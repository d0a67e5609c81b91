"""Writing video with sound to mp4, with PyAV."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .errors import MediaError
from .overlap import behind
from .picture_track import WHOLE_FILE, Coding, PictureTrack
from .sound_input import Sound
from .sound_track import sound_track
from .video_look import VideoLook

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    from av.container import OutputContainer

FASTSTART = {"movflags": "+faststart"}
"""Puts the index first, so that playing starts before the file has fully arrived."""

WAITING = 8
"""Frames that may wait to be encoded: a batch, so that the encoder has work while the next is painted."""


class Sink(Protocol):
    """Where bytes go, in order."""

    def write(self, data: bytes) -> int: ...


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    sound: Sound | Path | None,
    comment: str | None = None,
    look: VideoLook | None = None,
    seconds: Fraction | None = None,
    coding: Coding = WHOLE_FILE,
) -> int:
    """Writes an mp4 (H.264) that plays everywhere and starts before it has fully arrived.

    The file appears under its name only when it is complete. Whatever stops the work before -
    including an exception out of `frames` - leaves nothing behind, and a previous file of that
    name as it was. Neither picture nor sound is held whole. Frames are encoded in a thread of their own while the
    next are made.

    Args:
        path: The file to write; its folder must be there.
        frames: uint8 RGB (H, W, 3), all of one size, taken one at a time; at most `WAITING` of them wait.
        fps: Frames a second, kept exactly; numerator and denominator below 2**31.
        sound: Written whole, also where it is longer or shorter than the picture. A `Sound` becomes AAC; a
            rate AAC does not know is resampled to the next higher one it does. The sound of a file
            is taken over as it is where mp4 can hold it, else becomes AAC; it begins
            where `read_sound` begins. None writes no sound.
        comment: Goes into the file's metadata as "comment".
        look: Of the video to look like: colours are coded and tagged as there. Without one, and for stills,
            they are BT.709. H.264 as most players expect it holds no odd sizes: without a look an odd
            last column or row is written twice, with one the colour is written at full size.
        seconds: Ends the sound there; None writes all of it.
        coding: How the picture is encoded.

    Returns:
        The number of frames written.

    Raises:
        MediaError: The file cannot be written or `sound` not be opened (told before the first frame is taken), there
            are no frames, their sizes differ, or the sound is damaged or has more than 8 channels.
    """
    path = Path(path)
    with complete_or_absent(path) as part, closing(path, open_mp4(path, part, FASTSTART)) as container:
        return write_tracks(path, container, frames, fps, sound, comment, look, seconds, coding)


def write_tracks(
    path: Path,
    container: OutputContainer,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    sound: Sound | Path | None,
    comment: str | None,
    look: VideoLook | None,
    seconds: Fraction | None,
    coding: Coding = WHOLE_FILE,
) -> int:
    """Writes picture and sound into an mp4 side by side: a player reads them from one place in the file.

    Args:
        path: What messages call the file.
        container: The mp4, still empty.
        frames, fps, sound, comment, look, seconds: As for `write_video`.
        coding: How the picture is encoded.

    Returns, raises: As `write_video`.
    """
    with ExitStack() as sources:
        speech = None if sound is None else sources.enter_context(sound_track(sound, seconds))
        frames = iter(frames)
        if isinstance(frames, Generator):  # whatever ends the writing ends what makes the frames, too
            sources.callback(frames.close)
        first = next(frames, None)
        if first is None:
            raise MediaError(f"There are no frames to write to {path}.", "Give at least one frame.")
        if comment is not None:
            container.metadata["comment"] = comment
        picture = PictureTrack(container, first.shape, fps, look, coding)
        if speech is not None:
            speech.attach(container)

        def add(pixels: np.ndarray) -> None:
            with errors_named(path):
                picture.add(pixels)
                if speech is not None:
                    speech.add_until(picture.count / fps)

        with behind(add, WAITING) as put:
            for pixels in chain([first], frames):
                put(pixels)
        with errors_named(path):
            picture.finish()
            if speech is not None:
                speech.add_until(math.inf)
                speech.finish()
    return picture.count


def require_place(path: Path) -> None:
    """Tells before any work that a file cannot be written.

    Raises:
        MediaError: Its folder is not there or not writable, or it is itself a folder.
    """
    _begun(path).unlink(missing_ok=True)  # another process may ask at the same moment


def _begun(path: Path, part: Path | None = None) -> Path:
    """A new hidden file beside `path`, or the one named."""
    part = part or path.with_name(f".{path.name}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        part.touch()
    except OSError as error:
        raise MediaError(
            f"{path} cannot be written: {error}.", "Choose a file in a folder that is there and writable."
        ) from error
    return part


@contextmanager
def complete_or_absent(path: Path, part: Path | None = None) -> Iterator[Path]:
    """Yields a hidden file beside `path` that takes its place on success and is deleted otherwise.

    Args:
        path: The file to write.
        part: What to write instead of the hidden file, on the same file system: where two may write at once, one's
            own.
    """
    part = _begun(path, part)
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


def open_mp4(path: Path, file: Path | Sink, options: Mapping[str, str]) -> OutputContainer:
    """An mp4 to be written to `file`; `path` is its name for messages.

    Args:
        options: Of FFmpeg's mp4 writer.
    """
    import av

    with errors_named(path):
        # Absolute, because FFmpeg reads "take:2.mp4" as an address.
        where = str(file.absolute()) if isinstance(file, Path) else file
        return av.open(where, "w", format="mp4", container_options=dict(options))


@contextmanager
def closing(path: Path, container: OutputContainer) -> Iterator[OutputContainer]:
    """Completes the mp4 at the end; `path` is its name for messages."""
    try:
        yield container
    finally:
        with errors_named(path):
            container.close()


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Tells PyAV's and the file system's errors as `MediaError`. Never put around the caller's iterator."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or error  # NumPy gives no code
        raise MediaError(f"{path} cannot be written: {reason}.", "See whether the disk is full.") from error
