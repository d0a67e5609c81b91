"""Avatars of small films in which a face moves, turns and is gone, and the whole job to compare them with."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from musetalk_core import job, observing, synthetic
from musetalk_core.avatar import Avatar, Preparation
from musetalk_core.cache import KINDS, Source
from musetalk_core.finishing import Finish
from musetalk_core.job import Settings
from musetalk_core.media_input import Clip
from musetalk_core.models import Models
from musetalk_core.networks import s3fd
from musetalk_core.progress import silent
from musetalk_core.sound_input import Sound
from tests.core.jobs import Listeners, bursts, number_of

BATCH = 4
GONE = (5, 6)  # numbers of frames without a face
TURNED_AWAY = (9,)  # of those in which only the detector sees one
FINISH = Finish(0.5, 0.5)


class Painters(Listeners):
    """`Models` of stand-ins that paint a red mouth where the voice is loud, with weights to be known by."""

    def __init__(self, release: str = "1.5", **sources: Source) -> None:
        super().__init__(release)
        self.networks.s3fd = None
        self.dtype = torch.float32
        self.host_vae = None
        self.sources = {kind: Source(kind, synthetic="small") for kind in KINDS} | sources


class Looked(Counter):
    """In place of the face networks: they find the face of a numbered film, and how often they are run is counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr(observing, "estimate_keypoints", self.estimate)
        monkeypatch.setattr(s3fd, "detect", self.detect)
        self.face = synthetic._face_points()[23:91].numpy()
        self.face = (self.face - self.face.mean(axis=0)) / np.ptp(self.face, axis=0).max()

    def estimate(self, network, batch, regions=None) -> tuple[np.ndarray, np.ndarray]:
        self["dwpose"] += len(batch)
        points, scores = np.zeros((len(batch), 133, 2), np.float32), np.ones((len(batch), 133), np.float32)
        for i, frame in enumerate(batch):
            number, (height, width) = number_of(frame), frame.shape[:2]
            angle = np.radians(8 * np.sin(number / 3))
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            points[i, 23:91] = 0.45 * height * self.face @ turn + (width / 2 + 2 * np.sin(number), 0.6 * height)
            scores[i] = 0.1 if number in GONE + TURNED_AWAY else 0.9
        return points, scores

    def detect(self, network, pictures: np.ndarray) -> list[np.ndarray]:
        self["s3fd"] += len(pictures)
        face = [[16, 20, 44, 60, 0.9]]
        return [np.array([] if number_of(p) in GONE else face).reshape(-1, 5) for p in pictures]


def no_stages(stage: str):
    return silent


def whole_job(
    monkeypatch: pytest.MonkeyPatch,
    models: Models,
    clip: Clip,
    sound: Sound,
    chosen: Preparation,
    batch_size: int = BATCH,
    finish: Finish = FINISH,
) -> list[np.ndarray]:
    """The frames that the whole job makes of a clip, before they are written."""
    painted: list[np.ndarray] = []

    def keep(path, frames, *_) -> int:
        painted.extend(frames)
        return len(painted)

    monkeypatch.setattr(job, "write_video", keep)
    settings = Settings(
        bbox_shift=chosen.bbox_shift,
        extra_margin=chosen.extra_margin,
        fps=chosen.fps,
        length=chosen.length,
        faces=chosen.faces,
        smoothing=chosen.smoothing,
        seed=chosen.seed,
        batch_size=batch_size,
        finish=finish,
    )
    job.make_video(models, clip, sound, sound, Path("nowhere.mp4"), settings, no_stages)
    return painted


def spoken_by(
    avatar: Avatar, models: Models, sound: Sound | None = None, batch_size: int = BATCH, finish: Finish = FINISH
) -> list[np.ndarray]:
    """What the avatar shows while it says a sound."""
    sound = sound or bursts(0.9, (0.1, 0.5))
    return list(avatar.speak(models, sound, batch_size, finish=finish).frames)


def still(frame: np.ndarray) -> Clip:
    return Clip([frame], None)


def steady(frames: list[np.ndarray], fps: Fraction = Fraction(25)) -> Clip:
    return Clip(frames, fps, tuple(i / fps for i in range(len(frames))))
