"""The rows of `bench_compare` that are about clips: finding the face, and whole videos from frames to the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from . import job
from .avatar import Avatar, Preparation
from .avatar_making import prepare_avatar
from .bench_clip import FPS, FULL_HD, swaying, voice
from .bench_plain_clip import PlainNetworks, plain_clip, plain_observe, plain_speech
from .bench_rows import Row, largest
from .cache import Source
from .keypoints import estimate_keypoints
from .media_input import Clip
from .media_output import write_video
from .models import Models
from .observing import observe_faces
from .progress import silent
from .speaking import lip_sync
from .tracking import track_faces

ROWS = 5
_OBSERVED = 50  # frames of 1080p
_DOUBTFUL = 4
_SURE = (
    "Plain is S3FD at full resolution on every frame, and DWPose with the mirrored copy as a second pass; it is "
    "timed on one frame, as each takes as long as the next. Ours asks S3FD only where the landmarks leave doubt: "
)


def rows(models: Models, plain: PlainNetworks, size: tuple[int, int], batch_size: int, frames: int) -> Iterator[Row]:
    """The rows, see `bench_compare.measure`."""
    yield _observing(models, plain, batch_size, doubtful=False)
    yield _observing(models, plain, batch_size, doubtful=True)
    pictures = list(swaying(size, frames))
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        output = Path(folder, "out.mp4")
        yield _whole_clip(models, plain, pictures, batch_size, output)
        settings = Preparation(smoothing=0)
        avatar = prepare_avatar(
            models, Clip(pictures, None), output.with_name("avatar"), settings, _silent, batch_size
        )
        yield _avatar(models, plain, avatar, pictures, batch_size, output)
        yield _taesd(models, plain, avatar, pictures, batch_size, output)
        del avatar  # on Windows its files cannot be deleted while it is held


def _observing(models: Models, plain: PlainNetworks, batch_size: int, doubtful: bool) -> Row:
    frames = list(swaying(FULL_HD, _DOUBTFUL if doubtful else _OBSERVED))

    def doubting(batch: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        points, scores = estimate_keypoints(models.dwpose(len(batch)), batch)
        return points, np.zeros_like(scores)

    def ours(frames: Sequence[np.ndarray] = frames):
        return observe_faces(models, frames, batch_size, doubting if doubtful else None)

    name = "face, 1080p, doubtful" if doubtful else "face, 1080p"
    note = (
        _SURE + "here everywhere, on frames reduced to 640 pixels."
        if doubtful
        else _SURE
        + "here nowhere, as in most clips of a face that looks at the camera. Synthetic weights are always sure."
    )
    return Row(
        name,
        lambda: plain_observe(plain, frames[:1]),
        ours,
        1,
        len(frames),
        lambda: largest([plain_observe(plain, frames[:1]).landmarks], [ours().landmarks[:1]]),
        "px",
        note,
    )


def _whole_clip(
    models: Models, plain: PlainNetworks, pictures: list[np.ndarray], batch_size: int, output: Path
) -> Row:
    sound = voice(len(pictures))
    settings = job.Settings(batch_size=batch_size, smoothing=0)

    def plain_frames() -> Iterator[np.ndarray]:
        return plain_clip(plain, pictures, sound, batch_size)

    def our_frames() -> Iterator[np.ndarray]:  # what the job below gives to the encoder
        track = track_faces(models, observe_faces(models, pictures, batch_size), 0)
        _, _, features = job.within_sound(models, Clip(pictures, None), sound, None)
        return lip_sync(models, pictures, track, features, batch_size)

    return Row(
        "whole clip",
        lambda: write_video(output, list(plain_frames()), FPS, sound),
        lambda: job.make_video(models, Clip(pictures, None), sound, sound, output, settings, _silent),
        len(pictures),
        len(pictures),
        lambda: largest(plain_frames(), our_frames()),
        "levels",
        "From decoded frames to the finished mp4; Whisper's half minute of sound is a part of so short a clip.",
    )


def _avatar(
    models: Models, plain: PlainNetworks, avatar: Avatar, pictures: list[np.ndarray], batch_size: int, output: Path
) -> Row:
    """An avatar that speaks; it is read from its files, where the plain way has it in memory."""
    sound = voice(len(pictures))

    def plain_frames() -> Iterator[np.ndarray]:
        return plain_speech(plain, avatar, pictures, sound, batch_size)

    def our_frames() -> Iterator[np.ndarray]:
        return avatar.speak(models, sound, batch_size).frames

    return Row(
        "prepared avatar",
        lambda: write_video(output, list(plain_frames()), FPS, sound),
        lambda: write_video(output, our_frames(), FPS, sound),
        len(pictures),
        len(pictures),
        lambda: largest(plain_frames(), our_frames()),
        "levels",
    )


def _taesd(
    models: Models, plain: PlainNetworks, avatar: Avatar, pictures: list[np.ndarray], batch_size: int, output: Path
) -> Row:
    # Untrained, whatever the other weights are: it takes as long.
    decoder = Source("taesd_decoder", synthetic="full")
    coarser = replace(models, sources={**models.sources, "taesd_decoder": decoder})
    row = _avatar(coarser, plain, avatar, pictures, batch_size, output)
    return replace(row, name="prepared avatar, TAESD decode", difference=None)


def _silent(stage: str):
    return silent
