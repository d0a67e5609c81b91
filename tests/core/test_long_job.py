"""Ten minutes at 29.97 frames a second: where a rate that is nearly right would be seen and heard."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from musetalk_core import job
from musetalk_core.job import Settings
from musetalk_core.progress import silent
from tests.core.jobs import (
    MOUTH,
    Listeners,
    bursts,
    ends_of,
    face_film,
    loud_at,
    number_of,
    numbered,
    track_file,
    voice_file,
)
from tests.core.media_samples import NTSC, encode_film

SECONDS = 600
MARKERS = (0.5, 61.25, 299.9, 300.3, 450.0, 598.8)  # moments at which the voice bursts out


def brightness(path: Path) -> Iterator[tuple[Fraction, np.ndarray]]:
    """When each frame is shown, in seconds, and the brightness of its pixels."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
            yield frame.pts * frame.time_base, rows[:, : frame.width]


@pytest.mark.usefixtures("all_skin")
def test_ten_minutes_stay_in_step(tmp_path: Path) -> None:
    loop, count = 300, int(SECONDS * NTSC)
    face = face_film(1)[0]
    face[MOUTH] = 0
    encode_film(tmp_path / "film.mp4", [numbered(face, i) for i in range(loop)], NTSC)
    voice = voice_file(tmp_path / "voice.wav", bursts(SECONDS, MARKERS, 8000))
    output = tmp_path / "out.mp4"
    settings = Settings(face_track=track_file(tmp_path, loop), fade_in_silence=True, length="loop", batch_size=32)
    outcome = job.run(Listeners(), tmp_path / "film.mp4", voice, output, settings, lambda stage: silent)
    assert (outcome.frames, outcome.fps) == (count, NTSC)

    picture, sound = ends_of(output)
    assert picture == count / NTSC
    assert 0 <= sound - picture < 2 / NTSC
    numbers, opened, before = [], [], False
    for i, (time, bright) in enumerate(brightness(output)):
        assert time == i / NTSC
        numbers.append(number_of(bright))
        now = bright[MOUTH].mean() > 40  # black, or painted red
        if now and not before:
            opened.append(float(time))
        before = now
    assert numbers == [i % loop for i in range(count)]
    assert opened == pytest.approx(MARKERS, abs=float(1 / NTSC) + 0.02)
    assert loud_at(output) == pytest.approx(MARKERS, abs=0.01)
