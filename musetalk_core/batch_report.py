"""What became of a batch: for people a table, for machines JSON with the times of every step and where it ran."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from .bars import clock
from .batch_steps import Begun, Job, Made, Step
from .errors import MediaError
from .tasks import Result, about_faces


@dataclass
class _Clip:
    job: Job
    state: str = "not done"
    detail: str = ""
    begun: Begun | None = None
    made: Made | None = None
    first: float | None = None  # moments, seconds
    last: float | None = None
    retries: int = 0
    steps: list[dict[str, object]] = field(default_factory=list)


class BatchReport:
    """Takes down what happens.

    Args:
        jobs: The clips, in order.
        engine: What the steps are done by, for the record.

    Attributes:
        workers: How many processes do steps.
    """

    def __init__(self, jobs: list[Job], engine: str) -> None:
        self._clips = [_Clip(job) for job in jobs]
        self._engine = engine
        self.workers = 1
        self._started = time.monotonic()

    def there(self, clip: int) -> None:
        """A clip was done before."""
        self._clips[clip].state, self._clips[clip].detail = "there", "done before"

    def given(self, step: Step) -> None:
        """A step is begun."""
        clip = self._clips[step.clip]
        if clip.first is None:
            clip.first = time.monotonic()

    def step(self, step: Step, seconds: float, where: str) -> None:
        """A step is done.

        Args:
            step: The step.
            seconds: How long it took.
            where: The machine it ran on.
        """
        clip = self._clips[step.clip]
        clip.last = time.monotonic()
        clip.steps.append({"stage": step.stage, "part": step.part, "seconds": round(seconds, 4), "where": where})

    def begun(self, clip: int, begun: Begun) -> None:
        """How a clip is made is known."""
        self._clips[clip].begun = begun

    def retried(self, clip: int) -> None:
        """A step of a clip is tried again."""
        self._clips[clip].retries += 1

    def made(self, clip: int, made: Made) -> None:
        """A clip is finished."""
        self._clips[clip].state, self._clips[clip].made = "done", made
        self._clips[clip].detail = _described(self._clips[clip])

    def failed(self, clip: int, error: str) -> None:
        """A clip is given up."""
        self._clips[clip].state, self._clips[clip].detail = "failed", error

    def results(self) -> list[Result]:
        """What became of each clip, for `tasks.table`."""
        return [self.result(clip) for clip in range(len(self._clips))]

    def result(self, clip: int) -> Result:
        """What became of a clip."""
        of = self._clips[clip]
        return Result(of.job.line.task, of.state, of.detail)

    def record(self) -> dict[str, object]:
        """Everything, for machines; every number's unit is in its name."""
        seconds = time.monotonic() - self._started
        frames = sum(clip.made.frames for clip in self._clips if clip.made)
        return {
            "engine": self._engine,
            "workers": self.workers,
            "seconds": round(seconds, 3),
            "frames": frames,
            "frames_per_second": round(frames / seconds, 4) if frames else 0.0,
            "retries": sum(clip.retries for clip in self._clips),
            "clips": [_record(clip) for clip in self._clips],
        }

    def write(self, path: Path) -> None:
        """Write the record; the file appears under its name only when it is complete.

        Raises:
            MediaError: it cannot be written.
        """
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(self.record(), indent=1), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise MediaError(
                f"The report {path} cannot be written ({error.strerror}).", "Name another file with --report."
            ) from error


def _record(clip: _Clip) -> dict[str, object]:
    task = clip.job.line.task
    seconds = clip.last - clip.first if clip.last else None
    return {
        "line": clip.job.line.name,
        "source": str(clip.job.line.avatar or task.source),
        "voice": str(task.audio),
        "output": str(task.output),
        "state": clip.state,
        "error": clip.detail if clip.state == "failed" else None,
        "frames": clip.made and clip.made.frames,
        "fps": clip.begun and float(clip.begun.fps),
        "frames_without_face": clip.made and clip.made.faceless,
        "frames_on_last_box": clip.made and clip.made.held,
        "seconds": seconds and round(seconds, 3),
        "frames_per_second": round(clip.made.frames / seconds, 4) if clip.made and seconds else None,
        "worker_seconds": round(sum(step["seconds"] for step in clip.steps), 3),
        "retries": clip.retries,
        "where": sorted({step["where"] for step in clip.steps}),
        "steps": clip.steps,
    }


def _described(clip: _Clip) -> str:
    return (
        f"{clip.made.frames} frames in {clock(clip.last - clip.first)}"
        + about_faces(clip.made.faceless, clip.made.held)
        + (f", tried again: {clip.retries}" if clip.retries else "")
    )
