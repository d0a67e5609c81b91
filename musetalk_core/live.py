"""A live session: sound in as it comes, the speaking face out in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from . import pipeline
from .avatar import Avatar
from .blender import Blender
from .giving_way import GivingWay
from .live_hearing import Hearing
from .live_speech import Batch, Moment, Speech, Task
from .models import Models
from .timeline import source_frame
from .turns import Turns


class Clock(Protocol):
    """What a session knows of time."""

    def now(self) -> float:
        """Seconds since some moment."""

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        """Give up the condition's lock until it is notified, or for so many seconds at most."""


class RealClock:
    """The machine's own `Clock`."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        changed.wait(seconds)


class Studio:
    """Makes the pictures of an avatar that speaks; knows nothing of time.

    Painting and composing may go on at the same time, each in a thread of its own.

    Args:
        models: The networks.
        avatar: Who speaks.
    """

    def __init__(self, models: Models, avatar: Avatar) -> None:
        self._models, self._avatar = models, avatar
        face = avatar.face
        self._blender = Blender(models, face.frames, face.track, masks=face.masks)

    def source(self, position: int) -> int:
        """The source frame at a position of the endless play; a clip that would end stays on its last frame."""
        shown = self._avatar.shown
        return shown[source_frame(position, len(shown), self._avatar.face.track.length)]

    def listen(self, sound_rate: int) -> Hearing:
        """Begin to hear an utterance."""
        return Hearing(self._models.whisper, sound_rate, self._avatar.fps, self._models.release)

    def rehearse(self, sound_rate: int, between: Callable[..., None]) -> None:
        """Paint a frame for nobody: what is loaded with the first one is then there; ``between`` as in `paint`."""
        hearing = self.listen(sound_rate)
        hearing.push(np.zeros(sound_rate, np.float32))
        hearing.end()
        faces = np.flatnonzero(self._avatar.face.latents.present)[:1]
        self._paint(hearing, range(len(faces)), faces.tolist(), between)

    def paint(self, batch: Batch, between: Callable[..., None]) -> np.ndarray:
        """Painted faces uint8 RGB (frames, 256, 256, 3); ``between`` may stop it between the networks."""
        sources = [self.source(position) for position in batch.positions]
        return self._paint(batch.utterance.hearing, batch.frames, sources, between)

    def _paint(self, hearing: Hearing, frames: range, sources: list[int], between: Callable[..., None]) -> np.ndarray:
        latents, size = self._avatar.face.latents, len(frames)
        predicted = pipeline.predict(self._models, latents, hearing.features, size, frames, between, sources)
        return pipeline.decode(self._models, predicted, size)

    def compose(self, task: Task) -> np.ndarray:
        """The output frame uint8 RGB (H, W, 3)."""
        weight = 0.0 if task.face is None else 1.0
        (picture,) = self._blender.blend([self.source(task.position)], [task.face], [weight])
        return picture


class _InVain(Exception):
    """What is being painted is of no use any more."""


class LiveSession:
    """An avatar that speaks what is pushed, as it comes, and is idle in between.

    One thread hears and paints, one composes, and whoever iterates is the third. What waits between
    them is bounded: 10 s of sound and half a second of pictures.

    An utterance begins with the first sound pushed. It ends with `flush`, or where no more came for 0.3 s and
    what was heard before is about to have been shown. Its first frame needs 132.5 ms of sound; so does each,
    so without `flush` the last three frames of a sound that comes in real time are shown after a gap.

    Where sound or pictures come late, the face is idle until they are there, and goes on where it stopped. The
    source plays on in all that time; where a picture comes later than expected it may jump by as many frames.

    Args:
        models: The networks.
        avatar: Who speaks; used by this session alone until it is closed.
        sound_rate: Hz of the sound.
        turns: Shared by all sessions with these models: one batch at a time. A `GivingWay` is as good.
        clock: What time it is.
    """

    def __init__(
        self,
        models: Models,
        avatar: Avatar,
        sound_rate: int,
        turns: Turns | GivingWay,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or RealClock()
        self._turns, self._sound_rate = turns, sound_rate
        self._studio = Studio(models, avatar)
        self._speech = Speech(lambda: self._studio.listen(sound_rate), avatar.fps, sound_rate, self._clock.now())
        self._changed = threading.Condition()  # guards all below and the speech
        self._closed = False
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"musetalk {work.__name__}", daemon=True)
            for work in (self._paint, self._compose)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> bool:
        """Whether something of what was pushed is still to be spoken."""
        with self._changed:
            return self._speech.waiting

    def push(self, samples: np.ndarray) -> int:
        """Give sound to be spoken; does not wait.

        Args:
            samples: float32 (n,), mono, -1..1.

        Returns:
            How many samples were taken, from the first on; the rest is to be pushed again later.

        Raises:
            InputError: they are not finite numbers.
        """
        with self._changed:
            taken = 0 if self._closed else self._speech.push(samples, self._clock.now())
            self._changed.notify_all()
            return taken

    def flush(self) -> None:
        """The utterance ends here: what waits is spoken to its end, and the next push begins a new one."""
        with self._changed:
            self._speech.flush()
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Cut all that waits: the next moment is idle, and what is being painted is dropped."""
        with self._changed:
            self._speech.interrupt()
            self._changed.notify_all()

    def close(self) -> None:
        """End the iteration and the threads; waits for the network that is computing now. Any thread may call it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Moment]:
        """One moment for each output frame, when it is due, until the session is closed.

        Leaving the loop closes the session. What went wrong while painting or composing is raised here.
        """
        try:
            while (moment := self._next()) is not None:
                yield moment
        finally:
            self.close()

    def _next(self) -> Moment | None:
        with self._changed:
            while not self._closed:
                now = self._clock.now()
                wait = self._speech.due - now
                if wait <= 0:
                    moment = self._speech.take(now)
                    if moment:
                        self._changed.notify_all()
                        return moment
                self._clock.wait(self._changed, wait if wait > 0 else None)
            if self._error:
                raise self._error
            return None

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # whatever it is, the one who looks on must hear of it
            with self._changed:
                self._error = error
                self._closed = True
                self._changed.notify_all()

    def _paint(self) -> None:
        try:
            with self._turns:
                self._require_open()
                self._studio.rehearse(self._sound_rate, self._require_open)
        except _InVain:
            return
        while batch := self._await(self._speech.plan, self._speech.patience):
            begun = self._clock.now() - self._turns.waited

            def between(*_, epoch: int = batch.epoch) -> None:
                self._require_open()
                if self._speech.epoch != epoch:
                    raise _InVain

            try:
                with self._turns:
                    between()
                    faces = self._studio.paint(batch, between)
            except _InVain:
                continue
            with self._changed:
                # Time in which the turns gave way tells nothing of the next batch.
                self._speech.painted(batch, faces, self._clock.now() - self._turns.waited - begun)
                self._changed.notify_all()

    def _require_open(self, *_) -> None:
        if self._closed:
            raise _InVain

    def _compose(self) -> None:
        while task := self._await(lambda now: self._speech.task(), lambda now: None):
            picture = self._studio.compose(task)
            with self._changed:
                self._speech.composed(task, picture)
                self._changed.notify_all()

    def _await(self, find: Callable[[float], Batch | Task | None], patience: Callable[[float], float | None]):
        """What there is to do next; None when the session is closed."""
        with self._changed:
            while not self._closed:
                now = self._clock.now()
                found = find(now)
                if found is not None:
                    return found
                self._clock.wait(self._changed, patience(now))
        return None
