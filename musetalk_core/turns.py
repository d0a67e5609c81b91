"""One batch at a time over all that speak at once, each in its turn."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A fair lock, to be held (``with turns:``) for one batch: who came first is first served.

    An ordinary lock may be taken again and again by the thread that just gave it back.

    Attributes:
        waited: Seconds in which whoever has these turns gave way to something else; here none.
    """

    waited = 0.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()

    def __exit__(self, *_) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # handed over: nobody can come in between
            else:
                self._taken = False
