"""The instrument of memory: its peak over the length of the clip, and while a prepared avatar speaks."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import job, pipeline
from .avatar import Preparation
from .avatar_making import prepare_avatar
from .bench_clip import FPS, swaying, voice
from .blender import Blender
from .cache import size_in_bytes
from .errors import InputError
from .media_input import Clip, open_clip, read_clip
from .media_output import write_video
from .models import Models
from .observing import observe_faces
from .progress import Progress, silent
from .tracking import track_faces

_SPEAKING_BATCH = 8
_SPOKEN = 2 * _SPEAKING_BATCH  # frames


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
        JSON-ready: megabytes (10^6) by seconds, for "video" and "image"; for "speaking", a prepared avatar that
        speaks 8 frames a pass, the bytes of the weights it needs and the peak beyond what was there before: of the
        card's memory on CUDA, else of the process.

    Raises:
        InputError: this is not Linux, which alone tells a process its peak.
    """
    if not Path("/proc/self/clear_refs").exists():
        raise InputError("Peak memory can only be measured on Linux.", "Run it there, or only --memory networks.")
    report = {"frame": f"{size[0]} x {size[1]}", "batch_size": batch_size, "video": {}, "image": {}}
    work = [("video", seconds) for seconds in video_seconds] + [("image", seconds) for seconds in image_seconds]
    with tempfile.TemporaryDirectory() as folder:
        # The networks are loaded and the libraries warm before anything is measured.
        for i, (path, seconds) in enumerate([("video", 1), *work]):
            source = Path(folder, "source.mp4")
            write_video(source, swaying(size, int(seconds * FPS)), FPS, None)
            gc.collect()
            _forget_peak()
            {"video": _video, "image": _image}[path](models, source, seconds, batch_size)
            if i:
                report[path][seconds] = round(_peak())
                progress(i, len(work), None)
        report["speaking"] = _speaking(models, size, Path(folder, "avatar"))
    return report


def _video(models: Models, source: Path, seconds: int, batch_size: int) -> None:
    sound = voice(int(seconds * FPS))
    settings = job.Settings(batch_size=batch_size)
    clip = open_clip(source, sound.duration)
    output = source.with_name("out.mp4")
    job.make_video(models, clip, sound, sound, output, settings, lambda stage: silent)


def _image(models: Models, source: Path, seconds: int, batch_size: int) -> None:
    clip = read_clip(source).frames
    frames = torch.empty(len(clip), *clip[0].shape)  # as the host holds them: float32
    for i, frame in enumerate(clip):
        frames[i] = torch.from_numpy(frame).float() / 255
    shown = _Bytes(frames)
    sound = voice(int(seconds * FPS))
    features = pipeline.encode_audio(models, sound.waveform, sound.rate, FPS)
    track = track_faces(models, observe_faces(models, shown, batch_size), 0)
    encoded = pipeline.encode_faces(models, shown, track, batch_size)
    painted = pipeline.decode(models, pipeline.predict(models, encoded, features, batch_size), batch_size)
    out = torch.empty_like(frames)
    for i, frame in enumerate(Blender(models, shown, track).blend_all(painted, batch_size)):
        out[i] = torch.from_numpy(frame).float() / 255


def _speaking(models: Models, size: tuple[int, int], folder: Path) -> dict[str, int]:
    """The peak while an avatar speaks two batches, with the networks already loaded."""
    face = Clip(list(swaying(size, _SPEAKING_BATCH)), None)
    avatar = prepare_avatar(models, face, folder, Preparation(), lambda stage: silent, _SPEAKING_BATCH)
    decoder = "taesd_decoder" if "taesd_decoder" in models.sources else "vae"
    dtypes = {"whisper": torch.float32, "unet": models.dtype, decoder: models.dtype}
    weights = sum(size_in_bytes(models.cache.network(models.sources[kind], dtype)) for kind, dtype in dtypes.items())
    device = models.cache.residency.device
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    else:
        _forget_peak()
        before = _peak() * 1e6
    sound = voice(_SPOKEN)
    spoken = avatar.speak(models, sound, _SPEAKING_BATCH)
    write_video(folder.with_name("spoken.mp4"), spoken.frames, FPS, sound)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak() * 1e6
    return {
        "batch_size": _SPEAKING_BATCH,
        "weights_bytes": weights,
        "peak_beyond_weights_bytes": round(peak - before),
    }


class _Bytes:
    """Float frames as uint8 ones, each converted when it is asked for."""

    def __init__(self, frames: torch.Tensor) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._frames[index].mul(255).round().to(torch.uint8).numpy()


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Megabytes of memory that were in use at most since `_forget_peak`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def table(report: dict[str, Any]) -> str:
    """The report of `measure` for people."""
    lines = [f"frames of {report['frame']} at {FPS} fps, batch {report['batch_size']}; peak memory of the process"]
    for path, what in (("video", "file to file"), ("image", "all frames in memory")):
        lines += [f"{what:22}{seconds:>4} s{peak:>8} MB" for seconds, peak in report[path].items()]
    speaking = report["speaking"]
    lines.append(
        f"a prepared avatar speaks, batch {speaking['batch_size']}: weights "
        f"({speaking['weights_bytes'] / 1e9:.2f} GB) + {speaking['peak_beyond_weights_bytes'] / 1e9:.2f} GB"
    )
    return "\n".join(lines)
