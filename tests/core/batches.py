"""Batches of small clips, done by the engine that needs no other machine, and what they paint and leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from musetalk_core import batch_local, job
from musetalk_core.batch import Batch
from musetalk_core.batch_manifest import Line
from musetalk_core.batch_report import BatchReport
from musetalk_core.batch_steps import Job, Step
from musetalk_core.job import Settings, Stages
from musetalk_core.models import Models
from musetalk_core.picture_track import PictureTrack
from musetalk_core.tasks import Result, Task, fingerprint
from tests.core.avatars import Painters, no_stages
from tests.core.stand_ins import PlainVae

BATCH = 3
PIECE = 0.24  # seconds: two batches at 25 frames a second


class NoisyVae(PlainVae):
    """A `VaeCodec` whose latents are those of `PlainVae`, and a little brighter for each seed."""

    def encode(self, pixels: Tensor, noise=None) -> Tensor:
        latents = super().encode(pixels, noise)
        for latent, generator in zip(latents, noise or [], strict=False):
            latent += generator.initial_seed() % 11 / 40
        return latents


def painters(release: str = "1.5") -> Painters:
    """Stand-ins whose VAE heeds a seed."""
    models = Painters(release)
    models.networks.vae = NoisyVae()
    return models


def clip(
    source: Path,
    voice: Path,
    output: Path,
    avatar: Path | None = None,
    shard_seconds: float = PIECE,
    batch_size: int = BATCH,
    **settings,
) -> Job:
    """A clip to be made, in pieces of six frames where nothing else is said."""
    chosen = Settings(batch_size=batch_size, **settings)
    line = Line(f"line of {output.name}", Task(source, voice, output), avatar, chosen)
    return Job(line, fingerprint(line.task, (chosen, avatar)), shard_seconds)


def batch_of(*jobs: Job) -> Batch:
    return Batch(list(jobs), BatchReport(list(jobs), "local"))


def make(models: Models, *jobs: Job) -> list[Result]:
    """Make the clips; what became of each."""
    batch = batch_of(*jobs)
    batch_local.run(batch, models)
    assert batch.over
    return batch.report.results()


def records(models: Models, *jobs: Job) -> list[dict]:
    """Make the clips; what the report says of each."""
    batch = batch_of(*jobs)
    batch_local.run(batch, models)
    return batch.report.record()["clips"]


def stages_of(record: dict) -> list[str]:
    """The steps of a clip in order, as the report says."""
    return [step["stage"] for step in record["steps"]]


def make_whole(models: Models, of: Job, output: Path) -> None:
    """The same clip as `job.run` makes it in one go."""
    task = of.line.task
    job.run(models, task.source, task.audio, output, of.line.settings, no_stages, of.mark)


def break_off(batch: Batch, stage: str, part: int = 0, error: BaseException | None = None) -> None:
    """Let a batch be ended by an error, by default the user's interruption, in the midst of a step."""
    error, own = error or KeyboardInterrupt(), batch.progress.within

    def report(*_) -> None:
        raise error

    def within(step: Step) -> Stages:
        if (step.stage, step.part) != (stage, part):
            return own(step)
        if stage in ("look", "speak"):  # these report how far they are
            return lambda name: report
        raise error

    batch.progress.within = within


def interrupt(models: Models, of: Job, stage: str, part: int = 0) -> None:
    """Begin to make a clip, and stop in the midst of a step."""
    batch = batch_of(of)
    break_off(batch, stage, part)
    with pytest.raises(KeyboardInterrupt):
        batch_local.run(batch, models)
    assert not of.line.task.output.exists()


def hidden(folder: Path) -> list[str]:
    """What lies in a folder and begins with a dot."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


class Painted:
    """Every frame before it is encoded, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames: list[np.ndarray] = []
        own = PictureTrack.add

        def add(track: PictureTrack, pixels: np.ndarray) -> None:
            self.frames.append(pixels)
            own(track, pixels)

        monkeypatch.setattr(PictureTrack, "add", add)

    def taken(self) -> Sequence[np.ndarray]:
        """Those since the last call, uint8 RGB (H, W, 3) each."""
        frames, self.frames = self.frames, []
        return frames
