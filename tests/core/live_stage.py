"""A live session played through step by step, with pictures that say what they show and a clock that is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from musetalk_core.live_hearing import LOOK_AHEAD
from musetalk_core.live_speech import Batch, Moment, Speech

FPS = Fraction(25)
RATE = 16000


class Ears:
    """A `Hearing` that only knows how much it heard."""

    def __init__(self, number: int, rate: int, fps: Fraction) -> None:
        self.number, self._rate, self._fps = number, rate, fps
        self._heard = 0
        self.ended = False

    def push(self, samples: np.ndarray) -> None:
        assert not self.ended
        self._heard += len(samples)

    def end(self) -> None:
        self.ended = True

    @property
    def ready(self) -> int:
        seconds = Fraction(self._heard, self._rate)
        return math.ceil(seconds * self._fps) if self.ended else max(0, (seconds - LOOK_AHEAD) // (1 / self._fps) + 1)


@dataclass(frozen=True)
class Shown:
    """What was seen and heard in one moment.

    Attributes:
        time: When it was taken, in seconds.
        moment: It.
        utterance: Number of the utterance whose frame is seen; None for the idle face.
        frame: Of the utterance; None for the idle face.
        position: In the endless play of the source.
    """

    time: float
    moment: Moment
    utterance: int | None
    frame: int | None
    position: int


class Stage:
    """Plays a `Speech` as a session does, each thread a step a tick.

    Args:
        cost: Gives the seconds that a batch of a size takes to paint.
        fps, rate: Of the output, and of the sound.
        tick_seconds: How long a step is.

    Attributes:
        pushed: Samples that were taken so far; they are 1, 2, 3, ... so that each is known.
        waiting: Those of them that are still to be heard.
        shown: What was shown.
    """

    def __init__(
        self,
        cost: Callable[[int], float] = lambda size: 0.01,
        fps: Fraction = FPS,
        rate: int = RATE,
        tick_seconds: float = 0.01,
    ) -> None:
        self.fps, self.rate, self._cost, self._tick = fps, rate, cost, tick_seconds
        self.now = 100.0
        self.utterances = 0
        self.speech = Speech(self._listen, fps, rate, self.now)
        self.pushed = 0
        self.waiting = np.zeros(0, np.float32)
        self.shown: list[Shown] = []
        self.batches: list[int] = []
        self._batch: Batch | None = None
        self._seconds = self._done_at = 0.0
        self.looks = True  # whether there is one who takes the moments

    def _listen(self) -> Ears:
        self.utterances += 1
        return Ears(self.utterances - 1, self.rate, self.fps)

    def push(self, seconds: float) -> int:
        samples = np.arange(self.pushed + 1, self.pushed + 1 + int(seconds * self.rate), dtype=np.float32)
        taken = self.speech.push(samples, self.now)
        self.pushed += taken
        self.waiting = np.append(self.waiting, samples[:taken])
        return taken

    def interrupt(self) -> None:
        self.speech.interrupt()
        self.waiting = self.waiting[:0]

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / self._tick)):
            self.tick()

    def tick(self) -> None:
        self.now += self._tick
        if self._batch and self.now >= self._done_at:
            number, frames = self._batch.utterance.hearing.number, self._batch.frames
            faces = np.array([(number, frame) for frame in frames])
            self.speech.painted(self._batch, faces, self._seconds)
            self._batch = None
        if self._batch is None:
            self._batch = self.speech.plan(self.now)
            if self._batch:
                self.batches.append(len(self._batch.frames))
                self._seconds = self._cost(self.batches[-1])
                self._done_at = self.now + self._seconds
        for _ in range(2):  # pictures a tick
            task = self.speech.task()
            if task:
                what = (-1, -1) if task.face is None else task.face
                self.speech.composed(task, np.array([*what, task.position]))
        while self.looks and self.speech.due <= self.now:
            moment = self.speech.take(self.now)
            if moment is None:
                break
            self._look(moment)

    def _look(self, moment: Moment) -> None:
        """Each moment is checked against what was pushed: nothing lost, nothing repeated, nothing out of place."""
        utterance, frame, position = moment.picture.tolist()
        assert moment.speaking == (frame >= 0)
        spoken = moment.sound[moment.sound > 0]
        count = len(spoken)
        assert np.array_equal(spoken, self.waiting[:count])
        self.waiting = self.waiting[count:]
        if moment.speaking:
            assert not moment.sound[count:].any() and count > 0  # silence only at its end
        else:
            assert count == 0
            utterance = frame = None
        self.shown.append(Shown(self.now, moment, utterance, frame, position))

    @property
    def spoken(self) -> list[Shown]:
        return [one for one in self.shown if one.moment.speaking]

    @property
    def drift(self) -> list[int]:
        """After each moment, the samples given less those that the time asks for."""
        given = np.cumsum([len(one.moment.sound) for one in self.shown])
        return [int(sum_) - int((k + 1) * self.rate / self.fps) for k, sum_ in enumerate(given)]
