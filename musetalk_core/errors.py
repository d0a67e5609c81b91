"""What can go wrong, each error one sentence of cause and one of remedy.

ComfyUI shows ``str(exception)`` in its error dialog and the command line prints it, so the
message alone must be enough to act on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

PREPARE_AGAIN = "Prepare the avatar again."
"""The remedy for whatever is wrong with an avatar's files."""


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

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # so that it reaches other processes
        return type(self), (self.cause, self.remedy)


class InputError(MuseTalkError):
    """A picture, sound, box or setting that cannot be worked with."""


def pick(table: Mapping[str, Value], name: str, what: str) -> Value:
    """Look a setting up by its name; saved graphs and the API can ask for anything.

    Args:
        table: Names to what they stand for.
        name: The name asked for.
        what: What is being chosen, for the error.

    Raises:
        InputError: the table has no such name.
    """
    if name not in table:
        raise InputError(f"There is no {what} {name!r}.", f"Choose one of: {', '.join(table)}.")
    return table[name]


class NoRoomError(MuseTalkError):
    """Memory that is too small for the least that is computed at once."""


class NoFaceError(MuseTalkError):
    """No face where one is needed."""


class MediaError(MuseTalkError):
    """A media file that cannot be read or written."""


class WorkerError(MuseTalkError):
    """A process on this or another machine that did not do its work."""


class WeightsMissingError(MuseTalkError):
    """Weight files that are not on this machine."""


class WeightsInvalidError(MuseTalkError):
    """A weight file that is there but is not what it should be."""


class DownloadError(MuseTalkError):
    """A weight file that could not be fetched."""
