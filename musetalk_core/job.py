"""The whole job on files: a face and a voice in, a video out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from . import face_track_file, mmpose_backend, observing, pipeline, tracking
from .errors import MediaError
from .faces import Observations
from .media_input import frame_rate, read_clip, read_sound
from .media_output import write_video
from .models import Models
from .progress import Frames, Progress
from .synthetic import NOTICE
from .timeline import TRAINED_FPS, conform

log = logging.getLogger(__name__)

Stages = Callable[[str], Progress]
"""Told each stage's name, gives the `Progress` to report it to."""


@dataclass(frozen=True)
class Settings:
    """What may be chosen for a job.

    Attributes:
        bbox_shift: Pixels to move the face box's middle down.
        extra_margin: Pixels below the chin instead of the release's.
        fps: Frame rate of the output; the source's own (25 for stills) when None.
        face_track: A saved face track to use instead of finding the faces.
        save_face_track: Where to save the face track.
        backend: Which DWPose, a key of `mmpose_backend.BACKENDS`.
        batch_size: Frames a pass.
        seed: Sample the VAE's posterior; its mode when None.
    """

    bbox_shift: int = 0
    extra_margin: int | None = None
    fps: Fraction | None = None
    face_track: Path | None = None
    save_face_track: Path | None = None
    backend: str = "torch"
    batch_size: int = 8
    seed: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a job made.

    Attributes:
        frames: Frames written.
        fps: Their rate.
        faceless: Source frames without a face, which pass through untouched.
        shift_range: (minus, plus): ``bbox_shift`` is usable in -minus..plus.
        synthetic: Whether it was made with synthetic weights.
    """

    frames: int
    fps: Fraction
    faceless: int
    shift_range: tuple[int, int]
    synthetic: bool


def run(models: Models, source: Path, voice: Path, output: Path, settings: Settings, stages: Stages) -> Outcome:
    """Make the face in ``source`` say ``voice``.

    Args:
        models: The networks.
        source: A video, an image, or a folder of images.
        voice: Any file with sound.
        output: The mp4 to write; it appears only when it is complete.
        settings: What may be chosen.
        stages: Where to report.

    Raises:
        MuseTalkError: whatever is wrong with the input, the weights or the output.
    """
    for path in filter(None, (output, settings.save_face_track)):
        if not path.parent.is_dir():  # told now, not after minutes of work
            raise MediaError(f"{path} cannot be written: there is no such folder.", "Make it, or choose another.")
    sound = read_sound(voice)
    frames, fps = _source_frames(source, settings.fps, sound.duration)
    features = pipeline.encode_audio(models, sound.waveform, sound.rate, fps, stages("listen"))
    frames = frames[: features.frames]  # the rest would never be seen
    seen = _observe(models, frames, settings, stages).first(features.frames)  # a saved track may be longer
    track = tracking.track_faces(models, seen, settings.bbox_shift, settings.extra_margin)
    if len(track) < min(len(frames), features.frames):
        log.warning("The face track ends at frame %d of %d: the clip turns back there", len(track), len(frames))
    minus, plus = track.shift_range
    log.info("bbox_shift %d, usable [-%d ~ %d]", settings.bbox_shift, minus, plus)
    if settings.save_face_track:
        face_track_file.save(track, settings.save_face_track)
    spoken = pipeline.lip_sync(models, frames, track, features, settings.batch_size, settings.seed, stages("speak"))
    comment = f"MuseTalk {models.release.name}" + (f", {NOTICE}" if models.synthetic else "")
    written = write_video(output, spoken, fps, sound, comment)
    return Outcome(written, fps, int((~track.present).sum()), track.shift_range, models.synthetic)


def _source_frames(source: Path, fps: Fraction | None, seconds: Fraction) -> tuple[Frames, Fraction]:
    """The source's frames that the sound can reach, at the rate of the output."""
    own = frame_rate(source)
    fps = fps or own or TRAINED_FPS
    frames = read_clip(source, math.ceil(seconds * (own or fps))).frames
    if own in (None, fps):
        return frames, fps
    return [frames[i] for i in conform(len(frames), own, fps)], fps


def _observe(models: Models, frames: Frames, settings: Settings, stages: Stages) -> Observations:
    if settings.face_track:
        return face_track_file.load(settings.face_track)
    keypoints = mmpose_backend.BACKENDS[settings.backend](models)
    return observing.observe_faces(models, frames, settings.batch_size, keypoints, stages("look"))
