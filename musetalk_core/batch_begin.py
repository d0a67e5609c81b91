"""The beginning of a clip of a batch: its source and its voice are read, and the plan is made and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import batch_faces, batch_plan, job, pipeline
from .audio import AudioFeatures
from .batch_plan import Plan, Seen, cut, shard_frames
from .faces import require_fit
from .media_input import open_clip
from .models import Models
from .observing import in_parts
from .progress import Picked, Progress
from .sound_input import read_voice
from .timeline import play_order

if TYPE_CHECKING:
    from .avatar import Avatar
    from .batch_steps import Job


def plan_clip(models: Models, of: Job, progress: Progress) -> None:
    """Write the plan of a clip whose face is looked for or known from a saved track.

    Args:
        models: The networks; of them only the release is used.
        of: The clip.
        progress: Called while its source is read.

    Raises:
        MuseTalkError: whatever is wrong with the source, the voice, the face track or the output.
    """
    folder, source, settings = of.folder, of.line.task.source, of.line.settings
    written = batch_plan.written(of.line.task)
    heard = read_voice(of.line.task.audio)
    clip = open_clip(source, job.reach(source, heard, settings), progress=progress)
    frames, shown, features = job.within_sound(models, clip, heard, settings.fps, settings.first_frames)
    rate = job.look_rate(clip, features.fps)
    if settings.face_track:
        known, shown = job.saved_faces(settings.face_track, clip, frames, shown, features)
        track = job.track_chosen(models, known, settings, rate)
        require_fit(frames, track)
        batch_faces.save_track(folder, track)
        looks = []
    elif in_parts(settings.faces):
        looks = cut(len(frames), shard_frames(of.shard_seconds, rate, settings.batch_size))
    else:  # somebody is followed from frame to frame
        looks = [range(len(frames))]
    order = [shown[i] for i in play_order(features.frames, len(shown), settings.length)]
    seconds = job.sound_end(heard.duration, len(order), features.fps)
    used = list(frames.indices) if isinstance(frames, Picked) else None
    seen = Seen(clip.survey, used, len(frames), frames[0].shape[:2], rate)
    pieces = _pieces(of, order, features)
    plan = Plan(written, seen, order, features.fps, features.rows.counts, seconds, clip.look, looks, pieces)
    batch_plan.save(folder, plan, features)


def plan_avatar(models: Models, avatar: Avatar, of: Job) -> None:
    """Write the plan of a clip that a prepared avatar speaks.

    Args:
        models: The networks; of them only the release is used.
        avatar: The avatar.
        of: The clip.

    Raises:
        MuseTalkError: whatever is wrong with the voice or the output.
    """
    written = batch_plan.written(of.line.task)
    heard = read_voice(of.line.task.audio)
    features = pipeline.listen(models, heard.waveform, heard.rate, avatar.fps)
    if of.line.settings.first_frames is not None:
        features = features.first(of.line.settings.first_frames)
    order = avatar.order(features.frames)
    seconds = job.sound_end(heard.duration, len(order), avatar.fps)
    pieces = _pieces(of, order, features)
    plan = Plan(written, None, order, avatar.fps, features.rows.counts, seconds, avatar.look, [], pieces)
    batch_plan.save(of.folder, plan, features)


def _pieces(of: Job, order: list[int], features: AudioFeatures) -> list[range]:
    return cut(len(order), shard_frames(of.shard_seconds, features.fps, of.line.settings.batch_size))
