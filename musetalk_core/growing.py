"""Videos that are watched while they are being made: which there are, and under which names they are asked for."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

REMEMBERED = 16
"""How many videos that have ended are kept."""


class Stream:
    """One such video. Made by `Growing.new`; one thread writes, others read.

    Attributes:
        id: What it is asked for by; nobody can guess it.
        growing: The file its fragments are written to. It is deleted when the video has ended: whoever has it open
            reads on.
        ended: Whether nothing more comes into `growing`.
        file: The finished video; None before it is finished, and where it never will be.
    """

    def __init__(self, growing: Path) -> None:
        self.id = secrets.token_urlsafe(24)
        self.growing = growing
        self.ended = False
        self.file: Path | None = None

    def finished(self, path: Path) -> None:
        """It is complete, and `path` holds it."""
        self.file = path
        self._end()

    def failed(self) -> None:
        """It broke off."""
        self._end()

    def _end(self) -> None:
        self.ended = True
        self.clear()

    def clear(self) -> None:
        """Deletes what grew; on Windows not while somebody still reads it."""
        with suppress(PermissionError):
            self.growing.unlink(missing_ok=True)

    @property
    def begun(self) -> bool:
        """Whether there is something to watch."""
        try:
            return self.file is not None or self.growing.stat().st_size > 0
        except FileNotFoundError:  # it ended in this moment
            return False

    @property
    def gone(self) -> bool:
        """Whether there is nothing to show to those who ask now."""
        return self.ended and not (self.file and self.file.is_file())


class Growing:
    """All such videos of this process, for any thread.

    Args:
        new_file: Gives a path where no file is yet.
        remembered: The most that have ended which are kept; the oldest are forgotten first.
    """

    def __init__(self, new_file: Callable[[], Path], remembered: int = REMEMBERED) -> None:
        self._new_file, self._remembered = new_file, remembered
        self._streams: dict[str, Stream] = {}  # oldest first
        self._lock = threading.Lock()

    def new(self) -> Stream:
        """Begins a video; its growing file is there, and empty."""
        stream = Stream(self._new_file())
        stream.growing.touch()
        with self._lock:
            ended = [each for each in self._streams.values() if each.ended]
            for each in ended:
                each.clear()
            for each in ended[: max(0, len(ended) - self._remembered)]:
                del self._streams[each.id]
            self._streams[stream.id] = stream
        return stream

    def find(self, id: str) -> Stream | None:
        """The video of this name; None where there is none."""
        with self._lock:
            return self._streams.get(id)
