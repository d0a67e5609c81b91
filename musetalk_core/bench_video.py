"""The third instrument: what surveying, reading, writing and copying a video takes, in time and in bytes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .bench_clip import FPS, swaying
from .fragmented import rewrap
from .media_output import FASTSTART, closing, open_mp4, write_video
from .progress import Progress
from .video_frames import VideoFrames
from .video_survey import Survey, survey_video

_FRAMES = 100
_DISTINCT = 25  # frames held at a time: 160 MB at 1080p
_GRAIN = 2.0  # levels of brightness; without it a photograph that moves takes a fifteenth of the bytes, unlike film


def measure(size: tuple[int, int], rounds: int, progress: Progress) -> dict[str, Any]:
    """Write, survey, read and copy a film of a swaying face with film grain, as a job does it; no network runs.

    Args:
        size: Width and height of the frames in pixels.
        rounds: How often each is timed, in turn.
        progress: Called once a row of each round.

    Returns:
        JSON-ready: "frames" of the film, "bytes_per_frame" of it as it is written, and "rows": for each kind of work
        seconds per frame and core-seconds per frame, a list of one for each round. Core-seconds are the processor
        time of all threads together; unlike seconds they hardly depend on what else the machine does.
    """
    pictures = _grainy(size)
    # On Windows a film cannot be deleted while it is held.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        film, other = Path(folder, "film.mp4"), Path(folder, "other.mp4")
        _write(film, pictures)
        surveyed = _survey(film)
        work: dict[str, Callable[[], object]] = {
            "write video": lambda: _write(other, pictures),
            "survey video": lambda: _survey(film),
            "read video": lambda: _read(surveyed),
            "copy video": lambda: copy_picture(film, other),
        }
        rows: dict[str, dict[str, list[float]]] = {
            name: {"each_round_seconds_per_frame": [], "each_round_core_seconds_per_frame": []} for name in work
        }
        for i in range(rounds):
            for j, (name, does) in enumerate(work.items()):
                started, started_cores = time.perf_counter(), time.process_time()
                does()
                rows[name]["each_round_core_seconds_per_frame"].append(
                    (time.process_time() - started_cores) / _FRAMES
                )
                rows[name]["each_round_seconds_per_frame"].append((time.perf_counter() - started) / _FRAMES)
                progress(i * len(work) + j + 1, rounds * len(work), None)
        return {"frames": _FRAMES, "bytes_per_frame": film.stat().st_size / _FRAMES, "rows": rows}


def _grainy(size: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shape = size[1], size[0], 1
    return [
        np.clip(frame + _GRAIN * rng.standard_normal(shape, np.float32), 0, 255).astype(np.uint8)
        for frame in swaying(size, _DISTINCT)
    ]


def _write(film: Path, pictures: list[np.ndarray]) -> None:
    write_video(film, (pictures[i % _DISTINCT] for i in range(_FRAMES)), FPS, None)


def _survey(film: Path) -> Survey:
    return survey_video(film, None, Fraction(0))


def _read(surveyed: Survey) -> None:
    """Decodes every frame and converts it."""
    frames = VideoFrames(replace(surveyed, head=[]))
    for number in surveyed.window:
        frames(number)


def copy_picture(source: Path, target: Path) -> None:
    """Puts the packets of a film without sound into another mp4 as they are, as pieces are joined."""
    with closing(target, open_mp4(target, target, FASTSTART)) as written:
        rewrap(source, written)


def table(report: dict[str, Any]) -> str:
    """The report of `measure` for people."""
    lines = [
        f"video of the same size, {report['frames']} frames, {report['bytes_per_frame'] / 1e3:.1f} kB a frame, "
        "the best round",
        f"{'stage':18}{'s/frame':>10}{'core-s/frame':>14}",
    ]
    for name, row in report["rows"].items():
        times = min(row["each_round_seconds_per_frame"]), min(row["each_round_core_seconds_per_frame"])
        lines.append(f"{name:18}{times[0]:10.4f}{times[1]:14.4f}")
    return "\n".join(lines)
