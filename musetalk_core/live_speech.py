"""What a live session is in the middle of: the sound that waits, the frames that are made of it, the time.

No threads and no clock of its own: each step is a call, and the time is given.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from .errors import InputError
from .live_hearing import Hearing
from .live_pace import LARGEST, Outlook, Pace

ROOM = 10  # s of sound that may wait
AHEAD = Fraction(1, 2)  # s of pictures that are painted before they are due
PAUSE = 0.3  # s without new sound after which an utterance may be over
SLIP = 1.0  # s by which the one who looks on may be late before the time waits for them


@dataclass(frozen=True)
class Moment:
    """One output frame and its sound.

    Attributes:
        picture: uint8 RGB (H, W, 3).
        sound: float32 (n,), what is heard while it is shown.
        speaking: Whether the face speaks the sound; else it is idle, in silence.
    """

    picture: np.ndarray
    sound: np.ndarray
    speaking: bool


@dataclass(eq=False)
class _Utterance:
    """Sound between two pauses; its counts are of samples and frames since it began."""

    listen: Callable[[], Hearing]
    unheard: list[np.ndarray] = field(default_factory=list)
    sound: deque[np.ndarray] = field(default_factory=deque)  # that was not shown yet
    pushed: int = 0
    ended: bool = False
    planned: int = 0  # frames given to be painted
    shown: int = 0  # frames

    @cached_property
    def hearing(self) -> Hearing:
        """Made by whom it is asked for first, which is never the one who pushes: it takes time."""
        return self.listen()

    def push(self, samples: np.ndarray) -> None:
        self.unheard.append(samples)
        self.sound.append(samples)
        self.pushed += len(samples)

    def hear(self) -> None:
        """Let what was pushed be heard: one call for all of it."""
        if self.unheard:
            self.hearing.push(np.concatenate(self.unheard))
            self.unheard = []

    def take(self, count: int) -> np.ndarray:
        """The next samples; fewer at the end."""
        out = []
        while count > 0 and self.sound:
            part = self.sound.popleft()
            if len(part) > count:
                self.sound.appendleft(part[count:])
            out.append(part[:count])
            count -= len(out[-1])
        return np.concatenate(out)


@dataclass(frozen=True)
class Batch:
    """Frames to be painted together.

    Attributes:
        epoch: Counts interruptions; a batch of an earlier one is in vain.
        utterance: Whose frames.
        frames: Which of them.
        positions: Where in the endless play of the source each will be shown.
    """

    epoch: int
    utterance: _Utterance
    frames: range
    positions: range


@dataclass(frozen=True)
class Task:
    """A picture to be composed.

    Attributes:
        epoch: As in `Batch`.
        utterance: Whose; None for the idle face.
        position: In the endless play of the source.
        face: uint8 RGB (h, w, 3), painted; None for the idle face.
    """

    epoch: int
    utterance: _Utterance | None
    position: int
    face: np.ndarray | None


class Speech:
    """The state of a session.

    Sound is pushed, planned in batches, painted, composed and taken with its picture, each step by whom it
    may. ``push``, ``plan`` and ``take`` need not wait for one another: what cannot be yet is None or 0.

    Args:
        listen: Begins to hear an utterance.
        fps: Frames a second.
        sound_rate: Hz.
        now: Seconds on the clock, the moment from which frames are due.

    Attributes:
        epoch: How often it was interrupted.
    """

    def __init__(self, listen: Callable[[], Hearing], fps: Fraction, sound_rate: int, now: float) -> None:
        self._listen, self._fps, self._rate = listen, fps, sound_rate
        self._pace = Pace(fps)
        self._frame = float(1 / fps)  # s
        self._begin = now  # when frame 0 was due
        self._moments = self._given = 0  # frames and samples that were taken
        self._limit = max(2, math.ceil(AHEAD * fps))
        self._pushed_at = now
        self._position = 0  # of the frame to be shown next, if it is idle
        self.epoch = 0
        self._idle: tuple[int, np.ndarray] | None = None  # position and picture
        self._clear()

    def _clear(self) -> None:
        self._utterances: deque[_Utterance] = deque()
        self._painted: deque[Task] = deque()
        self._ready: deque[tuple[Task, np.ndarray]] = deque()
        self._promised = 0  # frames that are planned and not shown
        self._reserved = 0  # the position after the last of them

    # Sound

    @property
    def waiting(self) -> bool:
        """Whether there is sound that was not shown yet, or an utterance that was not ended."""
        return bool(self._utterances)

    def _room(self) -> int:
        """Samples that would be taken now."""
        return max(0, ROOM * self._rate - sum(map(self._left, self._utterances)))

    def _left(self, utterance: _Utterance) -> int:
        """Samples of sound to be shown, with the silence that fills the last frame."""
        whole = self._sample(self._frames(utterance)) if utterance.ended else 0
        return max(whole, utterance.pushed) - self._sample(utterance.shown)

    def _sample(self, frame: int) -> int:
        """The sample with which a frame begins."""
        return int(frame * self._rate / self._fps)

    def _frames(self, utterance: _Utterance) -> int:
        """Frames that its sound lasts, with the one that it has begun."""
        return math.ceil(utterance.pushed * self._fps / self._rate)

    def push(self, samples: np.ndarray, now: float) -> int:
        """Take sound, as much as there is room for.

        Args:
            samples: float32 (n,), -1..1.
            now: Seconds.

        Returns:
            How many samples were taken.

        Raises:
            InputError: they are not finite numbers.
        """
        if not np.isfinite(samples).all():
            raise InputError(
                "The sound holds samples that are not finite numbers (NaN or infinity).",
                "Check what makes it; a division by its zero peak is the usual cause.",
            )
        samples = np.array(samples[: self._room()], np.float32)  # a copy: the caller's buffer may be used again
        if len(samples):
            if not self._utterances or self._utterances[-1].ended:
                self._utterances.append(_Utterance(self._listen))
            self._utterances[-1].push(samples)
            self._pushed_at = now
        return len(samples)

    def flush(self) -> None:
        """The utterance ends here."""
        if self._utterances:
            self._end(self._utterances[-1])

    def _end(self, utterance: _Utterance) -> None:
        utterance.ended = True
        if utterance.shown == self._frames(utterance):
            self._utterances.remove(utterance)

    def interrupt(self) -> None:
        """Drop all that waits or is being made."""
        self.epoch += 1
        self._clear()

    # Pictures

    @property
    def due(self) -> float:
        """Seconds at which the next moment is due."""
        return self._begin + float(self._moments / self._fps)

    def patience(self, now: float) -> float | None:
        """Seconds after which `plan` may have another answer if nothing happens; None for never."""
        wait = self._pushed_at + PAUSE - now
        return wait if wait > 0 and self._utterances and not self._utterances[-1].ended else None

    def plan(self, now: float) -> Batch | None:
        """Frames to paint now. What was pushed is heard here."""
        for utterance in list(self._utterances):
            known = self._known(utterance)
            if known == utterance.planned and not utterance.ended and self._paused(now):
                self._end(utterance)
                known = self._known(utterance)
            if known > utterance.planned:
                return self._batch(utterance, known, now)
            if not utterance.ended:
                break  # the last one
        return None

    def _paused(self, now: float) -> bool:
        """Whether no sound came for long enough, and the last frames have to be painted now to be on time."""
        return now - self._pushed_at >= PAUSE and self._spare(now) <= self._pace.seconds(LARGEST) + self._frame

    def _spare(self, now: float) -> float:
        """Seconds until the next frame to be painted is due, less one frame's time for composing it."""
        return self.due + (self._promised - 1) * self._frame - now if self._promised else 0.0

    def _known(self, utterance: _Utterance) -> int:
        """Frames of which all is known to paint and to show them."""
        utterance.hear()
        if utterance.ended:
            if not utterance.hearing.ended:
                utterance.hearing.end()
            return utterance.hearing.ready
        return min(utterance.hearing.ready, int(utterance.pushed * self._fps / self._rate))

    def _batch(self, utterance: _Utterance, known: int, now: float) -> Batch | None:
        space = self._limit - self._promised
        if space <= 0:
            return None
        first = utterance.planned
        outlook = Outlook(known - first, space, not utterance.ended, self._spare(now), first == 0)
        size = self._pace.choose(outlook)
        if size == 0:
            return None
        if not self._promised:  # those shown meanwhile are idle
            late = now + self._pace.seconds(size) - self.due
            self._reserved = self._position + max(0, math.ceil(late / self._frame))
        frames, positions = range(first, first + size), range(self._reserved, self._reserved + size)
        utterance.planned += size
        self._promised += size
        self._reserved += size
        return Batch(self.epoch, utterance, frames, positions)

    def painted(self, batch: Batch, faces: np.ndarray, seconds: float) -> None:
        """A batch was painted, uint8 RGB (frames, h, w, 3), in so many seconds."""
        self._pace.measured(len(batch.frames), seconds)
        if batch.epoch == self.epoch:
            for position, face in zip(batch.positions, faces, strict=True):
                self._painted.append(Task(batch.epoch, batch.utterance, position, face))

    def task(self) -> Task | None:
        """A picture to be composed now: the next that speaks, else the idle one where nothing else is ready."""
        if self._painted:
            return self._painted.popleft()
        if self._ready or (self._idle and self._idle[0] == self._position):
            return None
        return Task(self.epoch, None, self._position, None)

    def composed(self, task: Task, picture: np.ndarray) -> None:
        """A picture was composed, uint8 RGB (H, W, 3)."""
        if task.utterance is None:
            self._idle = task.position, picture
        elif task.epoch == self.epoch:
            self._ready.append((task, picture))

    def take(self, now: float) -> Moment | None:
        """The next moment, which is due; None while there is no picture for it."""
        end = self._sample(self._moments + 1)
        speaking = bool(self._ready)
        if speaking:
            task, picture = self._ready.popleft()
            utterance = task.utterance
            first, stop = map(self._sample, (utterance.shown, utterance.shown + 1))
            utterance.shown += 1
            self._promised -= 1
            sound = utterance.take(stop - first)
            if utterance.ended and utterance.shown == self._frames(utterance):
                # With as much silence as the time asks for, so that utterances without pauses do not add up
                # fractions of samples.
                silence = np.zeros(max(0, end - self._given - len(sound)), np.float32)
                sound = np.concatenate((sound, silence))
                self._utterances.popleft()
            self._position = task.position
        elif self._idle and self._idle[0] == self._position:
            _, picture = self._idle
            self._idle = None
            sound = np.zeros(end - self._given, np.float32)
        else:
            return None
        if self._moments == 0 or now - self.due > SLIP:
            self._begin = now - float(self._moments / self._fps)
        self._position += 1
        self._moments += 1
        self._given += len(sound)
        return Moment(picture, sound, speaking)
