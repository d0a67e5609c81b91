"""Reading pictures, video and sound from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from .lazy_frames import LazyFrames
from .media_file import Source, open_media
from .progress import Progress, silent
from .sound_input import Sound, read_sound, read_voice
from .stills import IMAGE_SUFFIXES, read_folder, read_still
from .video_frames import VideoFrames
from .video_look import VideoLook
from .video_survey import Survey, picture_stream, survey_video

__all__ = ["Clip", "Sound", "VideoLook", "frame_rate", "open_clip", "read_clip", "read_sound", "read_voice"]


@dataclass(frozen=True)
class Clip:
    """Pictures in order, all of one size.

    Attributes:
        frames: uint8 RGB (H, W, 3) each, upright. Those of a video are decoded when they are asked for, in
            any order: forwards is fastest, backwards takes a few times as long. Few are held in memory.
        fps: Frames a second, exact, on average where their spacing varies; None for stills and where
            the file does not say.
        times: Seconds from the first frame to each; None for stills.
        variable: Whether the spacing of the frames varies by more than timestamps are rounded. Where
            it does not, frame i is shown at i / fps.
        look: What it takes to write a video that looks the same; None for stills.
        end: Seconds from the first frame to when the last goes; as long after it as a frame lasts on
            average when None.
        survey: Of a video, by which another process finds the same frames; None for stills.
    """

    frames: Sequence[np.ndarray]
    fps: Fraction | None
    times: tuple[Fraction, ...] | None = None
    variable: bool = False
    look: VideoLook | None = None
    end: Fraction | None = None
    survey: Survey | None = None


def open_clip(
    source: Source,
    seconds: Fraction | None = None,
    start: Fraction = Fraction(0),
    progress: Progress = silent,
) -> Clip:
    """Opens a video, a still image, or a folder of still images, upright and in RGB.

    A video is decoded once from its beginning to the end of what is wanted, to count its frames and to check
    them. Transparency is dropped; more than 8 bits become 8. In a folder the images are taken in the order of
    the numbers in their names (2.png before 10.png); hidden files and files that are not images are passed over.

    Args:
        source: The file or folder, or the content of a video file.
        seconds: Of a video, how long a piece is wanted: the frames that start before that; None is all.
        start: Of a video, seconds from its first frame to where the piece begins.
        progress: Called now and then while a video is decoded; its total is an estimate.

    Returns:
        The frames; at least one.

    Raises:
        MediaError: Nothing there, no picture in it, pictures of different sizes, or a damaged file:
            also one that breaks off before the length it promises. Damage after the piece is no matter.
    """
    if isinstance(source, Path) and source.is_dir():
        return Clip(read_folder(source), None)
    if _is_still(source):
        return Clip([read_still(source)], None)
    survey = survey_video(source, seconds, start, progress)
    frames = LazyFrames(VideoFrames(survey), survey.window)
    known = replace(survey, head=[])  # decoded frames are held by the sequence, and not for long
    return Clip(frames, survey.fps, survey.times, survey.variable, survey.look, survey.end, known)


def read_clip(path: str | Path, max_frames: int | None = None) -> Clip:
    """Opens a clip as `open_clip` does, but no more than its first ``max_frames`` frames."""
    path = Path(path)
    rate = frame_rate(path)
    clip = open_clip(path, max_frames / rate if max_frames and rate else None)
    times, end = clip.times, clip.end
    if times and max_frames and max_frames < len(times):
        times, end = times[:max_frames], times[max_frames]
    return replace(clip, frames=clip.frames[:max_frames], times=times, end=end)


def frame_rate(path: str | Path) -> Fraction | None:
    """The frame rate of a video, without reading its frames; None for images and folders.

    Raises:
        MediaError: The file cannot be read as video.
    """
    path = Path(path)
    if path.is_dir() or _is_still(path):
        return None
    with open_media(path) as container:
        stream = picture_stream(path, container)
        return stream.average_rate or stream.guessed_rate


def _is_still(source: Source) -> bool:
    return isinstance(source, Path) and source.suffix.lower() in IMAGE_SUFFIXES
