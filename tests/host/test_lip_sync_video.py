"""The whole job in one node: a VIDEO or a picture and a voice in, a finished VIDEO out."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from musetalk_core.media_output import write_video
from tests.host.comfy_server import ComfyServer
from tests.host.graphs import SYNTHETIC, Graph, node

NTSC = Fraction(30000, 1001)
SECONDS = 0.5


def graph(seconds: float = SECONDS, **inputs) -> Graph:
    settings = {"bbox_shift": 0, "extra_margin": 10, "fps": "keep", "fade_in_silence": False, "batch_size": 4}
    models = {"release": "1.5", "precision": "fp32", "fetch_missing": False, "weights": SYNTHETIC}
    return {
        "models": node("MuseTalkLoadModels", **models),
        "voice": node("TestSound", seconds=seconds, rate=16000, channels=1, broken="no"),
        "film": node("LoadVideo", file="film.mp4"),
        "face": node("TestPictures", count=1, height=250, width=201, channels=3),
        "speak": node("MuseTalkLipSyncVideo", models=["models", 0], audio=["voice", 0], **(settings | inputs)),
        "save": node("SaveVideo", video=["speak", 0], filename_prefix="spoken", format="auto", codec="auto"),
    }


@pytest.fixture
def film(comfy: ComfyServer) -> None:
    """Ten frames at 29.97, each brighter than the one before."""
    write_video(comfy.input_dir / "film.mp4", pieces(), NTSC, None)


def saved(comfy: ComfyServer, graph: Graph) -> av.container.InputContainer:
    result = comfy.run(graph, timeout=300)
    assert result.status == "success", result.error
    (file,) = result.outputs["save"]["images"]
    return av.open(io.BytesIO(comfy.view(file)))


def shades(video: av.container.InputContainer) -> list[int]:
    return [round((int(frame.to_ndarray(format="rgb24")[-4, 4, 1]) - 40) / 10) for frame in video.decode(video=0)]


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        ("pingpong", [*range(10), 9, 8, 7, 6]),
        ("loop", [*range(10), 0, 1, 2, 3]),
        ("hold", [*range(10), 9, 9, 9, 9]),
        ("trim", [*range(10)]),
    ],
)
def test_a_video_speaks_at_its_own_rate(comfy, film, length, shown):
    with saved(comfy, graph(video=["film", 0], length=length)) as video:
        assert video.streams.video[0].average_rate == NTSC
        assert (video.streams.video[0].width, video.streams.video[0].height) == (320, 240)
        assert shades(video) == shown
    with saved(comfy, graph(video=["film", 0], length=length)) as video:
        heard = sum(frame.samples / frame.sample_rate for frame in video.decode(audio=0))
        assert abs(heard - (10 / NTSC if length == "trim" else SECONDS)) < 0.08


def test_a_video_is_conformed_to_25(comfy, film):
    with saved(comfy, graph(video=["film", 0], fps="25", length="hold")) as video:
        assert video.streams.video[0].average_rate == 25
        assert shades(video)[:8] == [0, 1, 2, 4, 5, 6, 7, 8]


def test_a_picture_speaks(comfy, film):
    with saved(comfy, graph(image=["face", 0])) as video:
        assert video.streams.video[0].average_rate == 25
        assert len(list(video.decode(video=0))) == 12


def test_a_video_made_of_pictures_speaks(comfy, film):
    made = graph(0.2, video=["made", 0]) | {
        "many": node("TestPictures", count=3, height=128, width=128, channels=3),
        "made": node("CreateVideo", images=["many", 0], fps=12.5),
    }
    with saved(comfy, made) as video:
        assert video.streams.video[0].average_rate == Fraction(25, 2)
        assert len(list(video.decode(video=0))) == 2


def test_a_video_made_of_pictures_may_have_a_broken_rate(comfy, film):
    """The host keeps such a rate as the fraction that a float is."""
    made = graph(0.2, video=["made", 0]) | {
        "parts": node("GetVideoComponents", video=["film", 0]),
        "made": node("CreateVideo", images=["parts", 0], fps=["parts", 2]),
    }
    with saved(comfy, made) as video:
        assert video.streams.video[0].average_rate == NTSC
        assert shades(video) == [0, 1, 2, 3, 4]


def test_a_trimmed_video_is_that_piece_only(comfy, film):
    if "Video Slice" not in comfy.object_info():
        pytest.skip("this ComfyUI trims no videos")
    write_video(comfy.input_dir / "film.mp4", pieces(), Fraction(25), None)
    trimmed = graph(0.4, video=["piece", 0], length="loop") | {
        "piece": node("Video Slice", video=["film", 0], start_time=0.12, duration=0.2, strict_duration=False),
    }
    with saved(comfy, trimmed) as video:
        assert shades(video) == [3, 4, 5, 6, 7] * 2


def pieces():
    return (np.full((240, 320, 3), 40 + 10 * i, np.uint8) for i in range(10))


def test_options_reach_the_faces(comfy, film):
    options = {"position": 1, "x": 0, "y": 0, "hold_frames": 12, "detection": "auto", "upright": True}
    given = graph(video=["film", 0], face_options=["options", 0], fade_in_silence=True, detail=0.5, colour_match=0.5)
    given["options"] = node("MuseTalkFaceOptions", face="largest", no_face="stop", **options)
    with saved(comfy, given) as video:
        assert len(list(video.decode(video=0))) == 14
    given["options"]["inputs"]["face"] = "like the picture"
    result = comfy.run(given, timeout=300)
    assert result.status == "error" and "no picture of the face" in str(result.error)


@pytest.mark.parametrize("inputs", [{}, {"video": ["film", 0], "image": ["face", 0]}])
def test_one_face_is_needed(comfy, film, inputs):
    result = comfy.run(graph(**inputs), timeout=300)
    assert result.status == "error" and "Connect either video or image" in str(result.error)


def test_an_interrupt_leaves_no_video(comfy, film):
    def stop(message):
        if message["type"] == "progress" and message["data"]["node"] == "speak":
            comfy.interrupt()

    temp = comfy.output_dir.parent / "temp"
    before = {path for folder in (temp, comfy.output_dir) for path in folder.rglob("*.mp4*")}
    result = comfy.run(graph(60, video=["film", 0]), timeout=300, on_message=stop)
    assert result.status == "interrupted"
    assert {path for folder in (temp, comfy.output_dir) for path in folder.rglob("*.mp4*")} == before
    assert temp.is_dir()
