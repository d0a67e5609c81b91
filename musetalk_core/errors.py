"""What can go wrong, each error one sentence of cause and one of remedy.

ComfyUI shows ``str(exception)`` in its error dialog and the command line prints it, so the
message alone must be enough to act on.
"""

from __future__ import annotations


class MuseTalkError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        cause: One sentence saying what is wrong, naming the file or the value.
        remedy: One sentence saying what to do about it.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause} {remedy}")
        self.cause = cause
        self.remedy = remedy


class InputError(MuseTalkError):
    """A picture, sound, box or setting that cannot be worked with."""


class NoFaceError(MuseTalkError):
    """No face where one is needed."""


class MediaError(MuseTalkError):
    """A media file that cannot be read or written."""


class WeightsMissingError(MuseTalkError):
    """Weight files that are not on this machine."""


class WeightsInvalidError(MuseTalkError):
    """A weight file that is there but is not what it should be."""


class DownloadError(MuseTalkError):
    """A weight file that could not be fetched."""
