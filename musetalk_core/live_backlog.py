"""The sound that has come for a live session and that it has no room for yet."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np

from .errors import InputError
from .live_protocol import Session

_FULL_SCALE = 32768  # of 16-bit sound
_JOINED = 1 << 15  # samples: messages are joined up to this length
_END = 1 << 10  # samples that the end of an utterance counts for


class Backlog:
    """Hands sound on to a session in order, as it finds room, for any thread.

    A session takes sound at the rate at which it speaks, but whole answers may come at once; and reading from the
    client must not stop meanwhile, or an interruption would have to wait behind the sound it is to cut.

    Args:
        session: Where the sound goes.
        most: The most samples that may wait; the end of an utterance counts for some, too.

    Attributes:
        busy_at: When `hand_on` last saw something to speak, on `time.monotonic`.
    """

    def __init__(self, session: Session, most: int) -> None:
        self._session, self._most = session, most
        self._parts: deque[np.ndarray | None] = deque()  # int16; None: an utterance ends here
        self._size = 0  # samples
        self._lock = threading.Lock()
        self.busy_at = 0.0

    def add(self, samples: np.ndarray) -> None:
        """Takes what comes next, int16 (n,).

        Raises:
            InputError: more is waiting than may.
        """
        if not len(samples):
            return
        with self._lock:
            last = self._parts[-1] if self._parts else None
            if last is not None and len(last) + len(samples) <= _JOINED:
                self._parts[-1] = np.concatenate((last, samples))
            else:
                self._parts.append(samples)
            self._size += len(samples)
            self._hand_on()
            if self._size > self._most:
                raise InputError(
                    "Sound comes faster than it is spoken, and no more of it can wait.",
                    "Send it not further ahead than the server's limit.",
                )

    def flush(self) -> None:
        """The utterance ends with what has come so far."""
        with self._lock:
            if not self._parts:
                self._session.flush()
            elif self._parts[-1] is not None:
                self._parts.append(None)
                self._size += _END

    def interrupt(self) -> None:
        """Nothing of what has come is spoken any more."""
        with self._lock:
            self._parts.clear()
            self._size = 0
            self._session.interrupt()

    def hand_on(self) -> None:
        """Gives the session what it has room for; to be called while it speaks."""
        with self._lock:
            self._hand_on()
            if self._parts or self._session.waiting:
                self.busy_at = time.monotonic()

    def _hand_on(self) -> None:
        while self._parts:
            part = self._parts[0]
            if part is None:
                self._session.flush()
                self._size -= _END
            else:
                taken = self._session.push(part.astype(np.float32) / _FULL_SCALE)
                self._size -= taken
                if taken < len(part):
                    self._parts[0] = part[taken:]
                    return
            self._parts.popleft()
