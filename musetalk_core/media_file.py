"""Opening media files, and the word for those that are damaged."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import MediaError

if TYPE_CHECKING:  # importing PyAV takes a quarter of a second: it waits for the first file
    from av.container import InputContainer

Source = Path | io.BytesIO
"""A file by its path, or its whole content as a host hands it over."""

CUT_SHORT = 0.5
"""Seconds by which a file may end before the length its header promises. Headers round, and the last
frame of many files has no duration; what is missing beyond this was cut off."""


def name_of(source: Source) -> str:
    """What messages call it."""
    return str(source) if isinstance(source, Path) else "The video"


def open_media(source: Source) -> InputContainer:
    """Opens a file of video or sound; use the result as a context manager.

    Raises:
        MediaError: There is no such file, or it is no media file.
    """
    import av

    if isinstance(source, Path):
        if not source.is_file():
            raise MediaError(f"There is no file {source}.", "Check the path.")
        # Absolute, because FFmpeg reads "take:2.mp4" as an address.
        file = str(source.absolute())
    else:
        # The same bytes with a position of their own: picture and sound are read at the same time.
        file = io.BytesIO(source.getvalue())
    try:
        return av.open(file, metadata_errors="replace")  # many tags are not UTF-8
    except av.FFmpegError as error:
        raise MediaError(
            f"{name_of(source)} cannot be read as video or sound: {error.strerror}.",
            "See whether it plays elsewhere; if it does, convert it to mp4 or wav.",
        ) from error
