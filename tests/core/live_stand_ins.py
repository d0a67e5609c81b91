"""A live session that needs no networks: it shows a counter and says what it was given."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from musetalk_core.live_protocol import Opened, OpenRequest

SHAPE = (48, 64, 3)
FPS = Fraction(25)
_PACE = 0.001  # seconds a frame: faster than life


@dataclass(frozen=True)
class Moment:
    picture: np.ndarray
    sound: np.ndarray
    speaking: bool


class StandInSession:
    """Takes up to `room` samples and speaks them unless `silent`; remembers what happened to it."""

    def __init__(self, rate: int, room: int) -> None:
        self.rate, self.room_in_all = rate, room
        self.queued = np.zeros(0, np.float32)
        self.taken: list[np.ndarray] = []
        self.events: list[str] = []
        self.frames = 0
        self.held = threading.Event()  # while set, nothing is spoken
        self.breaks: Exception | None = None
        self.shape = SHAPE
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def push(self, samples: np.ndarray) -> int:
        assert samples.dtype == np.float32 and samples.ndim == 1
        with self._lock:
            part = samples[: self.room_in_all - len(self.queued)]
            self.queued = np.concatenate([self.queued, part])
            self.taken.append(part)
            return len(part)

    def flush(self) -> None:
        self.events.append(f"flush after {sum(map(len, self.taken))}")

    def interrupt(self) -> None:
        with self._lock:
            self.queued = self.queued[:0]
            self.events.append("interrupt")

    def close(self) -> None:
        self.events.append("close")
        self._closed.set()

    @property
    def waiting(self) -> bool:
        return len(self.queued) > 0

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def __iter__(self) -> Iterator[Moment]:
        step = int(self.rate / FPS)
        noise = np.random.default_rng(0)
        while not self._closed.is_set():
            if self.breaks:
                raise self.breaks
            with self._lock:
                count = 0 if self.held.is_set() else step
                spoken, self.queued = self.queued[:count], self.queued[count:]
            picture = noise.integers(0, 256, self.shape, dtype=np.uint8)
            yield Moment(picture, np.pad(spoken, (0, step - len(spoken))), bool(len(spoken)))
            self.frames += 1
            time.sleep(_PACE)


class StandInStudio:
    """Opens such sessions, and keeps them to be looked at."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.sessions: list[StandInSession] = []
        self.requests: list[OpenRequest] = []
        self.shape = SHAPE
        self.held = False

    def __call__(self, request: OpenRequest) -> Opened:
        self.requests.append(request)
        session = StandInSession(request.sample_rate, self.room)
        session.shape = self.shape
        if self.held:
            session.held.set()
        self.sessions.append(session)
        return Opened(session, self.shape, FPS, leave=lambda: session.events.append("leave"))
