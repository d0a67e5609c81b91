"""How a batch gains from a second worker: the same clip on one and on two Ray workers of a core each, timed in turn.

Once with a UNet that only waits, as a card would be waited for, and once with small synthetic networks that compute:
on a machine with two cores the second shows what the cores, the memory and the disk have left for each other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from . import batch_ray
from .batch import Batch
from .batch_manifest import Line
from .batch_report import BatchReport
from .batch_steps import Job
from .demo import SAMPLE
from .job import Settings
from .opening import Opening
from .progress import Progress
from .tasks import Task

if TYPE_CHECKING:
    from .cache import ModelCache
    from .models import Models

_KINDS = ("unet", "vae", "whisper", "face_parse")  # the sample has a face track
_FPS = 25
_PIECES = 8
_BATCH = 4
_WAIT = 0.1  # seconds a frame
_ROUNDS = 2


@dataclass(frozen=True)
class Waiting(Opening):
    """Small synthetic networks, of which the UNet waits.

    Attributes:
        seconds: How long for each frame.
    """

    seconds: float = 0.0

    @classmethod
    def small(cls, seconds: float) -> Waiting:
        """The smallest there are."""
        return cls("1.5", (), "small", "fp32", "off", "full", "full", seconds)

    def open(self, kinds: Sequence[str], cache: ModelCache) -> Models:
        models = super().open(kinds, cache)

        def wait(network, given) -> None:
            time.sleep(self.seconds * len(given[0]))

        models.unet().register_forward_pre_hook(wait)
        return models


def measure(frames: int, progress: Progress, rounds: int = _ROUNDS) -> dict[str, Any]:
    """Time the sample picture saying its voice, cut into eight pieces or fewer.

    Args:
        frames: How many of its frames; at 25 a second.
        progress: Called after each run.
        rounds: How often each number of workers is timed.

    Returns:
        JSON-ready, for a UNet that waits and for one that computes: median seconds of one and of two workers, from
        the first step's beginning to the end of the last; the speed-up, and its share of two; and whether all runs
        gave the same file.

    Raises:
        WorkerError: there is no Ray, or no two cores for its workers.
    """
    networks = {"waiting": Waiting.small(_WAIT), "computing": Waiting.small(0.0)}
    report, done = {}, count(1)
    with TemporaryDirectory() as folder, batch_ray.connected(None) as ray:
        for name, opening in networks.items():
            times: dict[int, list[float]] = {1: [], 2: []}
            made = set()
            for i in range(rounds):
                for workers, taken in times.items():
                    output = Path(folder) / f"{name}-{workers}-{i}.mp4"
                    taken.append(_run(ray, output, frames, opening, workers))
                    made.add(sha256(output.read_bytes()).hexdigest())
                    progress(next(done), len(networks) * 2 * rounds, None)
            one, two = (median(taken) for taken in times.values())
            report[name] = {
                "one_worker_seconds": one,
                "two_workers_seconds": two,
                "speed_up": one / two,
                "efficiency": one / two / 2,
                "same_file": len(made) == 1,
            }
    return report | {"frames": frames, "wait_seconds_per_frame": _WAIT}


def table(report: dict[str, Any]) -> str:
    """What `measure` found, for people."""
    lines = [
        f"{report['frames']} frames, cut into pieces; workers of one core each",
        f"{'':34}  1 worker  2 workers  speed-up  efficiency",
    ]
    names = {
        "waiting": f"a UNet that waits {report['wait_seconds_per_frame']:g} s a frame",
        "computing": "small synthetic networks",
    }
    for key, name in names.items():
        row = report[key]
        seconds = f"{row['one_worker_seconds']:6.1f} s  {row['two_workers_seconds']:7.1f} s"
        gained = f"{row['speed_up']:8.2f}  {row['efficiency']:10.0%}"
        lines.append(f"{name:34}  {seconds}  {gained}" + ("" if row["same_file"] else "  NOT THE SAME FILES"))
    return "\n".join(lines)


def _run(ray: Any, output: Path, frames: int, opening: Opening, workers: int) -> float:
    settings = Settings(batch_size=_BATCH, first_frames=frames, face_track=SAMPLE / "face.json")
    task = Task(SAMPLE / "face.jpg", SAMPLE / "voice.wav", output)
    shard = Fraction(-(-frames // _PIECES), _FPS)
    jobs = [Job(Line("the sample", task, None, settings), "0" * 16, float(shard))]
    report = BatchReport(jobs, "ray")
    batch = Batch(jobs, report)
    batch_ray.run(ray, batch, batch_ray.Cluster(cpus=1, most=workers), opening, _KINDS)
    (clip,) = report.record()["clips"]
    return clip["seconds"]
