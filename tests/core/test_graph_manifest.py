"""From graphs to manifests: a line means what its node would do, and what it cannot mean is refused."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image

from musetalk_core import graph_manifest
from musetalk_core.batch_manifest import Line, read_manifest
from musetalk_core.cli import main
from musetalk_core.finishing import Finish
from musetalk_core.job import Settings
from musetalk_core.tasks import Task
from tests.core.manifests import options, prepare
from tests.core.test_docs import SCHEMAS
from tools.graphs import GRAPHS

Graph = dict[str, dict[str, Any]]
HOST_WIDGETS = {"SaveVideo": {"format": "auto", "codec": "auto"}, "LoadAudio": {"audioUI": ""}}


def example(title: str) -> Graph:
    """An example workflow in the API's format, as the editor exports it; nodes go by their names."""
    graph = {}
    for name, kind, _, given in GRAPHS[title][1]:
        defaults = {one.id: one.default for one in SCHEMAS[kind].inputs} if kind in SCHEMAS else {}
        inputs = {key: value for key, value in defaults.items() if value is not None} | HOST_WIDGETS.get(kind, {})
        inputs |= {key: link(value, GRAPHS[title][1]) for key, value in given.items()}
        graph[name] = {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
    return graph


def link(value: object, nodes: list[tuple]) -> object:
    """A link as the API has it, where it is one: "clip.0" is the first output of the node of that name."""
    name, _, output = str(value).rpartition(".")
    return [name, int(output)] if output.isdigit() and name in {node[0] for node in nodes} else value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the host's input and output below it."""
    monkeypatch.chdir(tmp_path)
    for name in ("input/face.mp4", "input/voice.wav", "input/sub/voice.wav", "output/made.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(tmp_path / "input" / "anna.png")
    return tmp_path


@pytest.fixture
def graph() -> Graph:
    return example("MuseTalk lip sync a video")


@pytest.fixture
def speaking() -> Graph:
    return example("MuseTalk avatar speaks")


def convert(*graphs: Graph, words: tuple[str, ...] = ()) -> int:
    names = [f"graph{number}.json" for number in range(1, len(graphs) + 1)]
    for name, graph in zip(names, graphs, strict=True):
        Path(name).write_text(json.dumps(graph))
    return main(["manifest", *names, "--input", "input", *words])


@pytest.fixture
def lines(folder: Path, capsys: pytest.CaptureFixture) -> Callable[..., list[Line]]:
    """What `read_manifest` makes of what the command prints for some graphs."""

    def read(*graphs: Graph, words: tuple[str, ...] = (), batch: tuple[str, ...] = ()) -> list[Line]:
        assert convert(*graphs, words=words) == 0
        Path("clips.jsonl").write_text(capsys.readouterr().out)
        return read_manifest(Path("clips.jsonl"), options(*batch))

    return read


# What the nodes would do


class Stop(Exception):
    pass


def by_the_node(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The settings with which the node itself would do the work."""
    node, face_options = (
        sys.modules[f"musetalk_pack_without_comfyui.nodes.{name}"] for name in ("lip_sync_video", "face_options")
    )
    used = []

    def work(models, clip, heard, spoken, output, settings, stages) -> None:
        used.append(settings)
        raise Stop

    monkeypatch.setattr(face_options, "io", SimpleNamespace(NodeOutput=lambda value: value))
    monkeypatch.setattr(node, "sound_of", lambda audio: (torch.zeros(2, 100), 16000))
    monkeypatch.setattr(node, "host", MagicMock())
    monkeypatch.setattr(node.job, "make_video", work)
    inputs = graph["speak"]["inputs"] | {"models": None, "audio": None}
    if "face_options" in inputs:
        chosen = graph["options"]["inputs"]
        if "picture" in chosen:
            chosen = chosen | {"picture": torch.full((1, 4, 4, 3), 200 / 255)}
        inputs["face_options"] = face_options.FaceOptionsNode.execute(**chosen)
    with pytest.raises(Stop):
        node.LipSyncVideo.execute(**inputs)
    return plain(used[0])


def plain(settings: Settings) -> dict[str, object]:
    """Settings, to be compared with those of another copy of the package."""
    faces = asdict(settings.faces) | {"choice": settings.faces.choice.key}
    return {key: value for key, value in asdict(settings).items() if key != "faces"} | faces


FACES = [
    {},
    {"face": "largest", "no_face": "hold the last box", "hold_frames": 3},
    {"face": "from the left", "position": 2, "no_face": "stop", "upright": True},
    {"face": "at a point", "x": 30, "y": 40, "detection": "exact"},
    {"face": "like the picture", "picture": ["picture", 0]},
]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "widgets",
    [
        {},
        {"bbox_shift": -7, "extra_margin": 0, "fps": "25", "length": "trim", "smoothing": 0.0, "batch_size": 64},
        {"fade_in_silence": True, "detail": 0.35, "colour_match": 1.0, "first_frames": 2},
    ],
)
def test_a_line_means_what_its_node_would_do(
    graph: Graph, lines, face: dict, widgets: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph["speak"]["inputs"] |= widgets
    graph["options"]["inputs"] |= face
    graph["picture"] = {"class_type": "LoadImage", "inputs": {"image": "anna.png", "upload": "image"}}
    (line,) = lines(graph)
    assert plain(line.settings) == by_the_node(graph, monkeypatch)


def test_widgets_that_a_graph_leaves_out_are_as_in_the_node(graph: Graph, lines, monkeypatch) -> None:
    for name in ("length", "smoothing", "detail", "colour_match", "first_frames", "face_options"):
        del graph["speak"]["inputs"][name]
    # Whatever the command says, the graph says it first.
    batch = ("--length=hold", "--smoothing=1", "--detail=1", "--no-face=stop", "--upright", "--fade-in-silence")
    (line,) = lines(graph, batch=batch)
    assert plain(line.settings) == by_the_node(graph, monkeypatch)


@pytest.mark.parametrize(
    ("node", "table", "others"),
    [
        ("MuseTalkLipSyncVideo", graph_manifest.LIP_SYNC, {"models", "audio", "video", "image", "face_options"}),
        ("MuseTalkAvatarSpeak", graph_manifest.SPEAK, {"models", "avatar", "audio"}),
        ("MuseTalkFaceOptions", graph_manifest.FACE_OPTIONS, {"picture"}),
        ("MuseTalkLoadModels", graph_manifest.MODELS, {"vae"}),
        ("MuseTalkAvatarLoad", {}, {"models", "name"}),
    ],
)
def test_every_input_of_the_nodes_is_known(node: str, table: dict, others: set[str]) -> None:
    defaults = {one.id: one.default for one in SCHEMAS[node].inputs}
    assert {name: value for name, value in defaults.items() if value is not None} == table
    assert defaults.keys() - table.keys() == others


@pytest.mark.parametrize(
    ("node", "name", "table"),
    [
        ("MuseTalkFaceOptions", "face", graph_manifest.FACES),
        ("MuseTalkFaceOptions", "no_face", graph_manifest.NO_FACE),
        ("MuseTalkLoadModels", "vae_encode", graph_manifest.VAES),
        ("MuseTalkLoadModels", "vae_decode", graph_manifest.VAES),
        ("MuseTalkLoadModels", "weights", graph_manifest.WEIGHTS),
    ],
)
def test_every_choice_of_the_nodes_is_known(node: str, name: str, table) -> None:
    (combo,) = [one for one in SCHEMAS[node].inputs if one.id == name]
    assert combo.options == list(table)


# Files and names


def test_files_come_from_the_input_folder_and_videos_are_named_as_they_are_saved(
    folder: Path, graph: Graph, lines
) -> None:
    graph["voice"]["inputs"]["audio"] = "sub/voice.wav [input]"
    (line,) = lines(graph)
    inputs = folder / "input"
    assert line.task == Task(
        inputs / "face.mp4", inputs / "sub/voice.wav", Path("output/video/MuseTalk_graph1_speak.mp4")
    )


def test_with_an_output_folder_files_come_from_there_and_videos_go_there(folder: Path, graph: Graph, lines) -> None:
    graph["clip"]["inputs"]["file"] = "made.mp4 [output]"
    (line,) = lines(graph, words=("--output-folder", "output"))
    assert line.task.source == folder / "output/made.mp4"
    assert line.task.output == folder / "output/video/MuseTalk_graph1_speak.mp4"


def test_a_picture_speaks_too(folder: Path, graph: Graph, lines) -> None:
    graph["clip"] = {"class_type": "LoadImage", "inputs": {"image": "anna.png"}}
    graph["speak"]["inputs"]["image"] = graph["speak"]["inputs"].pop("video")
    (line,) = lines({"client_id": "x", "prompt": graph})  # as it is posted
    assert line.task.source == folder / "input" / "anna.png"


def test_no_two_nodes_write_the_same_video(graph: Graph, lines) -> None:
    graph["6:3"] = json.loads(json.dumps(graph["speak"]))
    outputs = [line.task.output.name for line in lines(graph, graph)]
    # One of each graph is not saved, so its prefix is the default; links of the editor's subgraphs have a colon.
    assert outputs == [f"MuseTalk_graph{number}_{node}.mp4" for number in (1, 2) for node in ("speak", "6-3")]


# Avatars and models


def test_an_avatar_speaks(folder: Path, speaking: Graph, lines, all_skin: None, monkeypatch, capsys) -> None:
    prepare(folder / "output" / "avatars" / "avatar", monkeypatch)
    speaking["speak"]["inputs"] |= {"fade_in_silence": True, "detail": 0.5, "first_frames": 3, "batch_size": 2}
    (line,) = lines(speaking)
    assert line.avatar == Path("output/avatars/avatar")
    assert line.settings == Settings(fade_in_silence=True, finish=Finish(0.5, 0.0), batch_size=2, first_frames=3)
    assert convert(speaking, words=("--output-folder", "output")) == 0
    assert f"--avatars {folder}/output/avatars" in capsys.readouterr().err


def test_what_the_models_node_says_becomes_options_of_the_command(folder: Path, graph: Graph, capsys) -> None:
    assert convert(graph) == 0
    said = capsys.readouterr()
    usual = "--release 1.5 --precision auto --acceleration off --vae-encode full --vae-decode full"
    assert usual in said.err and usual not in said.out and "--weights" not in said.err
    graph["models"]["inputs"] |= {
        "release": "1.0",
        "precision": "fp16",
        "vae_decode": "TAESD (faster, coarser)",
        "acceleration": "compile",
        "weights": "synthetic (installation check)",
    }
    assert convert(graph) == 0
    said = capsys.readouterr().err
    assert "--release 1.0 --precision fp16 --acceleration compile --vae-encode full --vae-decode taesd" in said
    assert "--weights synthetic" in said


# What is refused


def node(kind: str, **inputs: object) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


REFUSED = [
    ({"clip": node("VHS_LoadVideo", video="face.mp4")}, "video of Node speak .*straight from LoadVideo"),
    ({"clip": node("LoadVideo", file="gone.mp4")}, "Node clip .* loads gone.mp4, and there is no such file"),
    ({"clip": node("LoadVideo", file="../secret.mp4")}, "outside ComfyUI's folders"),
    ({"clip": node("LoadVideo", file="/etc/passwd")}, "outside ComfyUI's folders"),
    ({"clip": node("LoadVideo", file="x" * 300)}, "there is no such file"),
    ({"clip": node("LoadVideo", file="a\0b")}, "there is no such file"),
    ({"clip": node("LoadVideo", file=["name", 0])}, "Node clip .* names no file"),
    ({"clip": node("LoadVideo", file="made.mp4 [output]")}, "--output-folder"),
    ({"clip": node("LoadVideo", file="face.mp4", edit={"trim": {"start_time": 2.5}})}, "Node clip .* trims or crops"),
    ({"voice": node("LoadImage", image="anna.png")}, "audio of Node speak .*straight from LoadAudio"),
    ({"models": node("MuseTalkLoadModels", vae=["vae", 0])}, "Node models .* another VAE"),
    ({"models": node("MuseTalkLoadModels", weights="mine")}, "Node models .* weights set to 'mine'"),
    ({"models": node("MuseTalkLoadModels", seed=3)}, "Node models .* unknown input 'seed'"),
    ({"options": node("MuseTalkFaceOptions", face="all")}, "Node options .* face set to 'all'"),
    ({"options": node("MuseTalkFaceOptions", face="like the picture")}, "picture of Node options .*LoadImage"),
    (
        {"save": node("SaveVideo", video=["speak", 0], filename_prefix="../x")},
        "Node save .*outside ComfyUI's folders",
    ),
    ({"save": node("SaveVideo", video=["speak", 0], format="webm")}, "Node save .* format set to 'webm'"),
    ({"save": node("GetVideoComponents", video=["speak", 0])}, "Node save .* goes on with the video of Node speak"),
]


SPEAK_REFUSED = [
    ({"bbox_shift": ["number", 0]}, "bbox_shift of Node speak .* is not a plain value"),
    ({"bbox_shift": None}, "bbox_shift of Node speak .* is not a plain value"),
    ({"mouth": 3}, "Node speak .* unknown input 'mouth'"),
    ({"image": ["clip", 0]}, "Node speak .* no face, or two"),
    ({"video": ["clip", 1]}, "video of Node speak"),
    ({"video": ["nowhere", 0]}, "video of Node speak"),
    ({"video": [["clip"], 0]}, "video of Node speak"),
    ({"video": "face.mp4"}, "video of Node speak"),
    ({"models": []}, "models of Node speak"),
]


def refused(graph: Graph, capsys: pytest.CaptureFixture) -> str:
    assert convert(graph) == 1
    said = capsys.readouterr()
    assert said.out == "" and "graph1.json" in said.err and "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize(("changed", "message"), REFUSED)
def test_nodes_that_a_line_cannot_stand_for_are_named(
    folder: Path, graph: Graph, changed: Graph, message: str, capsys
) -> None:
    assert re.search(message, refused(graph | changed, capsys))


@pytest.mark.parametrize(("changed", "message"), SPEAK_REFUSED)
def test_inputs_that_a_line_cannot_stand_for_are_named(
    folder: Path, graph: Graph, changed: dict, message: str, capsys
) -> None:
    graph["speak"]["inputs"] |= changed
    assert re.search(message, refused(graph, capsys))


def test_an_edit_that_changes_nothing_is_none(graph: Graph, lines) -> None:
    nothing = {"trim": {"start_time": 0.0, "duration": 0}, "crop": {"x": 0, "y": 0, "width": 0, "height": 0}}
    graph["clip"]["inputs"]["edit"] = nothing
    assert len(lines(graph)) == 1


def test_an_avatar_that_the_graph_itself_prepares_is_refused(folder: Path, speaking: Graph, capsys) -> None:
    speaking["avatar"]["class_type"] = "MuseTalkAvatarPrepare"
    assert "avatar of Node speak" in refused(speaking, capsys)


def test_other_models_in_one_call_are_refused(folder: Path, graph: Graph, speaking: Graph, capsys) -> None:
    speaking["models"]["inputs"]["release"] = "1.0"
    assert convert(graph, speaking) == 1
    said = capsys.readouterr().err
    assert "of graph1.json" in said and "of graph2.json" in said and "work with other models" in said
    speaking["others"] = {"class_type": "MuseTalkLoadModels", "inputs": {}}
    speaking["avatar"]["inputs"]["models"] = ["others", 0]
    assert "work with other models" in refused(speaking, capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "no graph in the format"),
        ('{"nodes": [], "links": []}', "no graph in the format"),
        ('{"1": {"class_type": "LoadAudio"}}', "no graph in the format"),
        ('{"prompt": {"1": 3}}', "no graph in the format"),
        ("{}", "No node makes a face speak"),
        ('{"1": {"class_type": "LoadAudio", "inputs": {}}}', "No node makes a face speak"),
    ],
)
def test_what_is_no_such_graph_is_named(folder: Path, text: str, message: str, capsys) -> None:
    Path("graph1.json").write_text(text)
    assert main(["manifest", "graph1.json", "--input", "input"]) == 1
    said = capsys.readouterr().err
    assert message in said and "graph1.json" in said and "Traceback" not in said


def test_a_graph_that_cannot_be_read_is_named(folder: Path, capsys) -> None:
    Path("latin.json").write_bytes('{"für": 1}'.encode("cp1252"))
    for name in ("none.json", "input", "latin.json"):
        assert main(["manifest", name, "--input", "input"]) == 1
        assert name in capsys.readouterr().err
