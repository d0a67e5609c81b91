"""The sound that has come for a live session and that it has no room for yet."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from .errors import InputError
from .live_protocol import Session

_FULL_SCALE = 32768  # of 16-bit sound
_MOST_PARTS = 1000


class Backlog:
    """Hands sound on to a session in order, as it finds room, for any thread.

    A session takes sound at the rate at which it speaks, but whole answers may come at once; and reading from the
    client must not stop meanwhile, or an interruption would have to wait behind the sound it is to cut.

    Args:
        session: Where the sound goes.
        most: The most samples that may wait.
    """

    def __init__(self, session: Session, most: int) -> None:
        self._session, self._most = session, most
        self._parts: deque[np.ndarray | None] = deque()  # int16; None: an utterance ends here
        self._samples = 0
        self._lock = threading.Lock()

    def add(self, samples: np.ndarray) -> None:
        """Takes what comes next, int16 (n,).

        Raises:
            InputError: more is waiting than may.
        """
        with self._lock:
            self._parts.append(samples)
            self._samples += len(samples)
            self._hand_on()
            if self._samples > self._most or len(self._parts) > _MOST_PARTS:
                raise InputError(
                    "Sound comes faster than it is spoken, and no more of it can wait.",
                    "Send it in larger messages, and not further ahead than the server's limit.",
                )

    def flush(self) -> None:
        """The utterance ends with what has come so far."""
        with self._lock:
            self._parts.append(None)
            self._hand_on()

    def interrupt(self) -> None:
        """Nothing of what has come is spoken any more."""
        with self._lock:
            self._parts.clear()
            self._samples = 0
            self._session.interrupt()

    def hand_on(self) -> None:
        """Gives the session what it has room for; to be called while it speaks."""
        with self._lock:
            self._hand_on()

    def _hand_on(self) -> None:
        while self._parts:
            part = self._parts[0]
            if part is None:
                self._session.flush()
            else:
                taken = self._session.push(part.astype(np.float32) / _FULL_SCALE)
                self._samples -= taken
                if taken < len(part):
                    self._parts[0] = part[taken:]
                    return
            self._parts.popleft()
