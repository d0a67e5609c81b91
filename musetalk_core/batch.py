"""Many clips: what is to be done, what has become of it, and what is told about it. Engines do the steps."""

from __future__ import annotations

import logging
import sys

from .bars import bar
from .batch_progress import BatchProgress
from .batch_report import BatchReport
from .batch_steps import Begun, Job, Made, Schedule, Step
from .tasks import is_done, told

log = logging.getLogger(__name__)


class Batch:
    """Hands out steps, and takes down what became of them.

    Clips whose output is there already are not made again. One that fails does not stop the others.

    Args:
        jobs: The clips, in order.
        report: Where it is taken down.
    """

    def __init__(self, jobs: list[Job], report: BatchReport) -> None:
        self.jobs, self.report = jobs, report
        there = [is_done(job.line.task, job.mark) for job in jobs]
        self.progress = BatchProgress(there.count(False), bar("batch"))
        self._schedule = Schedule([clip for clip, done in enumerate(there) if not done])
        for clip, done in enumerate(there):
            if done:
                report.there(clip)
                jobs[clip].folder.remove()  # where this process ended just before it would have

    def next(self) -> Step | None:
        """A step that may be done now; None where there is none until one that is being done is."""
        step = self._schedule.next()
        if step:
            self.report.given(step)
        return step

    @property
    def over(self) -> bool:
        """Whether every clip is made or failed."""
        return self._schedule.over

    def done(self, step: Step, result: Begun | Made | None, seconds: float, where: str) -> None:
        """A step is done.

        Args:
            step: The step.
            result: What `Worker.do` gave.
            seconds: How long it took.
            where: The machine it ran on.
        """
        if not self._schedule.in_work(step.clip):
            return
        self.report.step(step, seconds, where)
        begun = result if isinstance(result, Begun) else None
        if begun:
            self.report.begun(step.clip, begun)
            self.progress.begun(step.clip, begun)
        self.progress.add(step.clip, step.stage, step.part, self._schedule.frames(step))
        self._schedule.done(step, begun)
        made = begun.made if begun else result
        if made:
            self.report.made(step.clip, made)
            self.jobs[step.clip].folder.remove()
            self._over(step.clip)

    def again(self, step: Step) -> None:
        """A step was not done and is to be tried again."""
        if self._schedule.in_work(step.clip):
            self.report.retried(step.clip)
            self._schedule.again(step)

    def name(self, step: Step) -> str:
        """What a step is called where steps are listed."""
        parts = self._schedule.parts(step)
        return f"{step.stage} {step.part + 1}/{parts} {self.jobs[step.clip].line.task.output.name}"

    def failed(self, step: Step, error: Exception) -> None:
        """A step cannot be done, and so its clip cannot be made."""
        if not self._schedule.in_work(step.clip):
            return
        job = self.jobs[step.clip]
        if is_done(job.line.task, job.mark):  # another start of this batch was faster, and took the work away
            self.report.there(step.clip)
        else:
            if sys.stderr.isatty():
                print(file=sys.stderr)  # below the bar
            self.report.failed(step.clip, told(error))
        self._schedule.give_up(step.clip)
        if step.stage == "begin":  # later there is something in it that need not be made again
            job.folder.remove()
        self._over(step.clip)

    def _over(self, clip: int) -> None:
        self.progress.over(clip)
        if not sys.stderr.isatty():
            result = self.report.result(clip)
            log.info("%s: %s %s", result.task.output, result.state, result.detail)
