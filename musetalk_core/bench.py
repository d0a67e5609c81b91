"""The instrument: seconds per frame, operations and memory of every stage, against the machine's own limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from . import keypoints, latents, masks, observing, pipeline, tracking
from .bench_clip import FPS, swaying, voice
from .bench_counting import count
from .bench_timing import machine, machine_line, matrix_product, seconds
from .blender import Blender
from .face_options import LIGHT_SMOOTHING
from .models import Models
from .networks import s3fd
from .progress import Progress

_SOUND_FRAMES = 100
_TRACKED_FRAMES = 1000
_PAINTING = ("unet", "vae decode")  # what every frame of every clip needs
_PAINTED = "unet + vae decode"


@torch.inference_mode()
def measure(
    models: Models, size: tuple[int, int], batch_size: int, rounds: int, progress: Progress
) -> dict[str, Any]:
    """Time each stage on a swaying face and made-up sound, in rounds through all stages.

    Args:
        models: The networks, usually synthetic ones at full size.
        size: Width and height of the frames in pixels.
        batch_size: Frames a pass.
        rounds: How often each stage is timed.
        progress: Called once a stage of each round; before them is one that counts.

    Returns:
        JSON-ready: the machine, the rate of a 2048 x 2048 matrix product in the dtype of UNet and VAE, which is timed
        in the same rounds, and for each stage seconds per frame in the best round and in each, core-seconds (the
        processor time of all threads together), GFLOP per frame counted, GFLOP/s, that over the product's rate, and
        the most bytes that it held beyond the weights. "unet + vae decode" is both as one. In half precision also the
        peak signal-to-noise ratio of painted faces to those in float32.
    """
    device = models.cache.residency.device
    stages = _stages(models, size, batch_size)
    product_gflop, product = matrix_product(models.dtype, device)
    total = len(stages) * (1 + rounds)
    # What is recorded or compiled shows its operations to nobody.
    plainly_run = replace(models, acceleration="off")
    counted = {}
    for name, (_, work) in (stages if plainly_run == models else _stages(plainly_run, size, batch_size)).items():
        counted[name] = count(work, device)
        progress(len(counted), total, None)
    times: dict[str, list[float]] = {name: [] for name in stages}
    core_times: dict[str, list[float]] = {name: [] for name in stages}
    product_best = math.inf
    for i in range(rounds):
        product_best = min(product_best, seconds(product, device))
        for j, (name, (frames, work)) in enumerate(stages.items()):
            started = time.process_time()
            times[name].append(seconds(work, device) / frames)
            core_times[name].append((time.process_time() - started) / frames)
            progress((i + 1) * len(stages) + j + 1, total, None)
    for each in (times, core_times):
        each[_PAINTED] = [sum(parts) for parts in zip(*(each[name] for name in _PAINTING), strict=True)]
    rate = product_gflop / product_best

    def row(name: str) -> dict[str, Any]:
        frames, _ = stages[name]
        return _row(times[name], core_times[name], counted[name].gflop / frames, counted[name].peak_bytes, rate)

    rows = {name: row(name) for name in stages}
    both = [rows[name] for name in _PAINTING]
    rows[_PAINTED] = _row(
        times[_PAINTED],
        core_times[_PAINTED],
        sum(part["gflop_per_frame"] for part in both),
        max(part["peak_bytes"] for part in both),
        rate,
    )
    report = {
        **machine(models),
        "frame": f"{size[0]} x {size[1]}",
        "batch_size": batch_size,
        "rounds": rounds,
        "matrix_product_gflop_per_second": rate,
        "stages": rows,
    }
    if models.dtype != torch.float32:
        report["faces_to_float32_psnr_db"] = psnr_to_float32(models, size, batch_size)
    return report


def _row(times: list[float], core_times: list[float], gflop: float, peak: int, rate: float) -> dict[str, Any]:
    spent = min(times)
    return {
        "seconds_per_frame": spent,
        "each_round_seconds_per_frame": times,
        "each_round_core_seconds_per_frame": core_times,
        "gflop_per_frame": gflop,
        "gflop_per_second": gflop / spent,
        "of_matrix_product": gflop / spent / rate,
        "peak_bytes": peak,
    }


def _stages(models: Models, size: tuple[int, int], batch_size: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Name of each stage to how many frames it computes at a time, and the work."""
    frames = list(swaying(size, batch_size))
    crops = np.stack([latents.crop_face(frame, np.array((0, 0, *size))) for frame in frames])
    sound = voice(_SOUND_FRAMES)
    seen = observing.observe_faces(models, frames)
    track = tracking.track_faces(models, seen, 0)
    long_seen = seen.take([i % batch_size for i in range(_TRACKED_FRAMES)])
    encoded = pipeline.encode_faces(models, frames, track)
    features = pipeline.encode_audio(models, sound.waveform, sound.rate, FPS)
    batch = range(batch_size)
    predicted = pipeline.predict(models, encoded, features, frames=batch)
    blender = Blender(models, frames, track)
    reduced = observing.reduced_frame(frames[0])[None]
    list(blender.blend(batch, crops))  # parses, so that the stage below only blends
    s3fd.detect(models.s3fd(), reduced)  # what it imports is not the stage's
    return {
        "whisper": (features.frames, lambda: pipeline.encode_audio(models, sound.waveform, sound.rate, FPS)),
        "dwpose": (batch_size, lambda: keypoints.estimate_keypoints(models.dwpose(batch_size), frames)),
        "s3fd": (1, lambda: s3fd.detect(models.s3fd(), np.stack(frames[:1]))),
        "s3fd reduced": (1, lambda: s3fd.detect(models.s3fd(), reduced)),
        "track": (_TRACKED_FRAMES, lambda: tracking.track_faces(models, long_seen, 0, smoothing=LIGHT_SMOOTHING)),
        "vae encode": (batch_size, lambda: pipeline.encode_faces(models, frames, track, batch_size)),
        "unet": (batch_size, lambda: pipeline.predict(models, encoded, features, batch_size, batch)),
        "vae decode": (batch_size, lambda: pipeline.decode(models, predicted, batch_size)),
        "face parse": (batch_size, lambda: masks.parse_faces(models.face_parse(batch_size), list(crops))),
        "blend": (batch_size, lambda: list(blender.blend(batch, crops))),
    }


@torch.inference_mode()
def psnr_to_float32(models: Models, size: tuple[int, int], batch_size: int) -> float:
    """Peak signal-to-noise ratio in decibels of painted faces to those of the same weights in float32 all the way.

    Args:
        models: The networks, in half precision.
        size: Width and height of the frames in pixels.
        batch_size: How many faces, painted in one pass.
    """
    frames = list(swaying(size, batch_size))
    sound = voice(batch_size)
    features = pipeline.encode_audio(models, sound.waveform, sound.rate, FPS)
    track = tracking.track_faces(models, observing.observe_faces(models, frames), 0)

    def paint(models: Models) -> np.ndarray:
        encoded = pipeline.encode_faces(models, frames, track, batch_size)
        return pipeline.decode(models, pipeline.predict(models, encoded, features, batch_size), batch_size)

    error = paint(models).astype(float) - paint(replace(models, dtype=torch.float32))
    return float(10 * np.log10(255**2 / np.square(error).mean()))


def table(report: dict[str, Any]) -> str:
    """The report of `measure` for people."""
    lines = [
        f"{machine_line(report)}; frames of {report['frame']}, batch {report['batch_size']}, "
        f"the best of {report['rounds']} rounds",
        f"matrix product: {report['matrix_product_gflop_per_second']:.0f} GFLOP/s",
        f"{'stage':18}{'s/frame':>10}{'GFLOP/frame':>14}{'GFLOP/s':>10}{'of product':>12}{'peak MB':>9}",
    ]
    for name, row in report["stages"].items():
        lines.append(
            f"{name:18}{row['seconds_per_frame']:10.4f}{row['gflop_per_frame']:14.1f}"
            f"{row['gflop_per_second']:10.1f}{row['of_matrix_product']:12.2f}{row['peak_bytes'] / 1e6:9.0f}"
        )
    if "faces_to_float32_psnr_db" in report:
        lines.append(f"painted faces to those in float32: {report['faces_to_float32_psnr_db']:.1f} dB")
    return "\n".join(lines)
