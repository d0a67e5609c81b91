"""MuseTalk MuseV Frames in the host: rates, lengths, both inputs, and what it says when they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.host.comfy_server import ComfyServer
from tests.host.graphs import Graph, node
from tests.host.result import Result
from tests.host.test_running import pictures


def conformed(frames: int = 4, voice: float | None = None, **settings: Any) -> Graph:
    """So many frames of noise of 8 a second, and the pictures that come out."""
    defaults = {"frames_per_second": 8.0, "method": "nearest", "target_fps": 25.0, "length": "pingpong"}
    graph = {
        "source": node("TestPictures", count=frames, height=64, width=48, channels=3),
        "frames": node("MuseTalkMuseVFrames", **defaults | {"images": ["source", 0]} | settings),
        "save": node("SaveImage", images=["frames", 0], filename_prefix="musev"),
        "count": node("PreviewAny", source=["frames", 2]),
    }
    if voice is not None:
        graph["voice"] = node("TestSound", seconds=voice, rate=16000, channels=1, broken="no")
        graph["frames"]["inputs"]["audio"] = ["voice", 0]
    return graph


def shown(comfy: ComfyServer, result: Result) -> list[int]:
    """Each picture by the number of the first one that is the same."""
    assert result.status == "success", result.error
    content = [picture.tobytes() for picture in pictures(comfy, result)]
    assert result.outputs["count"]["text"][0] == str(len(content))
    distinct = list(dict.fromkeys(content))
    return [distinct.index(one) for one in content]


CLIP = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]  # 0.5 s: frame i stands from i / 8 s to (i + 1) / 8 s


@pytest.mark.parametrize(
    ("voice", "length", "frames"),
    [
        (None, "pingpong", CLIP),
        (0.2, "pingpong", CLIP[:5]),
        (0.8, "pingpong", CLIP + CLIP[::-1][:8]),
        (0.8, "loop", CLIP + CLIP[:8]),
        (0.8, "hold", CLIP + [3] * 8),
        (0.8, "trim", CLIP),
    ],
)
def test_frames_last_as_long_as_the_clip_or_the_voice(comfy: ComfyServer, voice, length: str, frames: list[int]):
    assert shown(comfy, comfy.run(conformed(4, voice, length=length))) == frames


def test_a_single_picture_stays_one(comfy: ComfyServer):
    assert shown(comfy, comfy.run(conformed(1, 0.8, method="motion"))) == [0]


@pytest.mark.parametrize("method", ["motion", "blend"])
def test_half_precision_frames_of_rife_are_taken(comfy: ComfyServer, method: str):
    graph = conformed(3, frames_per_second=24.0, method=method, images=["rife", 0])
    settings = {"ckpt_name": "rife47.pth", "clear_cache_after_n_frames": 10, "fast_mode": True, "ensemble": True}
    graph["rife"] = node("RIFE VFI", frames=["source", 0], multiplier=3, scale_factor=1.0, **settings)
    assert len(shown(comfy, comfy.run(graph))) == 7  # 2 x 3 + 1 at 24 are 7.3 at 25


def combine(**settings: Any) -> Graph:
    widgets = {"loop_count": 0, "filename_prefix": "vhs", "pingpong": False, "save_output": True}
    widgets |= {"images": ["source", 0], "frame_rate": 10, "format": "video/h264-mp4"}
    return {"combine": node("VHS_VideoCombine", **widgets | settings)}


def test_a_saved_video_brings_its_own_rate(comfy: ComfyServer):
    graph = conformed(4, filenames=["combine", 0]) | combine()
    del graph["frames"]["inputs"]["images"]
    assert len(shown(comfy, comfy.run(graph))) == 10  # 0.4 s


def test_images_or_filenames_but_not_both_nor_neither(comfy: ComfyServer):
    both = conformed(4, filenames=["combine", 0]) | combine()
    neither = conformed(4)
    del neither["frames"]["inputs"]["images"]
    for graph in (both, neither):
        assert "The clip must come from images or from filenames." in comfy.run(graph).error


def test_a_voice_shorter_than_a_frame_is_told(comfy: ComfyServer):
    assert "shorter than one frame" in comfy.run(conformed(4, 0.03)).error
