"""The harness itself: the workflow converter by hand-written workflows, the server by stock nodes."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.host.comfy_client import Rejected
from tests.host.comfy_server import ComfyServer, find_comfyui
from tests.host.conftest import StartComfy
from tests.host.result import Result
from tests.host.widgets import WorkflowError
from tests.host.workflow import to_api

MUTED, BYPASSED = 2, 4


def schema(required: dict[str, list], optional: dict[str, list] | None = None) -> dict[str, Any]:
    """One node's entry of /object_info."""
    groups = {"required": required, "optional": optional or {}}
    return {"input": groups, "input_order": {group: list(inputs) for group, inputs in groups.items()}}


OBJECT_INFO = {
    "Load": schema({"image": [["a.png", "b.png"], {"image_upload": True}]}),
    "LoadClip": schema({"file": ["COMBO", {"options": ["a.mp4"], "video_upload": True}]}),
    "Blur": schema({"image": ["IMAGE"], "radius": ["INT", {"default": 1}]}, {"edge": ["FLOAT", {}]}),
    "Noise": schema({"seed": ["INT", {}], "strength": ["FLOAT"], "size": ["INT", {"forceInput": True}]}),
    "Pick": schema({"mode": ["COMBO", {"control_after_generate": True}], "on": ["BOOLEAN", {}]}),
    "Many": schema({"names": ["COMBO", {"multiselect": True}]}),
    "Shape": schema({"kind": ["COMFY_DYNAMICCOMBO_V3", {}]}),
    "Save": schema({"image": ["IMAGE"]}, {"audio": ["AUDIO"]}),
}


def node(number: int, kind: str, values: Any = (), mode: int = 0, **links: tuple[str, int | None]) -> dict:
    """A node as the UI saves it; each keyword is an input: (its type, the id of its link)."""
    return {
        "id": number,
        "type": kind,
        "mode": mode,
        "inputs": [{"name": name, "type": slot, "link": link} for name, (slot, link) in links.items()],
        "outputs": [{"name": "IMAGE", "type": "IMAGE"}, {"name": "MASK", "type": "MASK"}],
        "widgets_values": values if isinstance(values, dict) else list(values),
    }


def convert(*nodes: dict, links: tuple[tuple, ...] = ()) -> dict[str, dict[str, Any]]:
    return to_api({"nodes": nodes, "links": [list(link) for link in links]}, OBJECT_INFO)


def inputs_of(*nodes: dict, links: tuple[tuple, ...] = ()) -> dict[str, Any]:
    """The API inputs of the last node."""
    return convert(*nodes, links=links)[str(nodes[-1]["id"])]["inputs"]


def test_a_link_becomes_node_id_and_slot() -> None:
    graph = convert(
        node(1, "Load", ["b.png", "image"]),
        node(7, "Save", image=("IMAGE", 3), audio=("AUDIO", None)),
        links=((3, 1, 0, 7, 0, "IMAGE"),),
    )
    assert graph == {
        "1": {"class_type": "Load", "inputs": {"image": "b.png"}},
        "7": {"class_type": "Save", "inputs": {"image": ["1", 0]}},
    }


@pytest.mark.parametrize("upload_button", [[], ["image"], [None, ""]])
def test_upload_buttons_behind_the_widgets_are_ignored(upload_button: list) -> None:
    assert inputs_of(node(1, "LoadClip", ["a.mp4", *upload_button])) == {"file": "a.mp4"}


def test_a_seed_takes_the_value_of_its_control_too() -> None:
    assert inputs_of(node(1, "Noise", [42, "randomize", 0.5])) == {"seed": 42, "strength": 0.5}


def test_a_controlled_combo_takes_the_mode_and_the_filter_too() -> None:
    assert inputs_of(node(1, "Pick", ["x", "fixed", "", True])) == {"mode": "x", "on": True}


def test_widget_values_may_be_named() -> None:
    assert inputs_of(node(1, "Noise", {"strength": 0.5, "seed": 1, "preview": {}})) == {
        "seed": 1,
        "strength": 0.5,
    }


def test_a_list_as_value_is_not_mistaken_for_a_link() -> None:
    assert inputs_of(node(1, "Many", [["a", "b"]])) == {"names": {"__value__": ["a", "b"]}}


def test_a_link_overrides_the_widget_which_still_has_its_place() -> None:
    inputs = inputs_of(
        node(1, "Load", ["a.png"]),
        node(2, "Blur", [3, 0.25], image=("IMAGE", None), radius=("INT", 5)),
        links=((5, 1, 0, 2, 1, "INT"),),
    )
    assert inputs == {"radius": ["1", 0], "edge": 0.25}


def test_a_primitive_gives_its_value() -> None:
    inputs = inputs_of(
        node(1, "PrimitiveNode", [9, "fixed"]),
        node(2, "Blur", [3, 0.25], radius=("INT", 5)),
        links=((5, 1, 0, 2, 1, "INT"),),
    )
    assert inputs == {"radius": 9, "edge": 0.25}


def test_notes_are_left_out_and_reroutes_followed() -> None:
    graph = convert(
        node(1, "Load", ["a.png"]),
        node(2, "Reroute", **{"": ("*", 1)}),
        node(3, "Note", ["read me"]),
        node(4, "MarkdownNote", ["# read me"]),
        node(5, "Save", image=("IMAGE", 2)),
        links=((1, 1, 0, 2, 0, "*"), (2, 2, 0, 5, 0, "IMAGE")),
    )
    assert set(graph) == {"1", "5"}
    assert graph["5"]["inputs"] == {"image": ["1", 0]}


def test_a_muted_node_gives_nothing() -> None:
    graph = convert(
        node(1, "Load", ["a.png"], mode=MUTED),
        node(2, "Save", image=("IMAGE", 1)),
        links=((1, 1, 0, 2, 0, "IMAGE"),),
    )
    assert graph == {"2": {"class_type": "Save", "inputs": {}}}


def test_a_bypassed_node_passes_on_the_input_of_the_same_type() -> None:
    graph = convert(
        node(1, "Load", ["a.png"]),
        node(2, "Not installed", mode=BYPASSED, mask=("MASK", None), picture=("IMAGE", 1)),
        node(3, "Save", image=("IMAGE", 2), audio=("AUDIO", 3)),
        links=((1, 1, 0, 2, 1, "IMAGE"), (2, 2, 0, 3, 0, "IMAGE"), (3, 2, 1, 3, 1, "AUDIO")),
    )
    assert set(graph) == {"1", "3"}
    assert graph["3"]["inputs"] == {"image": ["1", 0]}


def test_optional_widgets_may_lack_a_value() -> None:
    assert inputs_of(node(1, "Blur", [3])) == {"radius": 3}


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (node(8, "Blur", []), "node 8 (Blur): widgets_values has no value for 'radius'"),
        (node(8, "Noise", [1, "fixed"]), "node 8 (Noise): widgets_values has no value for 'strength'"),
        (node(8, "Gone"), "node 8 (Gone): the host has no such node type"),
        (node(8, "Save", image=("IMAGE", 99)), "node 8 (Save): input 'image' names the missing link 99"),
        (node(8, "Shape", ["circle", 4]), "node 8 (Shape): 'kind' is a dynamic combo"),
    ],
)
def test_errors_name_the_node(broken: dict, complaint: str) -> None:
    with pytest.raises(WorkflowError, match=re.escape(complaint)):
        convert(broken)


def test_a_result_tells_what_ran_and_what_failed() -> None:
    messages = (
        {"type": "execution_cached", "data": {"nodes": ["1"]}},
        {"type": "executing", "data": {"node": "2"}},
        {"type": "executing", "data": {"node": None}},
        {"type": "execution_error", "data": {"exception_message": "no face"}},
    )
    result = Result("error", {}, messages, previews=0)
    assert (result.cached, result.executed, result.error) == ({"1"}, ["2"], "no face")


def test_comfyui_is_found_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_DIR", str(tmp_path))
    assert find_comfyui() is None
    (tmp_path / "main.py").touch()
    monkeypatch.setenv("COMFYUI_PYTHON", "some-python")
    assert find_comfyui() == (tmp_path.resolve(), Path("some-python"))


def save_image_graph(width: int) -> dict[str, dict[str, Any]]:
    size = {"width": width, "height": 16, "batch_size": 1, "color": 0xFF0000}
    return {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "harness"}},
    }


def png_size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG")
    return struct.unpack(">II", content[16:24])


def test_a_stock_graph_runs_and_is_cached(comfy: ComfyServer) -> None:
    first = comfy.run(save_image_graph(width=24))
    assert (first.status, first.error, first.executed) == ("success", None, ["1", "2"])
    (file,) = first.outputs["2"]["images"]
    assert png_size(comfy.view(file)) == (24, 16)
    assert (comfy.output_dir / file["filename"]).is_file()

    again = comfy.run(save_image_graph(width=24))
    assert (again.status, again.executed, again.cached) == ("success", [], {"1", "2"})


def test_a_stock_workflow_is_converted_and_runs(comfy: ComfyServer, tmp_path: Path) -> None:
    (file,) = comfy.run(save_image_graph(width=40)).outputs["2"]["images"]
    (tmp_path / "picture.png").write_bytes(comfy.view(file))
    name = comfy.upload(tmp_path / "picture.png", "ünicode name.png")
    workflow = {
        "nodes": [node(1, "LoadImage", [name, "image"]), node(2, "PreviewImage", images=("IMAGE", 1))],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    }
    result = comfy.run(to_api(workflow, comfy.object_info()))
    (preview,) = result.outputs["2"]["images"]
    assert png_size(comfy.view(preview)) == (40, 16)


def test_a_wrong_graph_is_rejected(comfy: ComfyServer) -> None:
    with pytest.raises(Rejected) as refusal:
        comfy.run({"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}})
    (error,) = refusal.value.body["node_errors"]["1"]["errors"]
    assert error["type"] == "required_input_missing"


def test_a_partly_wrong_graph_is_rejected_too(comfy: ComfyServer) -> None:
    wrong = {"3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}
    with pytest.raises(Rejected) as refusal:
        comfy.run(save_image_graph(width=32) | wrong)
    assert set(refusal.value.body["node_errors"]) == {"3"}


def test_the_error_of_a_node_is_told(comfy: ComfyServer) -> None:
    graph = save_image_graph(width=48)
    graph["2"]["inputs"]["filename_prefix"] = "../../outside"
    result = comfy.run(graph)
    assert (result.status, result.executed) == ("error", ["1", "2"])
    assert "outside the output folder" in result.error


def test_a_run_can_be_interrupted_from_its_messages(comfy: ComfyServer) -> None:
    graph = save_image_graph(width=4096)
    graph["1"]["inputs"]["height"] = 4096
    inverters = [str(number) for number in range(10, 50)]
    for source, number in zip(["1", *inverters], inverters, strict=False):
        graph[number] = {"class_type": "ImageInvert", "inputs": {"image": [source, 0]}}
    graph["2"]["inputs"]["images"] = [inverters[-1], 0]

    def interrupt_at_first_inverter(message: dict[str, Any]) -> None:
        if message["type"] == "executing" and message["data"]["node"] == inverters[0]:
            comfy.interrupt()

    result = comfy.run(graph, on_message=interrupt_at_first_inverter)
    assert (result.status, result.error) == ("interrupted", None)
    assert "2" not in result.executed


def test_a_fresh_host_takes_extra_arguments(fresh_comfy: StartComfy) -> None:
    server = fresh_comfy("--cache-none")
    for _ in range(2):
        assert server.run(save_image_graph(width=24)).executed == ["1", "2"]
    assert "Starting server" in server.log
