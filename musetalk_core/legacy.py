"""What the nodes of the older pack did, file in and frames out, on today's stages."""

from __future__ import annotations

import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from . import weights
from .errors import InputError
from .job import within_sound
from .media_input import open_clip, read_sound, read_voice
from .models import Models
from .observing import observe_faces
from .progress import Progress, silent
from .releases import Release, get_release
from .speaking import lip_sync
from .timeline import play_order
from .tracking import track_faces


def release_at_hand(roots: Sequence[Path]) -> Release:
    """The older pack knew 1.0 only: that one where its UNet is there, else 1.5.

    Args:
        roots: Folders laid out as published.
    """
    oldest = get_release("1.0")
    return oldest if weights.find("unet", oldest, roots) else get_release("1.5")


def speak(
    models: Models, source: Path, voice: Path, bbox_shift: int, batch_size: int, progress: Progress = silent
) -> tuple[Iterator[np.ndarray], int]:
    """The face in ``source`` speaking ``voice``, at the source's own rate (25 for stills).

    Args:
        models: The networks.
        source: A video, an image, or a folder of images.
        voice: Any file with sound.
        bbox_shift: Pixels to move the face box's middle down.
        batch_size: Frames a pass.
        progress: Where to report, each stage from 0.

    Returns:
        uint8 RGB (H, W, 3) frames as they are ready, and how many there will be.

    Raises:
        MuseTalkError: whatever is wrong with the files or the weights.
    """
    sound = read_voice(voice)
    clip = open_clip(source, sound.duration, progress=progress)
    frames, shown, features = within_sound(models, clip, sound, None)
    track = track_faces(models, observe_faces(models, frames, batch_size, progress=progress), bbox_shift)
    order = [shown[i] for i in play_order(features.frames, len(shown), "pingpong")]
    return lip_sync(models, frames, track, features, batch_size, progress=progress, order=order), features.frames


def cut_sound(source: Path, start: int, end: int, output: Path) -> None:
    """Write a part of a sound as 16-bit wav.

    Args:
        source: Any file with sound.
        start: Of the part, in milliseconds.
        end: Of the part, in milliseconds; 0, or beyond the sound's end, means its end.
        output: The wav to write.

    Raises:
        MediaError: ``source`` cannot be read.
        InputError: there is nothing between start and end.
    """
    sound = read_sound(source)
    first, last = (sound.rate * moment // 1000 for moment in (start, end))
    part = sound.waveform[:, first : last or None]
    if not part.size:
        raise InputError(
            f"There is no sound between {start} and {end} ms of {source}, which lasts {float(sound.duration):.2f} s.",
            "Choose a start before the end; an end of 0 means the end of the sound.",
        )
    with wave.open(str(output), "wb") as out:
        out.setnchannels(len(part))
        out.setsampwidth(2)
        out.setframerate(sound.rate)
        out.writeframes((part.T.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
