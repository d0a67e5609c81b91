"""The whole job: a face and a voice in, a finished video out, in bounded memory whatever the length."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from . import face_track_file, mmpose_backend, pipeline
from .audio import AudioFeatures
from .errors import InputError, MediaError
from .face_options import LIGHT_SMOOTHING, NO_OPTIONS, FaceOptions
from .faces import FaceTrack, Observations
from .finishing import NO_FINISH, Finish
from .media_input import Clip, frame_rate, open_clip
from .media_output import require_place, write_video
from .models import Models
from .observing import observe_faces
from .progress import Frames, Picked, Progress
from .sound_input import Sound, read_voice
from .speaking import lip_sync
from .synthetic import NOTICE
from .timeline import FASTEST, TRAINED_FPS, Length, exact_rate, on_screen, play_order
from .tracking import track_faces

if TYPE_CHECKING:
    from .avatar import Preparation

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
        length: What happens when the sound outlasts the clip.
        faces: Which face, how it is looked for, and what if there is none.
        smoothing: 0..1, of the landmarks over time.
        fade_in_silence: Show the original mouth where the voice is silent.
        finish: What is done to the painted face before it is blended.
        face_track: A saved face track to use instead of finding the faces.
        save_face_track: Where to save the face track.
        backend: Which DWPose, a key of `mmpose_backend.BACKENDS`.
        batch_size: Frames a pass.
        seed: Sample the VAE's posterior; its mode when None.
        first_frames: Make no more than this many frames of the output, at least 1; all when None. Faces are
            looked for, smoothed and measured over the source frames shown there alone, so where there
            is smoothing the boxes may differ a little from those of the whole job.
    """

    bbox_shift: int = 0
    extra_margin: int | None = None
    fps: Fraction | None = None
    length: Length = "pingpong"
    faces: FaceOptions = NO_OPTIONS
    smoothing: float = LIGHT_SMOOTHING
    fade_in_silence: bool = False
    finish: Finish = NO_FINISH
    face_track: Path | None = None
    save_face_track: Path | None = None
    backend: str = "torch"
    batch_size: int = 8
    seed: int | None = None
    first_frames: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a job made.

    Attributes:
        frames: Frames written.
        fps: Their rate.
        faceless: Source frames without a face, which pass through untouched.
        held: Source frames without a face that got the last box.
        shift_range: (minus, plus): ``bbox_shift`` is usable in -minus..plus.
        synthetic: Whether it was made with synthetic weights.
    """

    frames: int
    fps: Fraction
    faceless: int
    held: int
    shift_range: tuple[int, int]
    synthetic: bool


def run(
    models: Models,
    source: Path,
    voice: Path,
    output: Path,
    settings: Settings,
    stages: Stages,
    mark: str | None = None,
) -> Outcome:
    """Make the face in the file ``source`` say the file ``voice``.

    Args:
        models: The networks.
        source: A video, an image, or a folder of images.
        voice: Any file with sound; it is put into the output as it is where mp4 can hold it.
        output: The mp4 to write; it appears only when it is complete.
        settings: What may be chosen.
        stages: Where to report.
        mark: Goes into the output's metadata.

    Raises:
        MuseTalkError: whatever is wrong with the input, the weights or the output.
    """
    if output.resolve() in (source.resolve(), voice.resolve()):
        raise MediaError(f"{output} is one of the files it is made of.", "Give the output another name.")
    for path in filter(None, (output, settings.save_face_track)):
        require_place(path)  # told now, not after minutes of work
    heard = read_voice(voice)
    clip = open_clip(source, reach(source, heard, settings), progress=stages("open"))
    return make_video(models, clip, heard, voice, output, settings, stages, mark)


def make_video(
    models: Models,
    clip: Clip,
    heard: Sound,
    spoken: Sound | Path,
    output: Path,
    settings: Settings,
    stages: Stages,
    mark: str | None = None,
) -> Outcome:
    """Make the face in ``clip`` say a voice.

    Args:
        models: The networks.
        clip: The source, at least as far as the output reaches.
        heard: What steers the mouth.
        spoken: The same sound as it goes into the video; a file's is copied where mp4 can hold it.
        output, settings, stages, mark: As for `run`.

    Raises:
        MuseTalkError: whatever is wrong with the input, the weights or the output.
    """
    frames, shown, features = within_sound(models, clip, heard, settings.fps, settings.first_frames)
    fps = features.fps
    looked_at = look_rate(clip, fps)
    if settings.face_track:
        seen, shown = saved_faces(settings.face_track, clip, frames, shown, features)
    else:
        seen = find_faces(models, frames, looked_at, settings, stages("look"))
    track = track_chosen(models, seen, settings, looked_at)
    minus, plus = track.shift_range
    log.info("bbox_shift %d, usable [-%d ~ %d]", settings.bbox_shift, minus, plus)
    if settings.save_face_track:
        face_track_file.save(track, settings.save_face_track)
    order = [shown[i] for i in play_order(features.frames, len(shown), settings.length)]
    painted = lip_sync(
        models,
        frames,
        track,
        features,
        settings.batch_size,
        settings.seed,
        stages("speak"),
        order,
        settings.finish,
        settings.fade_in_silence,
    )
    end = sound_end(heard.duration, len(order), fps)
    written = write_video(output, painted, fps, spoken, comment(models, mark), clip.look, end)
    faceless, held = int((~track.present).sum()), int(track.held.sum())
    return Outcome(written, fps, faceless, held, track.shift_range, models.synthetic)


def track_chosen(models: Models, seen: Observations, chosen: Settings | Preparation, fps: Fraction) -> FaceTrack:
    """`track_faces` with what was chosen for a job or an avatar, of frames that come at ``fps``."""
    return track_faces(
        models, seen, chosen.bbox_shift, chosen.extra_margin, chosen.faces, chosen.smoothing, chosen.length, fps
    )


def comment(models: Models, mark: str | None = None) -> str:
    """What stands in the metadata of a video made with these models; see `tasks.fingerprint` for the mark."""
    return ", ".join(filter(None, (f"MuseTalk {models.release.name}", models.synthetic and NOTICE, mark)))


def sound_end(duration: Fraction, frames: int, fps: Fraction) -> Fraction | None:
    """Seconds at which a sound ends with a video of ``frames`` frames; None where all of it is heard.

    Args:
        duration: Of the sound, seconds.
        frames, fps: Of the video.
    """
    return frames / fps if frames < int(duration * fps) else None


def reach(source: Path, heard: Sound, settings: Settings) -> Fraction:
    """Seconds of a source that the output can show, given what is heard; of its first frames, one more to be safe."""
    if settings.first_frames is None:
        return heard.duration
    rate = settings.fps or frame_rate(source) or TRAINED_FPS
    if rate > FASTEST:  # recorded by a browser: the file does not know its rate
        return heard.duration
    return min(heard.duration, (settings.first_frames + 1) / rate)


def within_sound(
    models: Models, clip: Clip, heard: Sound, fps: Fraction | None, first_frames: int | None = None
) -> tuple[Frames, list[int], AudioFeatures]:
    """As much of a clip as a sound reaches; the rest would never be seen.

    Args:
        models: The networks.
        clip: The clip.
        heard: The sound.
        fps: As for `conformed`.
        first_frames: Only what this many output frames show; all when None.

    Returns:
        Frames, and which of them each frame of the clip at a constant rate shows, as from `conformed`;
        and the sound's features at that rate.
    """
    frames, shown, fps = conformed(clip, fps)
    features = pipeline.listen(models, heard.waveform, heard.rate, fps)
    if first_frames is not None:
        features = features.first(first_frames)
    shown = shown[: features.frames]
    return frames[: shown[-1] + 1], shown, features


def conformed(clip: Clip, fps: Fraction | None) -> tuple[Frames, list[int], Fraction]:
    """A clip at a constant rate, each of its frames when it was on screen.

    Args:
        clip: The clip.
        fps: The rate wanted; its own average when None, 25 for stills.

    Returns:
        Those of its frames that are shown; for each frame at the constant rate which of them it
        shows; and the rate.
    """
    everything = list(range(len(clip.frames)))
    if clip.fps is None or clip.times is None:
        return clip.frames, everything, fps or TRAINED_FPS
    if fps in (None, clip.fps) and not clip.variable:
        return clip.frames, everything, clip.fps
    fps = fps or exact_rate(clip.fps)
    shown = on_screen(clip.times, clip.end or clip.times[-1] + 1 / clip.fps, fps)
    used = sorted(set(shown))
    if len(used) < len(clip.frames):
        log.info(
            "At %g fps, %d of %d source frames are not shown", fps, len(clip.frames) - len(used), len(clip.frames)
        )
    place = {index: i for i, index in enumerate(used)}
    return Picked(clip.frames, used), [place[index] for index in shown], fps


def look_rate(clip: Clip, fps: Fraction) -> Fraction:
    """Frames a second of those of a clip that are looked at, for an output of ``fps``."""
    return min(fps, clip.fps or fps)


def find_faces(
    models: Models, frames: Frames, fps: Fraction, settings: Settings, progress: Progress, part: range | None = None
) -> Observations:
    """`observe_faces` with what was chosen for a job, of frames that come at ``fps``."""
    keypoints = mmpose_backend.BACKENDS[settings.backend](models)
    seen = observe_faces(models, frames, settings.batch_size, keypoints, progress, settings.faces, fps, part)
    return replace(seen, fps=fps)


def saved_faces(
    path: Path, clip: Clip, frames: Frames, shown: list[int], features: AudioFeatures
) -> tuple[Observations, list[int]]:
    """What a saved face track knows of a clip.

    Args:
        path: The face track.
        clip: The clip.
        frames, shown, features: From `within_sound`.

    Returns:
        What was seen in those of the frames that the track reaches; and of ``shown`` what shows them.

    Raises:
        InputError: the track cannot be read, or was made at another rate.
    """
    seen = _loaded(path, clip, frames, look_rate(clip, features.fps))
    if len(shown) == features.frames:  # a saved track of the whole clip serves a shorter voice
        seen = seen.first(len(frames))
    count = len(seen.landmarks)
    if count < len(frames):
        log.warning("The face track ends at frame %d of %d: the clip ends there", count, len(frames))
    return seen, [i for i in shown if i < count]


def _loaded(path: Path, clip: Clip, frames: Frames, fps: Fraction) -> Observations:
    """A saved track: of the very frames that are shown at this rate, or of all of the clip's.

    Raises:
        InputError: it was made at a rate that is neither.
    """
    seen = face_track_file.load(path)
    if seen.fps == fps or not isinstance(frames, Picked):
        known = {None, fps}
    else:
        known = {None, clip.fps}
        seen = seen.take([i for i in frames.indices if i < len(seen.landmarks)])
    if seen.fps not in known:
        raise InputError(
            f"The face track {path} was made at {float(seen.fps):g} fps, the clip is shown at {float(fps):g}.",
            "Use the frame rate it was made with, or make it anew.",
        )
    return seen
