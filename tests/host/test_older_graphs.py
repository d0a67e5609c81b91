"""A graph as users of the older pack saved it opens and runs; its nodes say where they lead."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from musetalk_core.media_output import write_video
from tests.core.stand_ins import SAMPLE, tone, write_wav
from tests.host import checkpoints
from tests.host.comfy_server import ComfyServer
from tests.host.conftest import StartComfy
from tests.host.graphs import Graph, node
from tests.host.workflow import to_api

OLDER = {"MuseTalkRun", "MuseTalkCupAudio", "VHS_FILENAMES_STRING_MuseTalk"}


def running(video: str, audio: str) -> Graph:
    run = node("MuseTalkRun", video_path=video, audio_path=audio, bbox_shift=0, batch_size=8)
    return {"run": run, "save": node("SaveImage", images=["run", 0], filename_prefix="old")}


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return np.asarray(Image.open(SAMPLE / "face.jpg").resize((256, 256)))


@pytest.fixture
def with_weights(fresh_comfy: StartComfy, face: np.ndarray) -> ComfyServer:
    server = fresh_comfy()
    checkpoints.published_folder(server.models_dir / "musetalk")
    write_video(server.input_dir / "older.mp4", [face] * 5, Fraction(24), None)
    write_wav(server.input_dir / "older.wav", tone(1.0, 16000)[None], 16000, "mono")
    return server


def test_the_older_packs_graph_runs_to_a_video(with_weights: ComfyServer):
    info = with_weights.object_info()
    graph = to_api(json.loads(Path(__file__).with_name("older_graph.json").read_text()), info)
    assert {part["class_type"] for part in graph.values()} >= OLDER
    run = next(part for part in graph.values() if part["class_type"] == "MuseTalkRun")
    assert (run["inputs"]["bbox_shift"], run["inputs"]["batch_size"]) == (-3, 8)

    result = with_weights.run(graph, timeout=120)
    assert result.status == "success", result.error
    saved = with_weights.output_dir / result.outputs["7"]["gifs"][0]["filename"]
    with av.open(str(saved)) as video:
        assert len(list(video.decode(video=0))) == 6, "0.5 s of sound at the clip's own 12 frames a second"


def test_paths_are_names_in_the_input_folder_or_whole_ones(with_weights: ComfyServer, tmp_path: Path, face):
    picture, voice = tmp_path / "face.png", write_wav(tmp_path / "voice.wav", tone(0.2, 16000)[None], 16000, "mono")
    Image.fromarray(face).save(picture)
    for source, sound, frames in ((str(picture), str(voice), 5), ("older.mp4", "older.wav", 24)):
        run = node("MuseTalkRun", video_path=source, audio_path=sound, bbox_shift=0, batch_size=8)
        result = with_weights.run(
            {"run": run, "save": node("SaveImage", images=["run", 0], filename_prefix="old")}, 120
        )
        assert result.status == "success", result.error
        assert len(result.outputs["save"]["images"]) == frames


def test_the_paths_of_another_computer_are_named(comfy: ComfyServer):
    error = comfy.run(running("/home/someone/face.mp4", "older.wav")).error
    assert "There is no file '/home/someone/face.mp4'." in error and "input folder" in error


def test_older_nodes_are_marked_and_point_to_the_new_ones(comfy: ComfyServer):
    info = comfy.object_info()
    for name in OLDER:
        assert info[name]["deprecated"] and "In new ones" in info[name]["description"]
        assert [*info[name]["output_name"]] == [*info[name]["output"]], "outputs were named by their type"
