"""Which step of a batch comes next. It knows nothing of how steps are done, or by whom."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, get_args

from .batch_folder import WorkFolder

if TYPE_CHECKING:
    from .batch_manifest import Line

Stage = Literal["begin", "look", "track", "speak", "join"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In order: each stage of a clip begins when the one before is done."""


@dataclass(frozen=True)
class Job:
    """A clip to be made.

    Attributes:
        line: What it is.
        mark: Goes into the output's metadata, see `tasks.fingerprint`.
        shard_seconds: How much of a clip a step takes at most.
    """

    line: Line
    mark: str
    shard_seconds: float

    @property
    def folder(self) -> WorkFolder:
        return WorkFolder(self.line.task.output, self.mark)


@dataclass(frozen=True)
class Step:
    """A part of the work on a clip, which one process does in one go.

    Attributes:
        clip: Which clip of the batch.
        stage: What is done.
        part: Which of the stage's parts.
    """

    clip: int
    stage: Stage
    part: int = 0


@dataclass(frozen=True)
class Made:
    """A finished video.

    Attributes:
        frames: Frames written.
        faceless: Source frames without a face, which pass through untouched.
        held: Source frames without a face that got the last box.
    """

    frames: int
    faceless: int
    held: int


@dataclass(frozen=True)
class Begun:
    """How a clip is made, as far as it matters to who hands out the steps.

    Attributes:
        looks: Source frames of each step that looks at some.
        pieces: Output frames of each step that makes some.
        fps: Frames a second of the output.
        made: The video, where it was short enough to be finished at once.
    """

    looks: list[int]
    pieces: list[int]
    fps: Fraction
    made: Made | None


class Schedule:
    """The steps of a batch, each given out when it may be done.

    Those of clips that are begun come first, in the order of the clips: few clips are in work at a time.

    Args:
        clips: Those that are to be made.
    """

    def __init__(self, clips: Sequence[int]) -> None:
        self._new = deque(clips)
        self._waiting: dict[int, deque[Step]] = {}  # by clip that is begun
        self._out: dict[int, int] = {}  # how many of its steps are being done
        self._begun: dict[int, Begun] = {}

    def next(self) -> Step | None:
        """A step that may be done now, if there is one."""
        for waiting in self._waiting.values():
            if waiting:
                return self._given(waiting.popleft())
        if not self._new:
            return None
        clip = self._new.popleft()
        self._waiting[clip], self._out[clip] = deque(), 0
        return self._given(Step(clip, "begin"))

    @property
    def over(self) -> bool:
        """Whether every clip is finished or given up."""
        return not self._new and not self._waiting

    def _given(self, step: Step) -> Step:
        self._out[step.clip] += 1
        return step

    def in_work(self, clip: int) -> bool:
        """Whether a clip is begun, not finished and not given up."""
        return clip in self._waiting

    def again(self, step: Step) -> None:
        """A step that was given out was not done: it comes before others of its clip."""
        self._out[step.clip] -= 1
        self._waiting[step.clip].appendleft(step)

    def done(self, step: Step, begun: Begun | None = None) -> None:
        """A step is done.

        Args:
            step: The step, of a clip in work.
            begun: What the stage "begin" gave.
        """
        if begun:
            self._begun[step.clip] = begun
        self._out[step.clip] -= 1
        waiting = self._waiting[step.clip]
        stage = step.stage
        while not waiting and not self._out[step.clip]:
            if stage == STAGES[-1] or (stage == "begin" and begun.made):
                self.give_up(step.clip)
                return
            stage = STAGES[STAGES.index(stage) + 1]
            parts = self.parts(Step(step.clip, stage))
            waiting.extend(Step(step.clip, stage, part) for part in range(parts))

    def give_up(self, clip: int) -> None:
        """No more steps of a clip are to be done."""
        del self._waiting[clip], self._out[clip]

    def frames(self, step: Step) -> int:
        """How many frames are worked on in a step of a clip that is begun; 0 where that is not how it is counted."""
        frames = self._frames(step.clip, step.stage)
        return frames[step.part] if frames else 0

    def parts(self, step: Step) -> int:
        """In how many steps the stage of this one is done."""
        if step.stage == "track" and not self._begun[step.clip].looks:
            return 0  # the faces are known
        frames = self._frames(step.clip, step.stage)
        return 1 if frames is None else len(frames)

    def _frames(self, clip: int, stage: Stage) -> list[int] | None:
        """Frames of each step of a stage; None where it is one step of no particular length."""
        if stage == "look":
            return self._begun[clip].looks
        return self._begun[clip].pieces if stage == "speak" else None
