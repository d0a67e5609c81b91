"""Turns for sessions on a machine that has something more important to do now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .cache import ModelCache, Source

_LOOK_AGAIN = 0.05  # seconds


class Left(Exception):
    """Whoever waited for its turn does not want it any more."""


class GivingWay:
    """One session's way to the turns of all: a context manager, to be entered for one batch.

    What is more important does not wait for a turn that has begun.

    Args:
        turns: The turns of all sessions.
        busy: Whether there is something more important; then no turn begins.

    Attributes:
        waited: Seconds in which there was.
    """

    def __init__(self, turns: AbstractContextManager, busy: Callable[[], bool]) -> None:
        self._turns, self._busy = turns, busy
        self._left = threading.Event()
        self._taken = False
        self.waited = 0.0

    def leave(self) -> None:
        """This session ends: a turn that it waits for is not waited for, `Left` is raised instead."""
        self._left.set()

    def __enter__(self) -> None:
        while True:
            begun = time.monotonic()
            while self._busy():
                if self._left.wait(_LOOK_AGAIN):
                    raise Left
            self.waited += time.monotonic() - begun
            self._turns.__enter__()
            self._taken = True
            if not self._busy():
                return
            self.__exit__()

    def __exit__(self, *_: object) -> None:
        if self._taken:  # not where it left while it gave way
            self._taken = False
            self._turns.__exit__(None, None, None)

    def give_way(self) -> None:
        """Within a turn: interrupts it for as long as there is something more important.

        Raises:
            Left: this session ends; then the turn is over.
        """
        if self._busy():
            self.__exit__()
            self.__enter__()


class GivingWayCache:
    """A `ModelCache` as one session sees it, which gives way whenever it needs a network.

    Args:
        cache: The cache of all.
        turns: The session's; networks are asked for within one.
    """

    def __init__(self, cache: ModelCache, turns: GivingWay) -> None:
        self._cache, self._turns = cache, turns
        self.residency = cache.residency

    def network(self, source: Source, dtype: torch.dtype, working_bytes: int = 0) -> nn.Module:
        """As `ModelCache.network`; raises `Left` where the session ends meanwhile."""
        self._turns.give_way()
        return self._cache.network(source, dtype, working_bytes)
