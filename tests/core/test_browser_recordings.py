"""Videos recorded by a browser name no frame rate: it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest

from musetalk_core.media_input import open_clip
from tests.core.stand_ins import pictures


def recorded(path: Path, milliseconds: Sequence[int]) -> Path:
    """A webm whose frames come when they come; its header promises a thousand a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=1000, options={"deadline": "realtime", "cpu-used": "8"})
        stream.pix_fmt, stream.width, stream.height = "yuv420p", 48, 64
        for pixels, moment in zip(pictures(len(milliseconds)), milliseconds, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = moment, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("fps", [Fraction(15), Fraction(25), Fraction(30)])
def test_a_steady_recording_has_its_rate(tmp_path: Path, fps: Fraction) -> None:
    source = recorded(tmp_path / "a.webm", [round(1000 * i / fps) for i in range(20)])
    clip = open_clip(source)
    assert (len(clip.frames), clip.fps, clip.variable) == (20, fps, False)


def test_an_unsteady_recording_has_its_average(tmp_path: Path) -> None:
    moments = [0, 30, 90, 100, 160, 230, 240, 300, 390, 400]
    clip = open_clip(recorded(tmp_path / "a.webm", moments))
    assert clip.variable and clip.fps == Fraction(9000, 400)
    assert [round(1000 * time) for time in clip.times] == moments
