"""Each example workflow, as a user opens it from the template browser, runs to a video."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote

import av
import numpy as np
import pytest
from PIL import Image

from musetalk_core import face_track_file
from musetalk_core.media_output import write_video
from tests.host import checkpoints
from tests.host.comfy_server import REPOSITORY, ComfyServer
from tests.host.graphs import SYNTHETIC
from tests.host.result import Result
from tests.host.workflow import to_api

WORKFLOWS = sorted((REPOSITORY / "example_workflows").glob("*.json"))
SAMPLE = REPOSITORY / "assets" / "sample"
FRAMES = 6
SAVES_A_TRACK = "MuseTalk save a face track"
PREPARES, SPEAKS = "MuseTalk prepare an avatar", "MuseTalk avatar speaks"
MODULE = "musetalk-under-test"


@pytest.fixture
def inputs(comfy: ComfyServer, tmp_path: Path) -> None:
    """The sample as the workflows name it, the voice cut to a few frames, and a stock VAE."""
    comfy.upload(SAMPLE / "face.jpg")
    comfy.upload(SAMPLE / "face.json")
    with av.open(str(comfy.input_dir / "voice.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        noise = np.random.default_rng(0).integers(-9000, 9000, (1, FRAMES * 640), np.int16)
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    face = np.asarray(Image.open(SAMPLE / "face.jpg"))
    write_video(comfy.input_dir / "face.mp4", [face] * 3, Fraction(25), None)
    (comfy.models_dir / "vae").mkdir(exist_ok=True)
    checkpoints.stock_vae(comfy.models_dir / "vae" / "vae-ft-mse-840000-ema-pruned.safetensors")


def test_there_are_workflows():
    assert WORKFLOWS


def run(comfy: ComfyServer, path: Path) -> Result:
    graph = to_api(json.loads(path.read_text()), comfy.object_info())
    for node in graph.values():
        if node["class_type"] == "MuseTalkLoadModels":
            node["inputs"]["weights"] = SYNTHETIC
    result = comfy.run(graph, timeout=300)
    assert result.status == "success", result.error
    return result


@pytest.mark.parametrize("path", [p for p in WORKFLOWS if p.stem != SAVES_A_TRACK], ids=lambda path: path.stem)
def test_workflow_runs_to_a_video(comfy, inputs, path):
    if path.stem == SPEAKS:
        run(comfy, path.with_stem(PREPARES))
    saved = next(out["images"][0] for out in run(comfy, path).outputs.values() if out.get("animated"))
    with av.open(io.BytesIO(comfy.view(saved))) as video:
        assert len(list(video.decode(video=0))) == FRAMES
        assert video.streams.audio and video.streams.video[0].average_rate == 25


def test_workflow_saves_a_track_that_can_be_loaded(comfy, inputs):
    result = run(comfy, next(path for path in WORKFLOWS if path.stem == SAVES_A_TRACK))
    name = next(out["text"][0] for out in result.outputs.values() if "text" in out)
    assert len(face_track_file.load(comfy.output_dir / name).landmarks) == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_is_in_the_template_browser_with_a_picture(comfy, path):
    assert path.stem in comfy.get("/api/workflow_templates")[MODULE]
    picture = comfy.get_bytes(f"/api/workflow_templates/{MODULE}/{quote(path.stem)}.jpg")
    assert Image.open(io.BytesIO(picture)).width >= 200
