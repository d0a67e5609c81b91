"""What the user reads when something is wrong: one sentence of cause, one of remedy, in the history."""

from __future__ import annotations

import pytest

from tests.host.graphs import node, speaking


def change(name: str, **inputs) -> dict:
    graph = speaking()
    graph[name]["inputs"] |= inputs
    return graph


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (change("voice", broken="none"), "There is no sound."),
        (change("voice", broken="nan"), "3 samples of the sound are not finite numbers"),
        (change("voice", broken="batch"), "batch of 2 sounds"),
        (change("voice", seconds=0.03), "too short for one frame at 25 fps"),
        (change("models", weights="models folder"), "weight files are missing"),
        (change("encode", images=["other", 0]), "The face track is for frames of 256 x 256"),
    ],
    ids=["no sound", "nan", "batch", "short", "weights", "other frames"],
)
def test_errors_name_cause_and_remedy(comfy, graph, says):
    graph["other"] = node("TestPictures", count=1, height=128, width=256, channels=3)
    result = comfy.run(graph)
    assert result.status == "error"
    assert says in result.error


def test_missing_weights_are_listed_with_source_and_folder(comfy):
    error = comfy.run(change("models", weights="models folder")).error
    folder = comfy.models_dir / "musetalk"
    assert f"{folder / 'musetalkV15' / 'unet.pth'}" in error
    assert "https://huggingface.co/TMElyralab/MuseTalk/resolve/main/musetalkV15/unet.pth" in error


def test_features_of_the_other_release_are_refused(comfy):
    graph = speaking()
    graph["models_1_0"] = node("MuseTalkLoadModels", **graph["models"]["inputs"] | {"release": "1.0"})
    graph["whisper"]["inputs"]["models"] = ["models_1_0", 0]
    assert "The audio features are of MuseTalk 1.0" in comfy.run(graph).error


def test_face_track_names_never_leave_the_folders(comfy):
    (comfy.base / "secret.json").write_text("{}")
    graph = speaking()
    graph["landmarks"] = node(
        "MuseTalkLoadFaceTrack", models=["models", 0], file="../secret.json", bbox_shift=0, extra_margin=10
    )
    try:
        error = comfy.run(graph).error
    except Exception as rejected:  # newer hosts refuse what is not in the list
        error = str(rejected)
    assert "outside ComfyUI's input and output folders" in error or "value_not_in_list" in error


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("voice", {"rate": 8000}),
        ("voice", {"rate": 44100, "channels": 2}),
        ("voice", {"rate": 48000, "channels": 6}),
        ("voice", {"broken": "silent"}),
        ("voice", {"seconds": 0.05}),
        ("source", {"channels": 4}),
        ("source", {"height": 251, "width": 303}),
        ("source", {"height": 1}),
    ],
)
def test_unusual_input_works(comfy, name, inputs):
    result = comfy.run(change(name, **inputs))
    assert result.status == "success", result.error
    seconds = inputs.get("seconds", 0.4)
    assert len(result.outputs["save"]["images"]) == int(seconds * 25)
