"""How much of a batch is done, for a bar with an estimate, while not every clip's length is known yet."""

from __future__ import annotations

from .batch_steps import Begun, Step
from .job import Stages
from .progress import Progress

_WEIGHTS = {"look": 1, "speak": 8}
"""About how long a frame takes in these stages, next to each other; the others take next to nothing."""


class BatchProgress:
    """Adds up what is done, in frames weighed by how long they take.

    Args:
        clips: How many are to be made.
        show: Told what is done and what there is in all. Clips that are not begun count as an average one.
    """

    def __init__(self, clips: int, show: Progress) -> None:
        self._clips, self._show = clips, show
        self._totals: dict[int, float] = {}
        self._done: dict[int, dict[tuple[str, int], float]] = {}  # by clip; by stage and part

    def begun(self, clip: int, begun: Begun) -> None:
        """It is known how much there is to do for a clip."""
        sizes = {"look": begun.looks, "speak": begun.pieces}
        self._totals[clip] = sum(_WEIGHTS[stage] * sum(frames) for stage, frames in sizes.items())
        self._tell()

    def within(self, step: Step) -> Stages:
        """What a step that goes on in this process reports to."""

        def stage(name: str) -> Progress:
            def report(done: int, total: int, preview=None) -> None:
                if step.stage == "begin" and name in _WEIGHTS:  # a short clip, which is finished before it is begun
                    self._totals[step.clip] = total * sum(_WEIGHTS.values())
                self.add(step.clip, name, step.part, done)

            return report

        return stage

    def add(self, clip: int, stage: str, part: int, frames: int) -> None:
        """So many frames of a stage's part are done."""
        self._done.setdefault(clip, {})[stage, part] = _WEIGHTS.get(stage, 0) * frames
        self._tell()

    def over(self, clip: int) -> None:
        """Nothing more is to be done for a clip, whether it is finished or failed."""
        if clip in self._totals:
            self._done[clip] = {("all", 0): self._totals[clip]}
        else:  # it failed before its length was known
            self._clips -= 1
        self._tell()

    def _tell(self) -> None:
        known = sum(self._totals.values())
        average = known / max(1, len(self._totals))
        total = known + average * (self._clips - len(self._totals))
        done = sum(sum(parts.values()) for parts in self._done.values())
        self._show(round(done), round(total), None)
