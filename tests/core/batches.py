"""Batches of small clips, done by the engine that needs no other machine, and what they paint and leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from musetalk_core import batch_local, job
from musetalk_core.batch import Batch
from musetalk_core.batch_manifest import Line
from musetalk_core.batch_report import BatchReport
from musetalk_core.batch_steps import Job, Step
from musetalk_core.job import Outcome, Settings
from musetalk_core.models import Models
from musetalk_core.picture_track import PictureTrack
from musetalk_core.tasks import Result, Task, fingerprint
from tests.core.avatars import no_stages
from tests.core.jobs import Written, written

BATCH = 4
PIECE = 0.32  # seconds: two batches at 25 frames a second


def clip(
    source: Path, voice: Path, output: Path, avatar: Path | None = None, shard_seconds: float = PIECE, **settings
) -> Job:
    """A clip to be made, in pieces of `PIECE` seconds."""
    chosen = Settings(**{"batch_size": BATCH} | settings)
    line = Line(f"line of {output.name}", Task(source, voice, output), avatar, chosen)
    return Job(line, fingerprint(line.task, (chosen, avatar)), shard_seconds)


def batch_of(jobs: Sequence[Job]) -> Batch:
    return Batch(list(jobs), BatchReport(list(jobs), "local"))


def make(models: Models, *jobs: Job) -> list[Result]:
    """Make the clips; what became of each."""
    batch = batch_of(jobs)
    batch_local.run(batch, models)
    return batch.report.results()


def made(models: Models, of: Job) -> Written:
    """Make a clip, which must succeed; what stands in its file."""
    batch = batch_of([of])
    batch_local.run(batch, models)
    (result,) = batch.report.results()
    assert result.state == "done", result.detail
    (record,) = batch.report.record(1)["clips"]
    outcome = Outcome(
        record["frames"],
        Fraction(record["fps"]).limit_denominator(2000),
        record["frames_without_face"],
        record["frames_on_last_box"],
        (0, 0),
        models.synthetic,
    )
    return written(of.line.task.output, outcome)


def whole(models: Models, of: Job, output: Path) -> Written:
    """The same clip as `job.run` makes it in one go."""
    task = of.line.task
    outcome = job.run(models, task.source, task.audio, output, of.line.settings, no_stages, of.mark)
    return written(output, outcome)


def stages(batch: Batch, models: Models) -> list[Step]:
    """The steps in which a batch is made, in order."""
    given, own = [], batch.next

    def next() -> Step | None:
        step = own()
        given.extend([step] if step else [])
        return step

    batch.next = next
    batch_local.run(batch, models)
    return given


def left_over(folder: Path) -> list[str]:
    """What lies in a folder that begins with a dot."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


class Painted(list[np.ndarray]):
    """Every frame before it is encoded, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        own = PictureTrack.add

        def add(track: PictureTrack, pixels: np.ndarray) -> None:
            self.append(pixels)
            own(track, pixels)

        monkeypatch.setattr(PictureTrack, "add", add)

    def taken(self) -> np.ndarray:
        """Those since the last call, uint8 RGB (frames, H, W, 3)."""
        frames = np.stack(self)
        self.clear()
        return frames
