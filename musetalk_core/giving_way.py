"""Turns for sessions on a machine that has something more important to do now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

_LOOK_AGAIN = 0.05  # seconds


class Left(Exception):
    """Whoever waited for its turn does not want it any more."""


class GivingWay:
    """One session's way to the turns of all: a context manager, to be entered for one batch.

    What is more important does not wait for a batch that has begun.

    Args:
        turns: The turns of all sessions.
        busy: Whether there is something more important; then no turn begins.
    """

    def __init__(self, turns: AbstractContextManager, busy: Callable[[], bool]) -> None:
        self._turns, self._busy = turns, busy
        self._left = threading.Event()

    def leave(self) -> None:
        """This session ends: a turn that it waits for is not waited for, `Left` is raised instead."""
        self._left.set()

    def __enter__(self) -> None:
        while True:
            while self._busy():
                if self._left.wait(_LOOK_AGAIN):
                    raise Left
            self._turns.__enter__()
            if not self._busy():
                return
            self._turns.__exit__(None, None, None)

    def __exit__(self, *error: object) -> None:
        self._turns.__exit__(*error)
