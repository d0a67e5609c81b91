"""What VideoHelperSuite's Video Combine gives on: (whether it is in the output folder, [paths]).

The paths are a picture of the first frame, the video, and with a sound connected the video again with it.
"""

from __future__ import annotations

from pathlib import Path

from .errors import InputError
from .stills import IMAGE_SUFFIXES

Filenames = tuple[bool, list[str]]


def last_file(filenames: Filenames) -> str:
    """The path of the last file, whatever it is.

    Raises:
        InputError: there are none.
    """
    _, paths = filenames
    if not paths:
        raise InputError("Video Combine saved no file.", "Connect images to it, and finish the batch it works on.")
    return paths[-1]


def last_video(filenames: Filenames) -> str:
    """The path of the last video: the one with sound, if there is one.

    Raises:
        InputError: there is none.
    """
    last = last_file(filenames)
    videos = [path for path in filenames[1] if Path(path).suffix.lower() not in IMAGE_SUFFIXES]
    if not videos:
        raise InputError(f"{last} is no video.", "Choose a video format in Video Combine, such as video/h264-mp4.")
    return videos[-1]
