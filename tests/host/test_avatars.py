"""Avatars in a real ComfyUI: prepared once, opened by name, speaking voice after voice."""

from __future__ import annotations

import io
import json
import os
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest

from musetalk_core.media_output import write_video
from tests.host.comfy_server import ComfyServer
from tests.host.graphs import SYNTHETIC, Graph, node
from tests.host.test_lip_sync_video import pieces

RATE = Fraction(30000, 1001)
FRAMES = 10


@pytest.fixture
def film(comfy: ComfyServer) -> None:
    """Ten frames at 29.97, each brighter than the one before."""
    write_video(comfy.input_dir / "film.mp4", pieces(), RATE, None)


def models(release: str = "1.5") -> dict:
    return node("MuseTalkLoadModels", release=release, precision="fp32", fetch_missing=False, weights=SYNTHETIC)


def prepare(name: str, **inputs) -> Graph:
    settings = {"bbox_shift": 0, "extra_margin": 10, "fps": "keep", "mask_mode": "as the release", "cheek_width": 90}
    return {
        "models": models(),
        "film": node("LoadVideo", file="film.mp4"),
        "avatar": node(
            "MuseTalkAvatarPrepare",
            **({"models": ["models", 0], "name": name, "video": ["film", 0], "batch_size": 4} | settings | inputs),
        ),
    }


def speak(name: str, seconds: float = 0.5, release: str = "1.5", **inputs) -> Graph:
    return {
        "models": models(release),
        "voice": node("TestSound", seconds=seconds, rate=16000, channels=1, broken="no"),
        "avatar": node("MuseTalkAvatarLoad", models=["models", 0], name=name),
        "speak": node(
            "MuseTalkAvatarSpeak",
            models=["models", 0],
            avatar=["avatar", 0],
            audio=["voice", 0],
            **({"fade_in_silence": False, "batch_size": 4} | inputs),
        ),
        "save": node("SaveVideo", video=["speak", 0], filename_prefix="avatar", format="auto", codec="auto"),
    }


def prepared(comfy: ComfyServer, name: str, **inputs) -> None:
    result = comfy.run(prepare(name, **inputs), timeout=300)
    assert result.status == "success", result.error


def saved(comfy: ComfyServer, graph: Graph) -> tuple[list[np.ndarray], Fraction, float]:
    """The frames of the video that a graph saves, their rate, and how long its sound is."""
    result = comfy.run(graph, timeout=300)
    assert result.status == "success", result.error
    (file,) = result.outputs["save"]["images"]
    with av.open(io.BytesIO(comfy.view(file))) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        rate = video.streams.video[0].average_rate
    with av.open(io.BytesIO(comfy.view(file))) as video:
        heard = sum(frame.samples / frame.sample_rate for frame in video.decode(audio=0))
    return frames, rate, heard


def test_an_avatar_speaks_as_the_whole_job_does(comfy, film):
    prepared(comfy, "same")
    frames, rate, heard = saved(comfy, speak("same"))
    assert rate == RATE and abs(heard - 0.5) < 0.1
    whole = speak("same")
    settings = {"bbox_shift": 0, "extra_margin": 10, "fps": "keep", "fade_in_silence": False, "batch_size": 4}
    whole["film"] = node("LoadVideo", file="film.mp4")
    whole["speak"] = node(
        "MuseTalkLipSyncVideo", models=["models", 0], audio=["voice", 0], video=["film", 0], **settings
    )
    del whole["avatar"]
    expected, *_ = saved(comfy, whole)
    assert len(frames) == len(expected) == 14
    for ours, theirs in zip(frames, expected, strict=True):  # the two encode differently
        assert np.abs(ours.astype(int) - theirs).mean() < 2


def test_only_the_first_frames_are_made_and_the_sound_ends_with_them(comfy, film):
    prepared(comfy, "first")
    frames, rate, heard = saved(comfy, speak("first", seconds=2, first_frames=3))
    assert len(frames) == 3 and heard < 3 / rate + 0.1


def test_avatars_are_listed_by_the_node_and_over_http(comfy, film):
    prepared(comfy, "Bühne 1")
    avatars = comfy.output_dir / "avatars"
    shutil.copytree(avatars / "Bühne 1", avatars / "no.name.")
    described = comfy.get("/object_info/MuseTalkAvatarLoad")["MuseTalkAvatarLoad"]["input"]["required"]["name"]
    names = described[0] if isinstance(described[0], list) else described[1]["options"]
    assert "Bühne 1" in names and "no.name." not in names
    listed = {avatar["name"]: avatar for avatar in comfy.get("/musetalk/avatars")}
    assert listed["Bühne 1"]["shown"] == FRAMES and listed["Bühne 1"]["synthetic"]


@pytest.mark.parametrize("name", ["../escape", "/tmp/escape", "a/b", "..", "", "NUL", "x\x00y"])
def test_a_name_is_never_a_path(comfy, film, name):
    result = comfy.run(prepare(name), timeout=120)
    assert result.status == "error"
    assert "name" in result.error
    assert not list(comfy.base.rglob("escape*"))


def test_an_avatar_does_not_speak_with_models_it_was_not_opened_with(comfy, film):
    prepared(comfy, "two models")
    graph = speak("two models")
    graph["others"] = models("1.0")
    graph["speak"]["inputs"]["models"] = ["others", 0]
    result = comfy.run(graph, timeout=120)
    assert result.status == "error"
    assert "prepared for MuseTalk 1.5, not 1.0" in result.error


def test_it_is_prepared_again_only_when_its_folder_is_not_as_it_was_left(comfy, film):
    graph, other = prepare("cached"), prepare("cached", bbox_shift=6)
    folder = comfy.output_dir / "avatars" / "cached"

    def ran(graph: Graph) -> bool:
        result = comfy.run(graph, timeout=300)
        assert result.status == "success", result.error
        return "avatar" in result.executed

    assert ran(graph) and not ran(graph)
    shutil.rmtree(folder)
    assert ran(graph) and (folder / "avatar.json").is_file() and not ran(graph)
    os.utime(folder / "avatar.json", ns=(1, 1))  # somebody else prepared it
    assert ran(graph) and not ran(graph)
    assert ran(other) and not ran(other)
    assert ran(graph) and json.loads((folder / "avatar.json").read_text())["settings"]["bbox_shift"] == 0


def test_another_release_is_told_apart(comfy, film):
    prepared(comfy, "release")
    result = comfy.run(speak("release", release="1.0"), timeout=120)
    assert result.status == "error"
    assert "1.5" in result.error and "1.0" in result.error


def test_an_avatar_prepared_anew_is_opened_anew(comfy, film):
    prepared(comfy, "again")
    before, *_ = saved(comfy, speak("again"))
    prepared(comfy, "again", bbox_shift=6)
    after, *_ = saved(comfy, speak("again"))
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_preparing_gives_the_panel_its_frame(comfy, film):
    result = comfy.run(prepare("panel", bbox_shift=2), timeout=300)
    (face,) = result.outputs["avatar"]["musetalk_shift"]
    assert face["bbox_shift"] == 2 and (face["width"], face["height"]) == (320, 240)
    assert comfy.view(face["picture"])
