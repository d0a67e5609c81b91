"""The second instrument: peak memory over the length of the clip, for video files and for IMAGEs."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from . import job, pipeline
from .blender import Blender
from .errors import InputError
from .media_input import open_clip, read_clip
from .media_output import write_video
from .models import Models
from .observing import observe_faces
from .progress import Progress, silent
from .sound_input import Sound
from .tracking import track_faces

_FPS = Fraction(25)
_RATE = 16000  # Hz
_PICTURE = Path(__file__).resolve().parent.parent / "assets" / "sample" / "face.jpg"


def measure(
    models: Models,
    size: tuple[int, int],
    video_seconds: Sequence[int],
    image_seconds: Sequence[int],
    batch_size: int,
    progress: Progress,
) -> dict[str, Any]:
    """Peak memory of whole jobs on a picture that moves.

    Args:
        models: The networks.
        size: Width and height of the frames in pixels.
        video_seconds: Lengths to measure from file to file.
        image_seconds: Lengths to measure with all frames in memory, as ComfyUI's IMAGE holds them.
        batch_size: Frames a pass.
        progress: Called once a length.

    Returns:
        JSON-ready: megabytes (10^6) by seconds, for "video" and "image".

    Raises:
        InputError: this is not Linux, which alone tells a process its peak.
    """
    if not Path("/proc/self/clear_refs").exists():
        raise InputError("Peak memory can only be measured on Linux.", "Run it there.")
    report = {"frame": f"{size[0]} x {size[1]}", "batch_size": batch_size, "video": {}, "image": {}}
    work = [("video", seconds) for seconds in video_seconds] + [("image", seconds) for seconds in image_seconds]
    with tempfile.TemporaryDirectory() as folder:
        # The networks are loaded and the libraries warm before anything is measured.
        for i, (path, seconds) in enumerate([("video", 1), *work]):
            source = Path(folder, "source.mp4")
            write_video(source, _frames(size, seconds), _FPS, None)
            gc.collect()
            _forget_peak()
            {"video": _video, "image": _image}[path](models, source, seconds, batch_size)
            if i:
                report[path][seconds] = round(_peak())
                progress(i, len(work), None)
    return report


def _video(models: Models, source: Path, seconds: int, batch_size: int) -> None:
    voice = _voice(seconds)
    settings = job.Settings(batch_size=batch_size)
    clip = open_clip(source, voice.duration)
    output = source.with_name("out.mp4")
    job.make_video(models, clip, voice, voice, output, settings, lambda stage: silent)


def _image(models: Models, source: Path, seconds: int, batch_size: int) -> None:
    clip = read_clip(source).frames
    frames = torch.empty(len(clip), *clip[0].shape)  # as the host holds them: float32
    for i, frame in enumerate(clip):
        frames[i] = torch.from_numpy(frame).float() / 255
    shown = _Bytes(frames)
    voice = _voice(seconds)
    features = pipeline.encode_audio(models, voice.waveform, voice.rate, _FPS)
    track = track_faces(models, observe_faces(models, shown, batch_size), 0)
    encoded = pipeline.encode_faces(models, shown, track, batch_size)
    painted = pipeline.decode(models, pipeline.predict(models, encoded, features, batch_size), batch_size)
    out = torch.empty_like(frames)
    for i, frame in enumerate(Blender(models, shown, track).blend_all(painted, batch_size)):
        out[i] = torch.from_numpy(frame).float() / 255


class _Bytes:
    """Float frames as uint8 ones, each converted when it is asked for."""

    def __init__(self, frames: torch.Tensor) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._frames[index].mul(255).round().to(torch.uint8).numpy()


def _voice(seconds: int) -> Sound:
    return Sound(np.random.default_rng(0).uniform(-0.3, 0.3, (1, seconds * _RATE)).astype(np.float32), _RATE)


def _frames(size: tuple[int, int], seconds: int) -> Iterator[np.ndarray]:
    """A photograph that sways."""
    picture = cv2.resize(cv2.cvtColor(cv2.imread(str(_PICTURE)), cv2.COLOR_BGR2RGB), size)
    for i in range(int(seconds * _FPS)):
        yield np.roll(picture, round(20 * np.sin(i / 10)), axis=1)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Megabytes of memory that were in use at most since `_forget_peak`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def table(report: dict[str, Any]) -> str:
    """The report of `measure` for people."""
    lines = [f"frames of {report['frame']} at {_FPS} fps, batch {report['batch_size']}; peak memory of the process"]
    for path, what in (("video", "file to file"), ("image", "all frames in memory")):
        lines += [f"{what:22}{seconds:>4} s{peak:>8} MB" for seconds, peak in report[path].items()]
    return "\n".join(lines)
