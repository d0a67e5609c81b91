"""The bundled sample, lip-synced: with the real weights where they can be had, else with synthetic ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from . import download, job, weights
from .cache import ModelCache
from .errors import DownloadError
from .releases import RELEASES

SAMPLE = Path(__file__).resolve().parent.parent / "assets" / "sample"
RELEASE = RELEASES["1.5"]
SYNTHETIC = """
The real weights could not be fetched: {reason}

So this demo runs on SYNTHETIC WEIGHTS: it checks that everything works, but the mouth is noise, and the
face is not looked for: the sample's own face track is used.
"""


def run(roots: Sequence[Path], cache: ModelCache, output: Path, stages: job.Stages) -> job.Outcome:
    """Make the sample face say the sample voice.

    Args:
        roots: Where weights are looked for; missing ones are fetched into the first.
        cache: Holds the networks.
        output: The mp4 to write.
        stages: Where to report.
    """
    reason = _fetch(roots, stages)
    if reason is None:
        models, track = weights.open_models(RELEASE, roots, cache), None
    else:
        print(SYNTHETIC.format(reason=reason))
        models, track = weights.open_models(RELEASE, roots, cache, synthetic="small"), SAMPLE / "face.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    settings = job.Settings(face_track=track)
    return job.run(models, SAMPLE / "face.jpg", SAMPLE / "voice.wav", output, settings, stages)


def _fetch(roots: Sequence[Path], stages: job.Stages) -> str | None:
    """Fetch what is missing; None when all is there, else why not."""
    files = weights.missing(RELEASE, roots)
    gigabytes = sum(file.size or 0 for file in files) / 1e9
    if files:
        print(f"Fetching {len(files)} weight files ({gigabytes:.1f} GB) into {roots[0]} ...")
    # The smallest first: without a network the first few hundred bytes tell.
    for file in sorted(files, key=lambda file: file.size or math.inf):
        try:
            download.fetch(file, roots[0], stages(file.path.rsplit("/", 1)[-1]))
        except DownloadError as error:
            return str(error)
    return None
