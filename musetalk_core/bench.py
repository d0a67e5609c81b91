"""The instrument: seconds per frame and operations of every stage, against the machine's own limit."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from . import keypoints, latents, masks, observing, pipeline, tracking
from .audio import SAMPLE_RATE
from .blender import Blender
from .models import Models
from .networks import s3fd
from .progress import Progress

_MATRIX = 2048  # side of the product that stands for what the machine can do
_REPEATS = 3
_SOUND_SECONDS = 4
_FPS = Fraction(25)


@torch.inference_mode()
def measure(models: Models, size: tuple[int, int], batch_size: int, progress: Progress) -> dict[str, Any]:
    """Time each stage on made-up frames and sound; the best of three runs after one to warm up.

    Args:
        models: The networks, usually synthetic ones at full size.
        size: Width and height of the frames in pixels.
        batch_size: Frames a pass.
        progress: Called once a stage.

    Returns:
        JSON-ready: the machine, the rate of a 2048 x 2048 matrix product in the networks' dtype, and
        for each stage seconds per frame, GFLOP per frame, GFLOP/s, and that over the product's rate.
    """
    device = models.cache.residency.device
    stages = _stages(models, size, batch_size)
    rate = _matrix_rate(models.dtype, device)
    rows = {}
    for i, (name, (frames, work)) in enumerate(stages.items()):
        with FlopCounterMode(display=False) as counter:
            work()
        seconds = min(_seconds(work, device) for _ in range(_REPEATS)) / frames
        gflop = counter.get_total_flops() / 1e9 / frames
        rows[name] = {
            "seconds_per_frame": seconds,
            "gflop_per_frame": gflop,
            "gflop_per_second": gflop / seconds,
            "of_matrix_product": gflop / seconds / rate,
        }
        progress(i + 1, len(stages), None)
    return {
        "device": str(device),
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": str(models.dtype).removeprefix("torch."),
        "frame": f"{size[0]} x {size[1]}",
        "batch_size": batch_size,
        "matrix_product_gflop_per_second": rate,
        "stages": rows,
    }


def _stages(models: Models, size: tuple[int, int], batch_size: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Name of each stage to how many frames it computes at a time, and the work."""
    width, height = size
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (batch_size, height, width, 3), np.uint8)
    crops = rng.integers(0, 256, (batch_size, latents.FACE_SIZE, latents.FACE_SIZE, 3), np.uint8)
    sound = rng.standard_normal((1, _SOUND_SECONDS * SAMPLE_RATE)).astype(np.float32)
    seen = observing.observe_faces(models, frames)
    track = tracking.track_faces(models, seen, 0)
    encoded = pipeline.encode_faces(models, frames, track)
    features = pipeline.encode_audio(models, sound, SAMPLE_RATE, _FPS)
    batch = range(batch_size)
    predicted = pipeline.predict(models, encoded, features, frames=batch)
    blender = Blender(models, frames, track)
    reduced = observing.reduced_frame(frames[0])[None]
    list(blender.blend(batch, crops))  # parses, so that the stage below only blends
    return {
        "whisper": (features.frames, lambda: pipeline.encode_audio(models, sound, SAMPLE_RATE, _FPS)),
        "dwpose": (batch_size, lambda: keypoints.estimate_keypoints(models.dwpose(), frames)),
        "s3fd": (1, lambda: s3fd.detect(models.s3fd(), frames[:1])),
        "s3fd reduced": (1, lambda: s3fd.detect(models.s3fd(), reduced)),
        "vae encode": (batch_size, lambda: pipeline.encode_faces(models, frames, track, batch_size)),
        "unet": (batch_size, lambda: pipeline.predict(models, encoded, features, batch_size, batch)),
        "vae decode": (batch_size, lambda: pipeline.decode(models, predicted, batch_size)),
        "face parse": (batch_size, lambda: masks.parse_faces(models.face_parse(), list(crops))),
        "blend": (batch_size, lambda: list(blender.blend(batch, crops))),
    }


def _matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """GFLOP/s of a 2048 x 2048 product."""
    a = torch.randn(_MATRIX, _MATRIX, dtype=dtype, device=device)
    a @ a
    best = min(_seconds(lambda: a @ a, device) for _ in range(_REPEATS))
    return 2 * _MATRIX**3 / 1e9 / best


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def table(report: dict[str, Any]) -> str:
    """The report of `measure` for people."""
    lines = [
        f"{report['machine']}, {report['device']}, {report['threads']} threads, {report['precision']}, "
        f"frames of {report['frame']}, batch {report['batch_size']}",
        f"matrix product: {report['matrix_product_gflop_per_second']:.0f} GFLOP/s",
        f"{'stage':12}{'s/frame':>10}{'GFLOP/frame':>14}{'GFLOP/s':>10}{'of product':>12}",
    ]
    for name, row in report["stages"].items():
        lines.append(
            f"{name:12}{row['seconds_per_frame']:10.4f}{row['gflop_per_frame']:14.1f}"
            f"{row['gflop_per_second']:10.1f}{row['of_matrix_product']:12.2f}"
        )
    return "\n".join(lines)
